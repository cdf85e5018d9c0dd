//! Reading a sweep, the tool's or the script's: every run is an answer or a problem that is told, never an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::error::words;
use super::layout::{EXIT, EXIT_CODE, OUTCOME, SPEC, iteration_of, run_name};
use super::{LARGEST, RunDir, StoreError, durable, replaced};
use crate::judge::outcome::{Lengths, MOST_CATEGORIES, MOST_TESTS};
use crate::judge::{Exit, Outcome};
use crate::spec::Spec;

/// Largest judgement that is read; a run with a larger one is judged from its logs.
const LARGEST_OUTCOME: u64 = 32 << 20;

/// What a sweep's directory holds.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The directory, as given.
    pub dir: PathBuf,
    /// What was asked for; `None` in trees of the script.
    pub spec: Option<Spec>,
    /// The iterations that have an answer, in order.
    pub runs: Vec<ScannedRun>,
    /// Answers that `--retry` set aside, in order: they were given, so they count.
    pub replaced: Vec<ScannedRun>,
    /// What could not be read, besides what a run says about itself.
    pub problems: Vec<String>,
}

/// One iteration as it stands on disk.
#[derive(Clone, Debug)]
pub struct ScannedRun {
    pub iteration: u32,
    pub dir: PathBuf,
    /// How it ended; `None` where nothing says so.
    pub exit: Option<Exit>,
    /// The judgement; `None` where it has to be made from the logs.
    pub outcome: Option<Outcome>,
    /// What could not be read of the run.
    pub problem: Option<String>,
    pub reached: Reached,
}

/// The tests that a run began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reached {
    /// Nobody has looked.
    #[default]
    Unread,
    /// Nothing wrote them down.
    NoTrail,
    Tests(Arc<BTreeSet<String>>),
}

/// Reads a sweep.
///
/// # Errors
/// Only where the directory itself cannot be read.
pub fn scan(dir: &Path) -> Result<Scan, StoreError> {
    let runs = list(dir)?.into_par_iter();
    Ok(with_runs(
        dir,
        runs.map(|(iteration, path)| read_run(iteration, path)).collect(),
    ))
}

/// A sweep whose runs have been read.
pub(super) fn with_runs(dir: &Path, runs: Vec<ScannedRun>) -> Scan {
    let mut problems = Vec::new();
    let spec = read_spec(dir, dir).unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    });
    let replaced = replaced::replaced(dir)
        .into_par_iter()
        .map(|(iteration, path)| read_run(iteration, path))
        .collect();
    Scan {
        dir: dir.to_owned(),
        spec,
        runs,
        replaced,
        problems,
    }
}

/// Iterations below a directory that have an answer; none where there is no such directory.
pub fn recorded(dir: &Path) -> Result<BTreeSet<u32>, StoreError> {
    Ok(list(dir)?.into_keys().collect())
}

/// The run directories of a sweep by iteration. Where a number has several (`run7`, `run007`), the tool's own counts.
pub(super) fn list(dir: &Path) -> Result<BTreeMap<u32, PathBuf>, StoreError> {
    let runs: Vec<(u32, PathBuf)> = named(dir)?.into_par_iter().filter(|(_, path)| is_run(path)).collect();
    Ok(runs.into_iter().collect())
}

/// What is named as a run is, in order; of several with one number the last that is a run counts.
pub(super) fn named(dir: &Path) -> Result<Vec<(u32, PathBuf)>, StoreError> {
    let failed = |cause| StoreError::io("read", dir, cause);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut named: Vec<(u32, bool, PathBuf)> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if let Some((name, iteration)) = name.to_str().and_then(|name| Some((name, iteration_of(name)?))) {
            named.push((iteration, name == run_name(iteration), entry.path()));
        }
    }
    named.par_sort_unstable();
    Ok(named
        .into_iter()
        .map(|(iteration, _, path)| (iteration, path))
        .collect())
}

/// Whether a directory holds anything: the script made the directory first and filled it afterwards, and an empty one
/// says nothing. A directory that this user may not read counts as a run: it must not be replaced.
pub(super) fn is_run(path: &Path) -> bool {
    // Nearly every run has an outcome, so that this one call is enough for it.
    if path.join(OUTCOME).symlink_metadata().is_ok() {
        return true;
    }
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Reads what is known of one run.
pub fn read_run(iteration: u32, dir: PathBuf) -> ScannedRun {
    let mut problems = Vec::new();
    let opened = RunDir::open(&dir);
    let (exit, read) = match &opened {
        Ok(opened) => (read_exit(opened, &mut problems), read_outcome(opened)),
        Err(error) => (None, Err(format!("failed to read {OUTCOME}: {}", words(error)))),
    };
    let outcome = read.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let outcome = outcome.map(|outcome| Outcome {
        iteration: Some(iteration),
        ..outcome
    });
    ScannedRun {
        iteration,
        exit,
        outcome,
        problem: (!problems.is_empty()).then(|| problems.join("; ")),
        dir,
        reached: Reached::Unread,
    }
}

/// The judgement of a run; `None` where there is none yet.
pub(super) fn read_outcome(dir: &RunDir) -> Result<Option<Outcome>, String> {
    let failed = |error: io::Error| format!("failed to read {OUTCOME}: {}", words(&error));
    let corrupted = |error: serde_json::Error| format!("{OUTCOME} is corrupted: {error}");
    let file = match dir.file(OUTCOME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    if file.metadata().map_err(failed)?.len() > LARGEST_OUTCOME {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    // Streamed, so that no more of a long list is in memory than is kept.
    let mut outcome: Outcome = serde_json::from_reader(BufReader::new(&file)).map_err(corrupted)?;
    // The verdict follows from the outcome: a file edited by hand cannot make a hang a pass.
    outcome.verdict = outcome.outcome.verdict();
    let kept = (outcome.categories.len(), outcome.failing_tests.len());
    if kept.0 >= MOST_CATEGORIES || kept.1 >= MOST_TESTS {
        (&file).rewind().map_err(failed)?;
        let lengths: Lengths = serde_json::from_reader(BufReader::new(&file)).map_err(corrupted)?;
        let more = [
            (lengths.categories - kept.0, "categories"),
            (lengths.failing_tests - kept.1, "failing tests"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            outcome.notes.push(format!("{OUTCOME} has {count} more {what}"));
        }
    }
    Ok(Some(outcome))
}

/// The facts of a run: `exit.json`, else the code that the script left.
pub(super) fn read_exit(dir: &RunDir, problems: &mut Vec<String>) -> Option<Exit> {
    match dir.read(EXIT, LARGEST) {
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(exit) => return Some(exit),
            Err(error) => {
                problems.push(format!("{EXIT} is corrupted: {error}"));
                if let Some(exit) = readable_facts(&bytes) {
                    return Some(exit);
                }
            }
        },
        Ok(None) => {}
        Err(error) => problems.push(format!("failed to read {EXIT}: {}", words(&error))),
    }
    let bytes = match dir.read(EXIT_CODE, LARGEST) {
        Ok(bytes) => bytes?,
        Err(error) => {
            problems.push(format!("failed to read {EXIT_CODE}: {}", words(&error)));
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let Ok(code) = text.trim().parse::<i32>() else {
        problems.push(format!("{EXIT_CODE} is not a number"));
        return None;
    };
    Some(Exit {
        code: Some(code),
        signal: code.checked_sub(128).filter(|signal| (1..=64).contains(signal)),
        is_bare: true,
        ..Exit::default()
    })
}

/// The facts that can be read of a document in which others cannot.
fn readable_facts(bytes: &[u8]) -> Option<Exit> {
    let serde_json::Value::Object(fields) = serde_json::from_slice(bytes).ok()? else {
        return None;
    };
    let is_readable = |(name, value): &(String, serde_json::Value)| {
        let alone = serde_json::Map::from_iter([(name.clone(), value.clone())]);
        serde_json::from_value::<Exit>(alone.into()).is_ok()
    };
    let readable: serde_json::Map<String, serde_json::Value> = fields.into_iter().filter(is_readable).collect();
    serde_json::from_value(readable.into()).ok()
}

/// Reads the specification of a sweep; errors name the directory as the user would.
pub(super) fn read_spec(dir: &Path, shown: &Path) -> Result<Option<Spec>, StoreError> {
    let path = shown.join(SPEC);
    let bytes = match durable::read(&dir.join(SPEC)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(cause) => return Err(StoreError::io("read", &path, cause)),
    };
    let format = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|value| value.get("format")?.as_u64());
    match format {
        Some(format) if format > 1 => Err(StoreError::Newer { path, format }),
        Some(_) | None => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StoreError::Unreadable {
                path,
                cause: error.to_string(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::EndedBy;

    /// Facts and problems of a run with these files.
    fn facts(files: &[(&str, &str)]) -> (Option<Exit>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut problems = Vec::new();
        (read_exit(&RunDir::open(dir.path()).unwrap(), &mut problems), problems)
    }

    #[test]
    fn any_subset_of_the_facts_is_read() {
        let (exit, problems) = facts(&[(EXIT, r#"{"code":137,"ended_by":"silence"}"#)]);
        let exit = exit.unwrap();
        assert_eq!(
            (exit.code, exit.ended_by, problems.len()),
            (Some(137), EndedBy::Silence, 0)
        );
        let (exit, problems) = facts(&[(EXIT_CODE, "134\n")]);
        let exit = exit.unwrap();
        assert_eq!((exit.code, exit.signal, problems.len()), (Some(134), Some(6), 0));
        assert_eq!(facts(&[]), (None, Vec::new()));
    }

    #[test]
    fn facts_of_another_form_do_not_cost_the_others_and_are_told() {
        let (exit, problems) = facts(&[(EXIT, r#"{"code":134,"ended_by":"nobody","oom_killed":null}"#)]);
        let exit = exit.unwrap();
        assert_eq!(
            (exit.code, exit.ended_by, exit.oom_killed),
            (Some(134), EndedBy::Itself, false)
        );
        assert!(problems[0].contains("exit.json is corrupted"), "{problems:?}");
        let (exit, problems) = facts(&[(EXIT, "{\"code\":1"), (EXIT_CODE, "1")]);
        assert_eq!((exit.unwrap().code, problems.len()), (Some(1), 1));
        let (exit, problems) = facts(&[(EXIT_CODE, "-2147483648")]);
        assert_eq!((exit.unwrap().signal, problems.len()), (None, 0));
        assert_eq!(facts(&[(EXIT_CODE, "one")]).1, [".exit_code is not a number"]);
    }
}
