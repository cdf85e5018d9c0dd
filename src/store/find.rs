//! Runs and sweeps below any directory, in the order people expect.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{EXIT, EXIT_CODE, LOG, OLD_LOG, OUTCOME, SPEC, iteration_of, natural_order};
use super::{StoreError, scan};

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
    fs::read_dir(path).map_err(|cause| StoreError::io("read", path, cause))?;
    let mut runs = Vec::new();
    collect_runs(path, 0, &mut runs);
    Ok(runs)
}

fn collect_runs(dir: &Path, depth: usize, runs: &mut Vec<PathBuf>) {
    let entries = entries(dir);
    // Beside runs a log is somebody's notes about the sweep.
    let is_sweep = entries.iter().any(|entry| iteration_of(&entry.name).is_some());
    for entry in entries {
        if entry.is_dir {
            if is_run_dir(&entry.path) || (iteration_of(&entry.name).is_some() && scan::is_run(&entry.path)) {
                runs.push(entry.path);
            } else if depth < DEEPEST {
                collect_runs(&entry.path, depth + 1, runs);
            }
        } else if !is_sweep && entry.path.extension().is_some_and(|ending| ending == "log") {
            runs.push(entry.path);
        }
    }
}

/// The sweeps below a path, itself included, in natural order.
///
/// # Errors
/// The path is not a directory that can be read; a directory below it that cannot be read holds nothing.
pub fn find_sweeps(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(path).map_err(|cause| StoreError::io("read", path, cause))?;
    let mut sweeps = Vec::new();
    collect_sweeps(path, 0, &mut sweeps);
    Ok(sweeps)
}

fn collect_sweeps(dir: &Path, depth: usize, sweeps: &mut Vec<PathBuf>) {
    let entries = entries(dir);
    let is_sweep = entries.iter().any(|entry| {
        let is_run = entry.is_dir && iteration_of(&entry.name).is_some();
        is_run || (!entry.is_dir && entry.name == SPEC)
    });
    if is_sweep {
        sweeps.push(dir.to_owned());
        return;
    }
    for entry in entries.into_iter().filter(|entry| entry.is_dir && depth < DEEPEST) {
        if !is_run_dir(&entry.path) {
            collect_sweeps(&entry.path, depth + 1, sweeps);
        }
    }
}

/// Whether a directory is a run by what is in it.
fn is_run_dir(path: &Path) -> bool {
    [LOG, OLD_LOG, EXIT, OUTCOME, EXIT_CODE]
        .iter()
        .any(|name| path.join(name).is_file())
}

struct Entry {
    name: String,
    path: PathBuf,
    is_dir: bool,
}

/// What a directory holds, in natural order, without hidden entries. Links are followed only to files and to runs:
/// any other may lead back up.
fn entries(dir: &Path) -> Vec<Entry> {
    let Ok(listed) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut entries: Vec<Entry> = listed
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().ok()?;
            let path = entry.path();
            let is_link_to_dir = kind.is_symlink() && path.is_dir();
            if name.starts_with('.') || (is_link_to_dir && iteration_of(&name).is_none()) {
                return None;
            }
            Some(Entry {
                is_dir: kind.is_dir() || is_link_to_dir,
                name,
                path,
            })
        })
        .collect();
    entries.sort_by(|a, b| natural_order(&a.name, &b.name));
    entries
}
