//! What is recorded: a sweep's iterations in order, and the sweeps and runs below any path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{CONSOLE, CONSOLE_OF_OLD, EXIT, EXIT_CODE, OUTCOME, StoreError, is_filled_dir, recorded, run_name, run_number, spec};
use crate::model::{Exit, Outcome, Spec};

/// A sweep as it stands on disk.
#[derive(Debug)]
pub struct Scan {
    /// Its directory.
    pub dir: PathBuf,
    /// What was run; `None` for a directory that the script wrote.
    pub spec: Option<Spec>,
    /// Iterations that have an answer, in order.
    pub records: Vec<Record>,
}

/// A recorded iteration.
#[derive(Debug)]
pub struct Record {
    /// Its number.
    pub iteration: u32,
    /// Its directory.
    pub dir: PathBuf,
    /// The facts, as far as they are known.
    pub exit: Exit,
    /// Whether any facts are known at all.
    pub has_exit: bool,
    /// The judgement; `None` where there is none yet, or none that can be read.
    pub outcome: Option<Outcome>,
    /// What is wrong with a file of it.
    pub problem: Option<String>,
}

/// Reads a sweep's directory.
///
/// # Errors
/// The directory itself, or its specification, cannot be read; a broken iteration is a `problem` of its record.
pub fn scan(dir: &Path) -> Result<Scan, StoreError> {
    if !dir.is_dir() {
        let cause = io::Error::from(if dir.exists() { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound });
        return Err(StoreError::io("read", dir, cause));
    }
    let spec = spec(dir)?;
    let numbers: Vec<u32> = recorded(dir)?.into_iter().collect();
    let records = numbers.into_par_iter().map(|iteration| record(dir.join(run_name(iteration)), iteration)).collect();
    Ok(Scan { dir: dir.to_owned(), spec, records })
}

fn record(dir: PathBuf, iteration: u32) -> Record {
    let (exit, mut problem) = facts(&dir);
    let outcome = match read_json::<Outcome>(&dir.join(OUTCOME)) {
        Ok(outcome) => outcome,
        Err(cause) => {
            problem.get_or_insert(cause);
            None
        }
    };
    Record { iteration, dir, has_exit: exit.is_some(), exit: exit.unwrap_or_default(), outcome, problem }
}

/// The facts of a run: `exit.json`, or the script's `.exit_code`, or none.
pub(super) fn facts(dir: &Path) -> (Option<Exit>, Option<String>) {
    let (exit, problem) = match read_json::<Exit>(&dir.join(EXIT)) {
        Ok(exit) => (exit, None),
        Err(problem) => (None, Some(problem)),
    };
    let exit = exit.or_else(|| {
        let code = fs::read_to_string(dir.join(EXIT_CODE)).ok()?.trim().parse().ok()?;
        Some(Exit { code: Some(code), ..Exit::default() })
    });
    (exit, problem)
}

/// A file's value; none where there is no file; a problem in words where it holds something else.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("failed to read `{}`: {error}", path.display())),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("failed to read `{}`: {error}", path.display()))
}

/// A run, wherever it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The run's directory, or a log file that belongs to none.
    pub path: PathBuf,
    /// The iteration that its name says.
    pub iteration: Option<u32>,
}

/// Every run at or below a path, in natural order: run directories, else log files.
///
/// # Errors
/// The path is not there, or holds no run.
pub fn find_runs(path: &Path) -> Result<Vec<Found>, StoreError> {
    let metadata = fs::metadata(path).map_err(|cause| StoreError::io("read", path, cause))?;
    if !metadata.is_dir() {
        return Ok(vec![Found { path: path.to_owned(), iteration: None }]);
    }
    let mut found = Vec::new();
    walk(path, &mut |dir| {
        if is_run(dir) {
            let name = dir.file_name().and_then(|name| name.to_str());
            found.push(Found { path: dir.to_owned(), iteration: name.and_then(run_number) });
            return Walk::Skip;
        }
        Walk::Enter
    })?;
    if found.is_empty() {
        let entries = fs::read_dir(path).map_err(|cause| StoreError::io("read", path, cause))?;
        let logs = entries.flatten().map(|entry| entry.path()).filter(|path| {
            path.is_file() && path.extension().is_some_and(|extension| extension == "log" || extension == "txt")
        });
        found.extend(logs.map(|path| Found { path, iteration: None }));
    }
    if found.is_empty() {
        return Err(StoreError::Empty { path: path.to_owned() });
    }
    found.sort_by_cached_key(|run| natural(&run.path));
    Ok(found)
}

/// Every sweep at or below a path, in natural order: directories that hold runs.
///
/// # Errors
/// The path is not there, or holds no sweep.
pub fn find_sweeps(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    walk(path, &mut |dir| {
        if dir.join(super::SPEC).exists() || recorded(dir).is_ok_and(|recorded| !recorded.is_empty()) {
            found.push(dir.to_owned());
            return Walk::Skip;
        }
        Walk::Enter
    })?;
    if found.is_empty() {
        return Err(StoreError::Empty { path: path.to_owned() });
    }
    found.sort_by_cached_key(|path| natural(path));
    Ok(found)
}

/// Whether a directory is a run: it has a session's log, or the facts of one whose log was not kept.
fn is_run(dir: &Path) -> bool {
    let is_named = dir.file_name().and_then(|name| name.to_str()).and_then(run_number).is_some();
    [CONSOLE, CONSOLE_OF_OLD].iter().any(|name| dir.join(name).is_file())
        || dir.join(EXIT).is_file()
        || (is_named && is_filled_dir(dir))
}

/// Whether to look below a directory.
#[derive(PartialEq, Eq)]
enum Walk {
    Enter,
    Skip,
}

/// Visits a directory and those below it, without following links and without what is hidden.
fn walk(dir: &Path, visit: &mut impl FnMut(&Path) -> Walk) -> Result<(), StoreError> {
    let mut open = vec![dir.to_owned()];
    let mut is_first = true;
    while let Some(dir) = open.pop() {
        if visit(&dir) == Walk::Skip {
            continue;
        }
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(cause) if is_first => return Err(StoreError::io("read", &dir, cause)),
            // A directory that a test closed is no reason to read nothing.
            Err(_) => continue,
        };
        is_first = false;
        let below = entries.flatten().filter(|entry| {
            entry.file_type().is_ok_and(|kind| kind.is_dir()) && !entry.file_name().as_encoded_bytes().starts_with(b".")
        });
        open.extend(below.map(|entry| entry.path()));
    }
    Ok(())
}

/// A key under which `run9` comes before `run10`.
fn natural(path: &Path) -> Vec<(String, u64)> {
    let text = path.to_string_lossy();
    let mut key = Vec::new();
    let mut rest = text.as_ref();
    while !rest.is_empty() {
        let digits_at = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (words, tail) = rest.split_at(digits_at);
        let digits_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(digits_end);
        key.push((words.to_owned(), digits.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut paths = ["n4/run10", "n4/run9", "n16/run1", "n4/run1000"].map(PathBuf::from);
        paths.sort_by_cached_key(|path| natural(path));
        assert_eq!(paths.map(|path| path.display().to_string()), ["n4/run9", "n4/run10", "n4/run1000", "n16/run1"]);
    }
}
