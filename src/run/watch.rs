//! What is being run now, by whichever process: claims that are held, and the logs of their attempts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::claim::{self, ClaimNote};
use super::layout::{ATTEMPTS, CLAIMS, LOG, OLD_LOG};
use super::{RunDir, StoreError, durable};
use crate::proc;

/// How much of the end of a log is looked at for its last line.
const TAIL: u64 = 8 << 10;

/// An iteration that a process is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub iteration: u32,
    /// Machine of the process; `None` between claim and attempt.
    pub host: Option<String>,
    pub pid: Option<u32>,
    /// When the attempt began.
    pub since: Option<DateTime<Utc>>,
    /// Directory of the attempt, as the user would type it.
    pub attempt: Option<PathBuf>,
    /// The last line of its log that is not blank, as printed.
    pub last_line: Option<String>,
}

/// The console log of a run or an attempt.
pub fn log_of(dir: &Path) -> Option<PathBuf> {
    [LOG, OLD_LOG]
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

/// The iterations of a sweep that are being run, in order; claims of dead processes do not count.
///
/// # Errors
/// The sweep's directory cannot be read; a sweep without claims runs nothing.
pub fn in_flight(sweep: &Path) -> Result<Vec<InFlight>, StoreError> {
    let claims = sweep.join(CLAIMS);
    let entries = match fs::read_dir(&claims) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(StoreError::io("read", &claims, cause)),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".lock")?.parse::<u32>().ok());
        let Some(iteration) = number else { continue };
        let Ok(file) = durable::open_regular(&entry.path()) else {
            continue;
        };
        if claim::is_held(&file) {
            found.extend(look(sweep, iteration, file));
        }
    }
    found.sort_by_key(|running| running.iteration);
    Ok(found)
}

fn look(sweep: &Path, iteration: u32, mut claim: File) -> Option<InFlight> {
    let mut text = Vec::new();
    let _ = claim.by_ref().take(TAIL).read_to_end(&mut text);
    let note = serde_json::from_slice::<ClaimNote>(&text).ok();
    if note.as_ref().is_some_and(|note| note.stands_by) {
        return None;
    }
    let attempt = note.as_ref().map(|note| sweep.join(ATTEMPTS).join(&note.attempt));
    Some(InFlight {
        iteration,
        host: note.as_ref().map(|note| note.host.clone()),
        pid: note.as_ref().map(|note| note.pid),
        since: note.as_ref().map(|note| note.since),
        last_line: attempt.as_deref().and_then(last_line),
        attempt,
    })
}

fn last_line(attempt: &Path) -> Option<String> {
    let (tail, _) = RunDir::open(attempt).ok()?.tail(LOG, TAIL).ok()?;
    let mut lines = tail.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
    let line = lines.find(|line| !line.trim_ascii().is_empty())?;
    Some(String::from_utf8_lossy(line).into_owned())
}

/// Directories of the sweeps that processes of this machine are running: of all users for root, else of this user. Empty
/// where the system does not show which files a process has open.
pub fn sweeps_of_this_machine() -> BTreeSet<PathBuf> {
    let files = proc::pids().into_iter().flat_map(proc::open_files);
    files.filter_map(|file| sweep_of_claim(&file)).collect()
}

/// The sweep that a lock file is a claim of.
fn sweep_of_claim(file: &Path) -> Option<PathBuf> {
    let claims = file.parent()?;
    let is_claim = file.extension()? == "lock" && claims.file_name()? == CLAIMS;
    is_claim.then(|| claims.parent().map(Path::to_owned))?
}
