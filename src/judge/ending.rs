//! How a run ended, where the session did not say so itself: from exit facts, wrappers' words, and where the log stops.

use super::deaths::at_exit;
use super::facts::Facts;
use super::finding::{Finding, Place, Strength, of_each, strongest};
use super::names::{Names, stack_test};
use super::out_of_time::OutOfTime;
use super::pytest::console::phrases::Says;
use super::pytest::console::session::{Mark, Region, Session};
use super::pytest::console::stack::{Stack, StackKind};
use super::pytest::nodeid;
use super::{CrashKind, Scope};

/// Words of whoever should have started a session and could not.
const COMPLAINTS: [&str; 8] = [
    "error",
    "fatal",
    "cannot",
    "failed",
    "not found",
    "denied",
    "unable",
    "invalid",
];

/// Exit statuses that nothing but a test process has: pytest's for an internal error, `ThreadSanitizer`'s for its reports.
const OWN_STATUSES: [i32; 2] = [3, 66];

const NO_SESSION: &str = "nothing in the log is a pytest session";

/// How the last session ended, given what it says of itself.
pub(super) fn findings(facts: &Facts<'_>, session: &Session, told: &[Finding]) -> Vec<Finding> {
    if facts.is_cancelled() {
        return vec![cancelled()];
    }
    if let Some(found) = ended_outside(facts, session) {
        return found;
    }
    let end = facts.end();
    let is_complete = session.closing.is_some() || facts.is_silently_complete(session);
    let is_killed_by_memory = facts.exit.is_some_and(|exit| exit.oom_killed);
    let mut found = Vec::new();
    let died = |strength: Strength, kind: CrashKind, place: (Option<u64>, &str)| {
        let dead = facts.died(strength, session, kind, place);
        let tests = if is_complete {
            Vec::new()
        } else {
            facts.running(session)
        };
        of_each(&dead, &tests)
    };
    let is_passed = is_complete && end.code == Some(0) && strongest(told) < Strength::Nameless;
    if is_killed_by_memory && is_passed {
        let note = "the memory limit killed a process of the container, and the session passed: a test's child";
        return vec![Finding::noted(finished(facts, session), note)];
    }
    if is_killed_by_memory {
        let words = "died: the memory limit killed a process";
        found.extend(died(Strength::Crashed, CrashKind::Memory, (None, words)));
    }
    let word = shell_word(facts, session, is_complete);
    let killed = end.signal.filter(|_| end.is_death());
    if let Some(mark) = word {
        let words = format!("died: {}", mark.text);
        found.extend(died(Strength::Died, CrashKind::Session, (Some(mark.line), &words)));
    } else if let Some(signal) = killed {
        let words = format!("died: killed by signal {signal}");
        found.extend(died(Strength::Died, CrashKind::Session, (None, &words)));
    }
    // Somebody's kill looks like the memory limit's; the test's own log may say where it hung.
    let is_killed = killed == Some(9) && !is_complete && !is_killed_by_memory;
    if is_killed && !facts.logs.standing().is_empty() {
        let why = "killed where a test's log stands still";
        found.extend(stood_still(facts, session, Strength::StoodStill, (None, why)));
    }
    let is_own_doing = facts.is_ended_by_itself() && !is_complete;
    if let Some(signal) = end.signal.filter(|_| end.is_told() && is_own_doing) {
        let words = format!("died: the run sent itself signal {signal}");
        found.extend(died(Strength::Died, CrashKind::Session, (None, &words)));
    } else if let Some(signal) = end.signal.filter(|_| end.is_told()) {
        let why = format!("by signal {signal}");
        found.extend(stood_still(facts, session, Strength::StoodStill, (None, &why)));
    }
    found.extend(at_exit(facts, session));
    let is_named = told.iter().chain(&found).any(|finding| finding.test.is_some());
    let told = strongest(told).max(strongest(&found));
    if is_complete {
        found.push(as_finished(facts, session, finished(facts, session)));
        found.extend(exit_status(facts, session, told));
    } else if told < Strength::TimedOut && session.internal.is_none() {
        found.extend(cut(facts, session, told));
    } else if !is_named {
        found.extend(facts.running(session).iter().map(|test| Finding::new(told).of(test)));
    }
    found
}

/// How a session ended that another one followed: the words between the two say that it died, or nothing says anything.
pub(super) fn earlier(facts: &Facts<'_>, session: &Session, told: &[Finding]) -> Vec<Finding> {
    let mut marks = session.marks.iter().filter(|mark| !mark.is_followed);
    let word = marks.find(|mark| mark.says.is_death() || mark.says.is_status_of_death());
    let is_unexplained = session.closing.is_none() && strongest(told) < Strength::Nameless;
    let dead = if let Some(mark) = word {
        let words = format!("died: {}", mark.text);
        facts.died(Strength::Died, session, CrashKind::Session, (Some(mark.line), &words))
    } else if is_unexplained && !facts.is_silently_complete(session) {
        let words = "died: it ended without a closing line, and another session followed";
        facts.died(Strength::Crashed, session, CrashKind::Session, (None, words))
    } else {
        return Vec::new();
    };
    let running: Vec<String> = session.running.iter().cloned().collect();
    of_each(&dead, &running)
}

/// The word of the shell, the allocator or a runtime for a process that died.
fn shell_word<'a>(facts: &'a Facts<'_>, session: &'a Session, is_complete: bool) -> Option<&'a Mark> {
    // pytest-timeout's thread ends the session by an exit that a shell may call a death.
    let is_timeout = |stack: &Stack| stack.kind == StackKind::Timeout && !stack.is_followed;
    if !is_complete && session.stacks.iter().any(is_timeout) {
        return None;
    }
    // Output that was still in a pipe may follow the shell's word; without a closing line that word holds.
    let any = session.marks.iter().filter(|_| session.closing.is_none());
    let above = facts.console.before.marks.iter();
    let above = above.filter(|mark| mark.says == Says::DiedBelow && !is_complete);
    facts.tail().chain(any).chain(above).find(|mark| mark.says.is_death())
}

/// Whoever was not the session ended it: we, a wrapper, a scheduler.
fn ended_outside(facts: &Facts<'_>, session: &Session) -> Option<Vec<Finding>> {
    let why = facts.ended_outside()?;
    if let Some(out) = OutOfTime::of(facts, session) {
        return Some(vec![out.finding()]);
    }
    let line = facts.console.marker.map(|(line, _)| line);
    Some(stood_still(facts, session, Strength::Hung, (line, &why)))
}

/// A session that was silent, the tests that it stood in, and the logs of tests that say so.
fn stood_still(
    facts: &Facts<'_>,
    session: &Session,
    strength: Strength,
    (line, why): (Option<u64>, &str),
) -> Vec<Finding> {
    let found = facts.hung(strength, session.is_xdist, line, why);
    if session.closing.is_some() {
        return found;
    }
    let mut found = of_each(&found, &facts.running(session));
    let logs = facts.logs.standing().into_iter();
    found.extend(logs.map(|hit| hit.finding(facts, strength)));
    found
}

/// pytest's own exit status says that something failed, and nothing that it counts did: a plugin or a conftest decided so.
fn exit_status(facts: &Facts<'_>, session: &Session, told: Strength) -> Option<Finding> {
    let code = facts.end().code.filter(|_| told < Strength::Nameless)?;
    // A wrapper has a status 1 of its own, and makes 2 of it; others are the session's, whoever passes them on.
    let is_pytests = match code {
        1 => facts.is_direct() || facts.trail.as_ref().is_some_and(|trail| trail.exit_status == Some(1)),
        _ => OWN_STATUSES.contains(&code),
    };
    let told = facts.tail().find(|mark| mark.says == Says::Status(code));
    let words = told.map(|mark| (Some(mark.line), mark.text.as_str()));
    let last = session.last_words.as_ref().filter(|_| code == 1);
    let (line, text) = last
        .map(|(line, text)| (Some(*line), text.as_str()))
        .or(words)
        .unwrap_or((
            None,
            "pytest's own exit status is not 0, and its closing line counts no failure",
        ));
    is_pytests.then(|| Finding::unknown(Strength::Failed, Place::at(line, text)))
}

/// The end of a session; the line that says so where it was called wrongly.
fn as_finished(facts: &Facts<'_>, session: &Session, strength: Strength) -> Finding {
    if strength == Strength::UsageError {
        called_wrongly(facts, session)
    } else {
        Finding::new(strength)
    }
}

/// pytest was called wrongly, and its own line that says how: the one with the cause, not the one with the usage.
fn called_wrongly(facts: &Facts<'_>, session: &Session) -> Finding {
    let marks = facts.console.before.marks.iter().chain(&session.marks);
    let told: Vec<&Mark> = marks.filter(|mark| mark.says == Says::Usage).collect();
    let cause = told.iter().find(|mark| !mark.text.starts_with("ERROR: usage:"));
    match cause.or(told.first()) {
        Some(mark) => Finding::told(Strength::UsageError, Place::at(Some(mark.line), &mark.text)),
        None => Finding::noted(Strength::UsageError, "exit code 4: pytest was called wrongly"),
    }
}

/// What a session that reached its end found to run.
fn finished(facts: &Facts<'_>, session: &Session) -> Strength {
    let Some((closing, _)) = session.closing else {
        let is_empty = facts.trail.as_ref().is_some_and(|trail| trail.exit_status == Some(5));
        return if is_empty { Strength::NoTests } else { Strength::Passed };
    };
    let counts = closing.counts;
    let ran = counts.passed + counts.failed + counts.errors + counts.skipped + counts.xfailed + counts.xpassed;
    if !closing.is_empty && (ran > 0 || closing.is_replaced) {
        let is_all_skipped = ran == counts.skipped && session.collected == Some(0);
        return if is_all_skipped && facts.end().code == Some(5) {
            Strength::NoTests
        } else {
            Strength::Passed
        };
    }
    let mut marks = facts.console.before.marks.iter().chain(&session.marks);
    if marks.any(|mark| mark.says == Says::Usage) || facts.end().code == Some(4) {
        Strength::UsageError
    } else {
        Strength::NoTests
    }
}

/// A session without a closing line, and nothing in the log says why.
fn cut(facts: &Facts<'_>, session: &Session, told: Strength) -> Vec<Finding> {
    let end = facts.end();
    let has_failed = told >= Strength::Nameless;
    if !has_failed && facts.tail().any(|mark| mark.says == Says::Engine) {
        return vec![Finding::noted(Strength::Infra, "the container was lost")];
    }
    let has_usage = session.marks.iter().any(|mark| mark.says == Says::Usage);
    if session.finished == 0 && (end.code == Some(4) || (end.code != Some(0) && has_usage)) {
        return vec![called_wrongly(facts, session)];
    }
    if end.code == Some(5) {
        return vec![Finding::new(Strength::NoTests)];
    }
    // The failures were being reported: the tests were over. Or pytest said that tests failed, and the log is incomplete.
    let is_over = matches!(session.region, Region::Report | Region::Summary);
    if has_failed && (is_over || (end.code == Some(1) && session.running.is_empty())) {
        return Vec::new();
    }
    let fatal = facts
        .console
        .before
        .stacks
        .iter()
        .find(|stack| stack.kind == StackKind::Fatal);
    if let Some(fatal) = fatal.filter(|_| !session.has_header && session.finished == 0) {
        let dead = facts.died(
            Strength::Crashed,
            session,
            CrashKind::Session,
            (Some(fatal.line), &format!("died: {}", fatal.text)),
        );
        return of_each(&dead, &facts.running(session));
    }
    if let Some(hint) = facts.tail().find(|mark| mark.says == Says::Hint && end.code.is_none()) {
        let words = format!("died: {}", hint.text);
        let dead = facts.died(Strength::Died, session, CrashKind::Session, (Some(hint.line), &words));
        return of_each(&dead, &facts.running(session));
    }
    match end.code {
        Some(code) if facts.logs.standing().is_empty() => {
            let words = format!("died: exit code {code} before the session's end");
            let dead = facts.died(Strength::Died, session, CrashKind::Session, (None, &words));
            of_each(&dead, &facts.running(session))
        }
        Some(_) | None => {
            let line = facts.console.last.as_ref().map(|(line, _)| *line);
            let why = "the log stops before the session's end";
            stood_still(facts, session, Strength::Cut, (line, why))
        }
    }
}

fn cancelled() -> Finding {
    Finding::noted(Strength::Infra, "cancelled by the user: no result")
}

/// A log without any session.
pub(super) fn nothing(facts: &Facts<'_>) -> Vec<Finding> {
    let console = &facts.console;
    let mut session = Session::default();
    session.running.clone_from(&console.before.running);
    let end = facts.end();
    if facts.is_cancelled() {
        return vec![cancelled()];
    }
    if let Some(found) = ended_outside(facts, &session) {
        return found;
    }
    if facts.exit.is_some_and(|exit| exit.error.is_some()) {
        return vec![Finding::new(Strength::Infra)];
    }
    let died = |place: (Option<u64>, &str)| {
        let found = facts.died(Strength::Crashed, &session, CrashKind::Session, place);
        of_each(&found, &Vec::from_iter(session.running.first().cloned()))
    };
    let mark = |says: Says| console.before.marks.iter().find(|mark| mark.says == says);
    if let Some(fatal) = console
        .before
        .stacks
        .iter()
        .find(|stack| stack.kind == StackKind::Fatal)
    {
        let found = died((Some(fatal.line), &format!("died: {}", fatal.text)));
        // Its own output was still in a buffer; the stack knows the test.
        let test = stack_test(&session, fatal).filter(|_| fatal.is_pytest && session.running.is_empty());
        return test.map_or(found.clone(), |test| of_each(&found, &[test]));
    }
    if mark(Says::Usage).is_some() {
        return vec![called_wrongly(facts, &session)];
    }
    if mark(Says::Engine).is_some() || matches!(end.code, Some(125..=127)) {
        return vec![Finding::new(Strength::Infra)];
    }
    if let Some(mark) = mark(Says::Died).or(mark(Says::DiedBelow)) {
        return died((Some(mark.line), &format!("died: {}", mark.text)));
    }
    if end.is_death() || facts.exit.is_some_and(|exit| exit.oom_killed) {
        return died((None, "died: killed before the session began"));
    }
    let other = mark(Says::Other);
    let is_others = |line: u64| other.is_some_and(|other| other.line > line);
    if let Some(error) = console.before.internal.as_ref().filter(|error| !is_others(error.line)) {
        let mut found = facts.explain(Strength::Failed, Scope::Failure, false, &error.text);
        if found.is_empty() {
            let text = error.text.body.lines().last().unwrap_or("an error before the session");
            found.push(Finding::unknown(Strength::Failed, Place::at(Some(error.line), text)));
        }
        // Its own traceback tells where below the root directory a conftest lies.
        let below = error.file.as_deref().filter(|file| error.title.ends_with(file));
        return of_each(&found, &[Names::new(&session).relative(below.unwrap_or(&error.title))]);
    }
    if facts.is_silently_complete(&session) {
        return vec![Finding::new(Strength::Passed)];
    }
    let is_listing = console.last.as_ref().is_some_and(|(_, last)| is_count_of_tests(last));
    if is_listing && end.code.unwrap_or(0) == 0 {
        return vec![Finding::new(Strength::NoTests)];
    }
    if other.is_some() {
        return vec![Finding::noted(Strength::Infra, NO_SESSION)];
    }
    match end.code {
        Some(4) => vec![called_wrongly(facts, &session)],
        Some(5) => vec![Finding::new(Strength::NoTests)],
        Some(0) => died((None, "died: exit code 0 without a session")),
        None if is_talk(facts) => {
            let line = console.last.as_ref().map(|(line, _)| *line);
            stood_still(
                facts,
                &session,
                Strength::Cut,
                (line, "the log stops, and nothing says why"),
            )
        }
        Some(_) | None => vec![Finding::noted(Strength::Infra, NO_SESSION)],
    }
}

/// Whether a line is one of `--collect-only -qq`: a file and how many tests are in it.
fn is_count_of_tests(text: &str) -> bool {
    let parts = text.trim().rsplit_once(": ");
    parts.is_some_and(|(file, count)| nodeid::is_file(file) && count.parse::<u64>().is_ok())
}

/// Whether a log is what programs print while they run, as a quiet session without capture leaves it, and ends in no
/// complaint of whoever should have started one.
fn is_talk(facts: &Facts<'_>) -> bool {
    facts.console.last.as_ref().is_some_and(|(_, last)| {
        let last = last.to_ascii_lowercase();
        !COMPLAINTS.iter().any(|word| last.contains(word))
    })
}
