//! Runs of an unpacked bundle moved to where sweeps are, by renames. Nothing that is there is replaced, and nothing is
//! moved unless all of it can be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::unpack::is_same;
use super::{StoreError, Unpacked};
use crate::store::layout::{SPEC, run_name, run_paths};
use crate::store::{durable, scan};

/// One sweep after its runs were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its directory, as the user would type it.
    pub dir: PathBuf,
    /// Iterations that came.
    pub new: BTreeSet<u32>,
    /// Iterations that were there, the same.
    pub known: BTreeSet<u32>,
}

/// Moves the runs into `logs_dir`.
///
/// # Errors
/// A run or a sweep of that name is there and is another one; a place that cannot be written to.
pub fn place(unpacked: &Unpacked, logs_dir: &Path) -> Result<Vec<Placed>, StoreError> {
    let mut planned = Vec::new();
    for (name, iterations) in &unpacked.sweeps {
        let (from, to) = (unpacked.dir.path().join(name), logs_dir.join(name));
        is_same_sweep(&from, &to)?;
        let (mut new, mut known) = (BTreeSet::new(), BTreeSet::new());
        for iteration in iterations {
            let ours = from.join(run_name(*iteration));
            let there = run_paths(&to, *iteration)
                .into_iter()
                .find(|path| fs::symlink_metadata(path).is_ok());
            match there {
                None => new.insert(*iteration),
                Some(path) if path.is_dir() && !scan::is_run(&path) => new.insert(*iteration),
                Some(path) if is_same(&ours, &path).unwrap_or(false) => known.insert(*iteration),
                Some(path) => return Err(StoreError::Taken { path }),
            };
        }
        planned.push((from, Placed { dir: to, new, known }));
    }
    for (from, placed) in &planned {
        let to = &placed.dir;
        let failed = |path: &Path, cause| StoreError::io("write", path, cause);
        fs::create_dir_all(to).map_err(|cause| failed(to, cause))?;
        if let Ok(Some(spec)) = durable::read(&from.join(SPEC)) {
            durable::create(to, SPEC, &spec)?;
        }
        for iteration in &placed.new {
            let target = to.join(run_name(*iteration));
            fs::rename(from.join(run_name(*iteration)), &target).map_err(|cause| {
                if scan::is_run(&target) {
                    StoreError::Taken { path: target.clone() }
                } else {
                    failed(&target, cause)
                }
            })?;
        }
        durable::sync_dir(to)?;
    }
    Ok(planned.into_iter().map(|(_, placed)| placed).collect())
}

/// Refuses to mix the runs of two sweeps that ran something else.
fn is_same_sweep(from: &Path, to: &Path) -> Result<(), StoreError> {
    let is_new =
        fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none()) || fs::symlink_metadata(to).is_err();
    if is_new {
        return Ok(());
    }
    let is_same = match (scan::read_spec(from, from)?, scan::read_spec(to, to)?) {
        (Some(ours), Some(theirs)) => ours.differences(&theirs).is_empty(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if is_same {
        Ok(())
    } else {
        Err(StoreError::Taken { path: to.to_owned() })
    }
}
