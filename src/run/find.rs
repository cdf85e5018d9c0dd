//! Runs and sweeps below any directory, in the order people expect.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::{EXIT, EXIT_CODE, LOG, OLD_LOG, OUTCOME, SPEC, iteration_of, natural_order};
use super::tree::{self, Level};
use super::{Entry, Kind, RunDir, StoreError, scan};

/// Deepest directory that is looked into.
const DEEPEST: usize = 32;

/// The runs below a path, in natural order: itself if it is a log or a run's directory, else run directories and lone
/// `*.log` files in the tree below. What tests wrote inside a run is part of it.
///
/// # Errors
/// The path cannot be read; a directory below it that cannot be read holds nothing.
pub fn find_runs(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let found = fs::metadata(path).map_err(|cause| StoreError::io("read", path, cause))?;
    if !found.is_dir() || is_run_dir(path) {
        return Ok(vec![path.to_owned()]);
    }
    let mut runs = Vec::new();
    walk(path, |level, at| {
        // Beside runs a log is somebody's notes about the sweep.
        let is_sweep = level.entries.iter().any(|entry| iteration(entry).is_some());
        level.entries.retain(|entry| {
            let path = at.join(&entry.name);
            let is_run = if is_dir(entry, &path) {
                is_run_dir(&path) || (iteration(entry).is_some() && scan::is_run(&path))
            } else {
                !is_sweep && path.extension().is_some_and(|ending| ending == "log")
            };
            if is_run {
                runs.push(path);
            }
            !is_run
        });
    })?;
    sort(&mut runs);
    Ok(runs)
}

/// The sweeps below a path, itself included, in natural order.
///
/// # Errors
/// The path is not a directory that can be read; a directory below it that cannot be read holds nothing.
pub fn find_sweeps(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut sweeps = Vec::new();
    walk(path, |level, at| {
        let is_sweep = level.entries.iter().any(|entry| {
            let is_dir = is_dir(entry, &at.join(&entry.name));
            (is_dir && iteration(entry).is_some()) || (!is_dir && entry.name == SPEC)
        });
        if is_sweep {
            sweeps.push(at.to_owned());
            level.entries.clear();
        }
        level
            .entries
            .retain(|entry| entry.kind == Kind::Dir && !is_run_dir(&at.join(&entry.name)));
    })?;
    sort(&mut sweeps);
    Ok(sweeps)
}

/// Shows each directory below a path with its own path, without hidden entries and without links to directories other
/// than runs: any other link may lead back up.
fn walk(path: &Path, mut look: impl FnMut(&mut Level<'_>, &Path)) -> Result<(), StoreError> {
    let walked = RunDir::open(path).and_then(|dir| {
        tree::walk(&dir, DEEPEST, |level| {
            let is_first = level.path.as_os_str().is_empty();
            let at = if is_first {
                path.to_owned()
            } else {
                path.join(level.path)
            };
            level.entries.retain(|entry| {
                let is_hidden = entry.name.to_string_lossy().starts_with('.');
                let is_link = entry.kind == Kind::Link && at.join(&entry.name).is_dir();
                !is_hidden && (!is_link || iteration(entry).is_some())
            });
            look(level, &at);
            Ok::<_, io::Error>(())
        })
    });
    walked.map_err(|cause| StoreError::io("read", path, cause))
}

fn iteration(entry: &Entry) -> Option<u32> {
    iteration_of(&entry.name.to_string_lossy())
}

/// Whether an entry is a directory, or a link to one.
fn is_dir(entry: &Entry, path: &Path) -> bool {
    entry.kind == Kind::Dir || (entry.kind == Kind::Link && path.is_dir())
}

/// Whether a directory is a run by what is in it.
fn is_run_dir(path: &Path) -> bool {
    [LOG, OLD_LOG, EXIT, OUTCOME, EXIT_CODE]
        .iter()
        .any(|name| path.join(name).is_file())
}

/// Puts paths into natural order, one directory's after another's.
fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| {
        let (mut ours, mut theirs) = (a.iter(), b.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (Some(one), Some(other)) => match natural_order(&one.to_string_lossy(), &other.to_string_lossy()) {
                    Ordering::Equal => {}
                    order => return order,
                },
                (one, other) => return one.is_some().cmp(&other.is_some()),
            }
        }
    });
}
