//! Runs of an unpacked bundle moved to where sweeps are, by renames. Nothing that is there is replaced, and nothing is
//! moved unless all of it can be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::{StoreError, Unpacked};
use crate::run::layout::{ATTEMPTS, IMPORTED, SPEC, run_name, run_paths};
use crate::run::replaced::{self, is_same, is_same_answer};
use crate::run::sweep::json;
use crate::run::{RunDir, durable, scan};
use crate::spec::Spec;

/// One sweep after its runs were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedSweep {
    /// Its directory, as the user would type it.
    pub dir: PathBuf,
    pub new: BTreeSet<u32>,
    /// Iterations that were there, the same.
    pub known: BTreeSet<u32>,
    /// How many answers came that `--retry` had set aside.
    pub replaced: usize,
}

/// Moves the runs into `logs_dir`.
///
/// # Errors
/// A run or a sweep of that name is there and is another one; a place that cannot be written to.
pub fn place(unpacked: &Unpacked, logs_dir: &Path) -> Result<Vec<ImportedSweep>, StoreError> {
    let mut planned = Vec::new();
    for (name, held) in &unpacked.sweeps {
        let (from, to) = (unpacked.dir.path().join(name), logs_dir.join(name));
        is_same_sweep(&from, &to)?;
        let (mut new, mut known) = (BTreeSet::new(), BTreeSet::new());
        let aside = replaced::replaced(&to);
        for iteration in &held.iterations {
            let ours = from.join(run_name(*iteration));
            let there = run_paths(&to, *iteration)
                .into_iter()
                .find(|path| fs::symlink_metadata(path).is_ok());
            match there {
                None => new.insert(*iteration),
                Some(path) if path.is_dir() && !scan::is_run(&path) => new.insert(*iteration),
                Some(path) if is_same(&ours, &path).unwrap_or(false) => known.insert(*iteration),
                // The run came with an earlier bundle, and was run again here.
                Some(_) if is_among(&aside, *iteration, &ours) => known.insert(*iteration),
                Some(path) => return Err(StoreError::Taken { path }),
            };
        }
        let placed = ImportedSweep {
            dir: to,
            new,
            known,
            replaced: 0,
        };
        planned.push((from, &held.replaced, placed));
    }
    for (from, replaced, placed) in &mut planned {
        let to = &placed.dir;
        let failed = |path: &Path, cause| StoreError::io("write", path, cause);
        fs::create_dir_all(to).map_err(|cause| failed(to, cause))?;
        let now = Utc::now();
        if let Some(mut spec) = marked_spec(&from.join(SPEC)) {
            spec["imported_at"] = serde_json::json!(now);
            durable::create(to, SPEC, &json(&spec))?;
        }
        let mark = serde_json::json!({
            "format": 1,
            "made_by": unpacked.manifest.tool,
            "made_at": unpacked.manifest.made_at,
            "imported_at": now,
        });
        let marked = |ours: &Path| {
            RunDir::open(ours)
                .and_then(|run| run.replace(IMPORTED, &json(&mark)))
                .map_err(|cause| failed(ours, cause))
        };
        for (name, iteration) in *replaced {
            let ours = from.join(ATTEMPTS).join(name);
            marked(&ours)?;
            placed.replaced += usize::from(replaced::add(to, *iteration, &ours)?);
        }
        for iteration in &placed.new {
            let ours = from.join(run_name(*iteration));
            marked(&ours)?;
            let target = to.join(run_name(*iteration));
            fs::rename(&ours, &target).map_err(|cause| {
                if scan::is_run(&target) {
                    StoreError::Taken { path: target.clone() }
                } else {
                    failed(&target, cause)
                }
            })?;
        }
        durable::sync_dir(to)?;
    }
    Ok(planned.into_iter().map(|(_, _, placed)| placed).collect())
}

fn is_among(aside: &[(u32, PathBuf)], iteration: u32, ours: &Path) -> bool {
    let of_it = aside.iter().filter(|(number, _)| *number == iteration);
    of_it
        .into_iter()
        .any(|(_, path)| is_same_answer(ours, path).unwrap_or(false))
}

/// The specification in a bundle as an object of JSON; what is none stays out, since nothing could mark it.
fn marked_spec(path: &Path) -> Option<serde_json::Value> {
    let bytes = durable::read(path).ok()??;
    serde_json::from_slice(&bytes).ok().filter(serde_json::Value::is_object)
}

/// Whether a run came in with a bundle, or belongs to a sweep that did: what it asks for is another person's wish.
pub fn is_imported(run: &Path, spec: &Spec) -> bool {
    spec.imported_at.is_some() || fs::symlink_metadata(run.join(IMPORTED)).is_ok()
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
