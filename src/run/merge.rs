//! Runs of another sweep, copied in: each is whole when its number appears, as one that was run here.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::claim;
use super::layout::{CLAIMS, EXIT, MERGED, run_name};
use super::publish::move_into_place;
use super::sweep::json;
use super::{Claimed, Published, RunDir, StoreError, Sweep, durable, replaced, scan, tree};
use crate::run::merge_plan::{Answers, Aside, Identity};
use crate::spec::Spec;

/// Where a run came from, kept beside its facts.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Version of this layout, 1.
    pub format: u32,
    /// Directory of the sweep it was recorded in, absolute, and on which machine that was read.
    pub sweep: String,
    /// The machine that merged it.
    pub host: String,
    /// Its number there.
    pub iteration: u32,
    /// When that sweep was first started.
    pub sweep_created_at: DateTime<Utc>,
    /// When it was copied.
    pub merged_at: DateTime<Utc>,
}

/// The answers of a sweep with what each says of itself; none where there is no such directory.
pub fn answers(dir: &Path) -> Result<Answers, StoreError> {
    let mut found = Answers::default();
    for (iteration, path) in scan::list(dir)? {
        found.standing.insert(iteration, identity(&path)?);
    }
    for (iteration, dir) in replaced::replaced(dir) {
        let identity = identity(&dir)?;
        found.replaced.push(Aside {
            iteration,
            dir,
            identity,
        });
    }
    Ok(found)
}

fn identity(dir: &Path) -> Result<Identity, StoreError> {
    let file = dir.join(EXIT);
    durable::read(&file).map_err(|cause| StoreError::io("read", &file, cause))
}

impl Sweep {
    /// Makes a sweep's directory, or opens the one that is there and is of the same thing. The range on disk grows.
    pub fn receiving(dir: &Path, spec: &Spec) -> Result<Sweep, StoreError> {
        for dir in [dir.to_owned(), dir.join(CLAIMS)] {
            fs::create_dir_all(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        }
        let at = fs::canonicalize(dir).map_err(|cause| StoreError::io("open", dir, cause))?;
        let sweep = Sweep::at(at, dir.to_owned());
        sweep.admitted(spec)?;
        Ok(sweep)
    }

    /// Copies a run of another sweep in. `None` where some process is running that iteration here.
    pub fn adopt(&self, from: &Path, iteration: u32, provenance: &Provenance) -> Result<Option<Published>, StoreError> {
        let claim = match self.claim(iteration)? {
            Claimed::Ours(claim) => claim,
            Claimed::Recorded => return Ok(Some(Published::Superseded)),
            Claimed::ByAnother => return Ok(None),
        };
        let attempts = self.attempts()?;
        let (copy, name) = self.copied(&attempts, from, iteration, provenance)?;
        let target = self.dir.join(run_name(iteration));
        let is_ours = move_into_place(&copy, &target)?;
        durable::sync_dir(&self.dir)?;
        drop(claim);
        if is_ours {
            Ok(Some(Published::Ours(self.shown.join(run_name(iteration)))))
        } else {
            tree::remove(&attempts, &name).map_err(|cause| StoreError::io("remove", copy.path(), cause))?;
            Ok(Some(Published::Superseded))
        }
    }

    /// Copies an answer in that `--retry` had set aside in another sweep, to where this one keeps such answers. `None`
    /// where some process is running that iteration here; `false` where the answer is there already.
    pub fn adopt_aside(
        &self,
        from: &Path,
        iteration: u32,
        provenance: &Provenance,
    ) -> Result<Option<bool>, StoreError> {
        let Some(_claim) = claim::take(&self.dir, iteration)? else {
            return Ok(None);
        };
        let attempts = self.attempts()?;
        let (copy, name) = self.copied(&attempts, from, iteration, provenance)?;
        let is_new = replaced::add(&self.dir, iteration, copy.path())?;
        if !is_new {
            tree::remove(&attempts, &name).map_err(|cause| StoreError::io("remove", copy.path(), cause))?;
        }
        Ok(Some(is_new))
    }

    /// A whole copy of a run among the attempts, safe from a power cut, and its name there.
    fn copied(
        &self,
        attempts: &RunDir,
        from: &Path,
        iteration: u32,
        provenance: &Provenance,
    ) -> Result<(RunDir, String), StoreError> {
        let prefix = format!("{}.merging-", run_name(iteration));
        remove_leftovers(attempts, &prefix)?;
        let name = format!("{prefix}{}", self.stamp);
        let copied = |cause| StoreError::io("copy", from, cause);
        let source = RunDir::open(from).map_err(copied)?;
        let copy = attempts.make_dir(&name, 0o755).map_err(copied)?;
        tree::copy(&source, &copy, |_| true).map_err(copied)?;
        copy.replace(MERGED, &json(provenance)).map_err(copied)?;
        tree::sync(&copy).map_err(copied)?;
        Ok((copy, name))
    }
}

/// Removes the copies of merges that were cut short: whoever holds the iteration's claim is the only one to copy it.
fn remove_leftovers(attempts: &RunDir, prefix: &str) -> Result<(), StoreError> {
    let failed = |cause| StoreError::io("clean up", attempts.path(), cause);
    for entry in attempts.entries().map_err(failed)? {
        if entry.name.to_string_lossy().starts_with(prefix) {
            tree::remove(attempts, &entry.name).map_err(failed)?;
        }
    }
    Ok(())
}
