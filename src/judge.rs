//! From facts to a judgement: exit facts, console, per-test logs and trail in, one outcome out.
//!
//! Pure and total: the same bytes give the same outcome, no content is an error, and every stored run can be judged
//! again when signatures change. Precedence: a session that somebody had to end is hung; evidence of a death
//! outweighs what the session says of itself; that outweighs the exit code. `notes` says which fact lied.

pub mod excerpt;
pub mod exit;
pub mod outcome;
pub mod pytest;
pub mod record;
pub mod starvation;

mod account;
mod case;
pub mod cluster;
mod deaths;
mod ending;
mod facts;
mod finding;
mod names;
mod out_of_time;
pub mod signature;
mod signature_file;
pub mod stacks;
mod testlog;

use std::io::{self, BufRead};

pub use exit::{EndedBy, Ending, Exit, Kept, Usage};
pub use outcome::{Counts, Crash, CrashKind, Evidence, Outcome, OutcomeKind, Verdict};
pub use record::Record;
pub use signature::{BUILT_IN, Hit, Scope, SessionMode, Severity, Signature, SignatureSet};
pub use signature_file::SignatureError;

use self::facts::Facts;
use self::finding::Finding;
use self::pytest::console::session::Session;
use self::pytest::{console, trail};
use self::testlog::TestLogs;

/// The category of a failure that no signature covers.
pub const UNKNOWN: &str = "UNKNOWN";

/// Most tests that a note about reruns names.
const MOST_RERAN: usize = 5;

/// The files of one run, however they are kept.
pub trait RunFiles {
    /// Name relative to the run's directory and reader of the console log, or `None` where there is none.
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>>;
    /// The trail, `tests.jsonl`.
    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>>;
    /// Relative paths of the per-test logs (`test_x[jetstream]/test.log.txt`), sorted, without opening them.
    fn test_logs(&self) -> io::Result<Vec<String>>;
    /// Opens one of `test_logs`.
    fn open(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>>;
}

/// Judges one run. Total: whatever the bytes are there is an outcome.
///
/// # Errors
/// Only the readers' own.
pub fn judge(run: &dyn RunFiles, exit: Option<&Exit>, signatures: &SignatureSet) -> io::Result<Outcome> {
    let (name, console) = match run.console()? {
        Some((name, reader)) => (name, console::read(reader, exit.filter(|exit| !exit.is_bare))?),
        None => ("run.log".to_owned(), console::Console::default()),
    };
    // What a session wrote once we had set out to end it is our doing: a signal that asks for its stacks may end the
    // very wait that was the hang.
    let length = exit.and_then(|exit| exit.trail_bytes).unwrap_or(u64::MAX);
    let trail = run
        .trail()?
        .map(|reader| trail::read(std::io::Read::take(reader, length)))
        .transpose()?;
    let is_xdist = console.sessions.last().is_some_and(|session| session.is_xdist);
    let facts = Facts {
        file: name,
        console,
        trail,
        exit,
        logs: TestLogs::new(run, signatures, is_xdist),
        signatures,
    };
    let found = findings(&facts);
    if let Some(error) = facts.logs.error() {
        return Err(error);
    }
    let mut outcome = finding::outcome(&facts, found);
    contradictions(&facts, &mut outcome);
    Ok(outcome)
}

/// Everything that can be concluded about a run.
fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let sessions = &facts.console.sessions;
    let (last, earlier) = match sessions.split_last() {
        Some((last, earlier)) => (Some(last), earlier),
        None => (None, &[][..]),
    };
    let mut found = Vec::new();
    for session in earlier {
        found.extend(account::findings(facts, session, false));
        let ending = ending::earlier(facts, session, &found);
        found.extend(ending);
    }
    // A session without a terminal reporter shows nothing; the trail has seen it.
    let unseen = Session::default();
    let has_trail = facts.trail.as_ref().is_some_and(|trail| !trail.tests.is_empty());
    if let Some(session) = last.or(has_trail.then_some(&unseen)) {
        found.extend(account::findings(facts, session, true));
        let ending = ending::findings(facts, session, &found);
        found.extend(ending);
    } else {
        found.extend(ending::nothing(facts));
    }
    found
}

/// Writes down where facts disagree.
fn contradictions(facts: &Facts<'_>, outcome: &mut Outcome) {
    use OutcomeKind::{NoTests, Passed, UsageError};
    let kind = outcome.outcome;
    let mut notes = Vec::new();
    match outcome.reran.as_slice() {
        [] => {
            let unnamed = outcome.counts.map_or(0, |counts| counts.rerun);
            if unnamed > 0 && kind == Passed {
                notes.push(format!("passed after {unnamed} reruns of tests that nothing names"));
            }
        }
        reran => {
            let more = reran.len().saturating_sub(MOST_RERAN);
            let named = reran[..reran.len() - more].join(", ");
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            notes.push(format!("needed a rerun: {named}{rest}"));
        }
    }
    if facts.trail.as_ref().is_some_and(|trail| trail.has_forked) {
        notes.push("a child that a test forked went on as a session of its own, which is not counted".to_owned());
    }
    match facts.end().code {
        Some(0) if kind != Passed => notes.push(match outcome.evidence.first() {
            Some(Evidence {
                text,
                line: Some(line),
                file,
                ..
            }) if *file != facts.file => format!("exit code 0, but `{text}` on line {line} of {file}"),
            Some(Evidence {
                text, line: Some(line), ..
            }) => format!("exit code 0, but `{text}` on line {line}"),
            Some(evidence) => format!("exit code 0, but {}", evidence.text),
            None => "exit code 0, but the session says otherwise".to_owned(),
        }),
        Some(code) if code != 0 && kind == Passed => {
            notes.push(format!("exit code {code}, but the session says that nothing failed"));
        }
        _ => {}
    }
    let last = facts.console.sessions.last();
    let is_empty = |session: &Session| session.closing.is_some_and(|(closing, _)| closing.is_empty);
    if last.is_some_and(|session| session.is_green() && !is_empty(session))
        && !matches!(kind, Passed | NoTests | UsageError)
    {
        notes.push("the closing line counts no failure, but the session did not end well".to_owned());
    }
    if last.is_some_and(|session| session.closing.is_none()) && kind != Passed {
        notes.push("the log has no closing line".to_owned());
    }
    if let Some(cut) = facts.exit.and_then(|exit| exit.log_cut) {
        notes.push(format!(
            "{cut} bytes in the middle of {} were not kept (--max-log)",
            facts.file
        ));
    }
    outcome.notes.extend(notes);
}
