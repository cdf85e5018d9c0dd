//! Sweeps on disk: the only place that knows file names.
//!
//! Truth is in the `runNNN` directories, each published whole by one `rename(2)`, which fails onto a directory that is
//! not empty: the first publisher wins, with or without locks. Everything else can be rebuilt from them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::Spec;
use crate::model::spec::Difference;

mod attempt;
mod files;
mod scan;
mod sweep;
mod table;
mod write;

pub use attempt::AttemptDir;
pub use files::{Files, run_files};
pub use scan::{Found, Record, Scan, find_runs, find_sweeps, scan};
pub use sweep::{Claim, Claimed, Keep, Published, Sweep};

/// The session's output.
pub const CONSOLE: &str = "run.log";
/// The session's output, as the script sometimes called it.
pub const CONSOLE_OF_OLD: &str = "pytest.log";
/// The trail.
pub const TRAIL: &str = "tests.jsonl";
/// What was collected before a hang was ended.
pub const AUTOPSY: &str = "autopsy";
const EXIT: &str = "exit.json";
const EXIT_CODE: &str = ".exit_code";
const OUTCOME: &str = "outcome.json";
const SPEC: &str = "sweep.json";
const LOCK: &str = ".lock";
const CLAIMS: &str = ".claims";
const ATTEMPTS: &str = ".attempts";
const RESULTS_TEXT: &str = "results.txt";
const RESULTS_CSV: &str = "results.csv";
const EVENTS: &str = "events.jsonl";
const SUMMARY: &str = "summary.txt";

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("failed to {verb} `{}`: {cause}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// A file of ours does not hold what it should.
    #[error("failed to read `{}`: {cause}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The directory holds a sweep of something else.
    #[error("`{}` holds a sweep of {}, not {}", path.display(), shown(&difference.recorded), shown(&difference.asked))]
    Differs {
        /// The sweep's directory.
        path: PathBuf,
        /// In what they differ.
        difference: Difference,
    },
    /// The path holds no sweep and no run.
    #[error("`{}` holds no recorded iteration", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
}

fn shown(text: &str) -> String {
    if text.is_empty() { "no pytest arguments".to_owned() } else { format!("`{text}`") }
}

impl StoreError {
    /// The system's refusal, with what was tried on what.
    pub fn io(verb: &'static str, path: &Path, cause: io::Error) -> StoreError {
        StoreError::Io { verb, path: path.to_owned(), cause }
    }

    /// What the user can do, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Io { cause, .. } => match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free space and run the same command again; what is recorded is kept".to_owned())
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("name a directory you can write to with --logs-dir".to_owned())
                }
                _ => None,
            },
            StoreError::Corrupt { .. } => Some("move the file aside and run the command again".to_owned()),
            StoreError::Differs { .. } => Some("name the new one with --tag".to_owned()),
            StoreError::Empty { .. } => Some("name a directory that a sweep, or the script, wrote".to_owned()),
        }
    }
}

/// Directory name of an iteration.
fn run_name(iteration: u32) -> String {
    format!("run{iteration:03}")
}

/// The iteration that a directory name stands for. Only the spelling that is written counts: `run7` beside `run007`
/// would otherwise be the same iteration twice.
fn run_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("run")?.parse().ok()?;
    (number > 0 && run_name(number) == name).then_some(number)
}

/// Numbers of the iterations recorded in a sweep's directory; none where there is no directory.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn recorded(dir: &Path) -> Result<BTreeSet<u32>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(cause) => return Err(StoreError::io("read", dir, cause)),
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(|cause| StoreError::io("read", dir, cause))?;
        let number = entry.file_name().to_str().and_then(run_number);
        found.extend(number.filter(|_| is_filled_dir(&entry.path())));
    }
    Ok(found)
}

/// Whether a path is a directory with something in it. An empty one holds no answer, and `rename` may replace it.
fn is_filled_dir(path: &Path) -> bool {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    is_dir && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// The specification of a sweep, where it has one; the script's directories have none.
///
/// # Errors
/// It is there and cannot be read.
pub fn spec(dir: &Path) -> Result<Option<Spec>, StoreError> {
    let path = dir.join(SPEC);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(cause) => return Err(StoreError::io("read", &path, cause)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| StoreError::Corrupt { path, cause: error.to_string() })
}
