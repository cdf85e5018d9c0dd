//! From facts to a judgement: exit facts, console, per-test logs and trail in, one outcome out.
//!
//! Pure and total: the same bytes give the same outcome, no content is an error, and every stored run can be judged
//! again when signatures change. Precedence: a session that somebody had to end is hung; evidence of a death
//! outweighs what the session says of itself; that outweighs the exit code. `notes` says which fact lied.

mod account;
mod case;
pub mod cluster;
mod complete;
mod deaths;
mod ending;
mod facts;
pub mod signature;
mod signature_file;
mod testlog;
mod verdict;

use std::io::{self, BufRead};

pub use signature::{Hit, Scope, SessionMode, Severity, Signature, SignatureSet};
pub use signature_file::SignatureError;

use crate::model::{Exit, Outcome};
use crate::pytest::{console, trail};

/// The category of a failure that no signature covers.
pub const UNKNOWN: &str = "UNKNOWN";

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
        Some((name, reader)) => (name, console::read(reader)?),
        None => ("run.log".to_owned(), console::Console::default()),
    };
    // What a session wrote once we had set out to end it is our doing: a signal that asks for its stacks may end the
    // very wait that was the hang.
    let length = exit.and_then(|exit| exit.trail_bytes).unwrap_or(u64::MAX);
    let trail = run
        .trail()?
        .map(|reader| trail::read(std::io::Read::take(reader, length)))
        .transpose()?;
    let facts = facts::Facts {
        file: name,
        console,
        trail,
        exit,
        run,
        signatures,
    };
    Ok(complete::ids(verdict::judge(&facts)?, facts.trail.as_ref()))
}
