//! Reading a sweep, ours or the script's: whatever is there is an answer or a problem that is told, never an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::error::words;
use super::layout::{EXIT, EXIT_CODE, OUTCOME, SPEC, iteration_of, run_name};
use super::{StoreError, durable};
use crate::model::{Exit, Outcome, Spec};

/// What a sweep's directory holds.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The directory, as given.
    pub dir: PathBuf,
    /// What was asked for; `None` in trees of the script.
    pub spec: Option<Spec>,
    /// The iterations that have an answer, in order.
    pub runs: Vec<ScannedRun>,
    /// What could not be read, besides what a run says about itself.
    pub problems: Vec<String>,
}

/// One iteration as it stands on disk.
#[derive(Clone, Debug)]
pub struct ScannedRun {
    /// Its number.
    pub iteration: u32,
    /// Its directory.
    pub dir: PathBuf,
    /// How it ended; `None` where nothing says so.
    pub exit: Option<Exit>,
    /// The judgement; `None` where it has to be made from the logs.
    pub outcome: Option<Outcome>,
    /// What of it could not be read.
    pub problem: Option<String>,
}

/// Reads a sweep.
///
/// # Errors
/// Only where the directory itself cannot be read.
pub fn scan(dir: &Path) -> Result<Scan, StoreError> {
    let mut problems = Vec::new();
    let spec = read_spec(dir, dir).unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    });
    let runs = list(dir)?
        .into_par_iter()
        .map(|(iteration, path)| read_run(iteration, path))
        .collect();
    Ok(Scan {
        dir: dir.to_owned(),
        spec,
        runs,
        problems,
    })
}

/// Iterations below a directory that have an answer; none where there is no such directory.
pub fn recorded(dir: &Path) -> Result<BTreeSet<u32>, StoreError> {
    Ok(list(dir)?.into_keys().collect())
}

/// The run directories of a sweep by iteration. Where a number has several, ours is the one.
pub(super) fn list(dir: &Path) -> Result<BTreeMap<u32, PathBuf>, StoreError> {
    let failed = |cause| StoreError::io("read", dir, cause);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
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
    let mut runs: Vec<(u32, bool, PathBuf)> = named.into_par_iter().filter(|(_, _, path)| is_run(path)).collect();
    // Of those with one number the last one stays: ours.
    runs.par_sort_unstable();
    Ok(runs.into_iter().map(|(iteration, _, path)| (iteration, path)).collect())
}

/// Whether a directory holds anything: the script made the directory first and filled it afterwards, and an empty one
/// says nothing. One that we may not look into is not ours to replace.
pub(super) fn is_run(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Reads what is known of one run.
#[must_use]
pub fn read_run(iteration: u32, dir: PathBuf) -> ScannedRun {
    let mut problems = Vec::new();
    let exit = read_exit(&dir, &mut problems);
    let outcome = match durable::read(&dir.join(OUTCOME)) {
        Ok(None) => None,
        Ok(Some(bytes)) => match serde_json::from_slice::<Outcome>(&bytes) {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                problems.push(format!("{OUTCOME} is corrupted: {error}"));
                None
            }
        },
        Err(error) => {
            problems.push(format!("failed to read {OUTCOME}: {}", words(&error)));
            None
        }
    };
    let outcome = outcome.map(|outcome| Outcome {
        iteration: Some(iteration),
        // The words are one another's: a file edited by hand cannot make a hang a pass.
        verdict: outcome.outcome.verdict(),
        ..outcome
    });
    ScannedRun {
        iteration,
        exit,
        outcome,
        problem: (!problems.is_empty()).then(|| problems.join("; ")),
        dir,
    }
}

/// The facts of a run: `exit.json`, else the code that the script left.
pub(super) fn read_exit(dir: &Path, problems: &mut Vec<String>) -> Option<Exit> {
    match durable::read(&dir.join(EXIT)) {
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
    let bytes = match durable::read(&dir.join(EXIT_CODE)) {
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
        ..Exit::default()
    })
}

/// The facts in a document of which some have another form than ours.
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
    use crate::model::EndedBy;

    /// Facts and problems of a run with these files.
    fn facts(files: &[(&str, &str)]) -> (Option<Exit>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut problems = Vec::new();
        (read_exit(dir.path(), &mut problems), problems)
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
