//! Answers that `--retry` set aside, in `.attempts/runNNN.retried-<k>`: they were given, so they count, wherever the
//! sweep goes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::claim::SharedLock;
use super::layout::{ATTEMPTS, EXIT, IMPORTED, MERGED, RETRIED, iteration_of, run_name, run_paths};
use super::scan::{self, is_run};
use super::{LARGEST, RunDir, StoreError, Sweep, attempt, durable, publish, tree};

/// The answers that `--retry` set aside: iteration and directory, in the order they were given; none where nobody can
/// look.
pub fn replaced(dir: &Path) -> Vec<(u32, PathBuf)> {
    let named = |entry: fs::DirEntry| {
        let (iteration, number) = iteration_and_number(entry.file_name().to_str()?)?;
        Some((iteration, number, entry.path()))
    };
    let entries = fs::read_dir(dir.join(ATTEMPTS)).into_iter().flatten().flatten();
    let mut found: Vec<(u32, u32, PathBuf)> = entries.filter_map(named).filter(|(_, _, path)| is_run(path)).collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(iteration, _, path)| (iteration, path))
        .collect()
}

/// Where an answer stands below its sweep: `run007`, or `.attempts/run007.retried-1` for one that was set aside.
pub fn place_in_sweep(iteration: u32, dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    match iteration_and_number(&name) {
        Some(_) => format!("{ATTEMPTS}/{name}"),
        None => run_name(iteration),
    }
}

/// Reads `run007.retried-1`, and only what we would write so.
pub(super) fn iteration_and_number(name: &str) -> Option<(u32, u32)> {
    let (run, number) = name.split_once(RETRIED)?;
    let found = (iteration_of(run)?, number.parse::<u32>().ok()?);
    (name == aside_name(found.0, found.1)).then_some(found)
}

fn aside_name(iteration: u32, number: u32) -> String {
    format!("{}{RETRIED}{number}", run_name(iteration))
}

/// A free name for an answer of an iteration that is set aside; the caller holds the lock.
fn free_name(attempts: &RunDir, iteration: u32) -> io::Result<String> {
    let mut names = (1..=u32::MAX).map(|number| aside_name(iteration, number));
    names
        .find(|name| attempts.kind(name).is_none())
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// Moves an answer of an iteration among the attempts; the caller holds the lock.
fn set_aside(answer: &Path, attempts: &RunDir, iteration: u32) -> io::Result<()> {
    let name = free_name(attempts, iteration)?;
    publish::rename(&RunDir::open(answer)?, &attempts.path().join(name))
}

impl Sweep {
    /// Makes room for iterations that are to run again. Their directories move to `.attempts/runNNN.retried-<k>`;
    /// those that are not recorded are passed over.
    pub fn retry(&self, iterations: &[u32]) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir)?;
        let there = scan::list(&self.dir)?;
        let attempts = self.attempts()?;
        let mut moved = BTreeSet::new();
        for iteration in iterations {
            let Some(path) = there.get(iteration) else { continue };
            set_aside(path, &attempts, *iteration).map_err(|cause| StoreError::io("move", path, cause))?;
            moved.insert(*iteration);
        }
        if moved.is_empty() {
            return Ok(());
        }
        self.drop_rows(&moved)?;
        durable::sync_dir(&self.dir)
    }
}

/// Puts an answer from elsewhere, whose directory is on the same disk, among those that were set aside. `false` where
/// the sweep has that answer; then the directory stays where it is.
pub(super) fn add(sweep: &Path, iteration: u32, from: &Path) -> Result<bool, StoreError> {
    let _lock = SharedLock::take(sweep)?;
    let failed = |cause| StoreError::io("move", from, cause);
    let standing = run_paths(sweep, iteration).into_iter().filter(|path| is_run(path));
    let aside = replaced(sweep).into_iter().filter(|(number, _)| *number == iteration);
    let known: Vec<PathBuf> = standing.chain(aside.map(|(_, path)| path)).collect();
    if known.iter().any(|path| is_same_answer(from, path).unwrap_or(false)) {
        return Ok(false);
    }
    let attempts = attempt::attempts(sweep).map_err(failed)?;
    set_aside(from, &attempts, iteration).map_err(failed)?;
    attempts.sync().map_err(failed)?;
    Ok(true)
}

/// Whether two directories hold one answer: the same facts where both have facts, since a judgement may have been made
/// again; else the same files.
pub(super) fn is_same_answer(one: &Path, other: &Path) -> io::Result<bool> {
    let facts = |dir: &Path| -> io::Result<Option<serde_json::Value>> {
        let bytes = RunDir::open(dir)?.read(EXIT, LARGEST)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    };
    match (facts(one)?, facts(other)?) {
        (Some(one), Some(other)) => Ok(one == other),
        (None, None) => is_same(one, other),
        (Some(_), None) | (None, Some(_)) => Ok(false),
    }
}

/// Whether two directories hold the same files with the same bytes. What `import` and `merge` add to a run is not part of
/// it.
pub(super) fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let is_counted = |name: &OsStr| name != IMPORTED && name != MERGED;
    tree::is_same(&RunDir::open(one)?, &RunDir::open(other)?, is_counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_we_give_are_answers_that_were_set_aside() {
        assert_eq!(iteration_and_number("run007.retried-12"), Some((7, 12)));
        for name in [
            "run007",
            "run7.retried-1",
            "run007.retried-01",
            "run007.retried-",
            "run007.retried-1.x",
            "run000.retried-1",
            "run007.merging-1",
        ] {
            assert_eq!(iteration_and_number(name), None, "{name}");
        }
        assert_eq!(
            place_in_sweep(7, Path::new("s/.attempts/run007.retried-2")),
            ".attempts/run007.retried-2"
        );
        assert_eq!(place_in_sweep(7, Path::new("s/run07")), "run007");
    }
}
