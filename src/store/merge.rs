//! Runs of another sweep, copied in: each is whole when its number appears, as one that was run here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::layout::{ATTEMPTS, CLAIMS, EXIT, MERGED, run_name};
use super::publish::move_into_place;
use super::sweep::json;
use super::{Claimed, Published, StoreError, Sweep, durable, scan};
use crate::model::Spec;
use crate::model::merge::Identity;

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

/// The runs of a sweep with what each says of itself; none where there is no such directory.
pub fn identities(dir: &Path) -> Result<BTreeMap<u32, Identity>, StoreError> {
    let mut found = BTreeMap::new();
    for (iteration, path) in scan::list(dir)? {
        let file = path.join(EXIT);
        let identity = durable::read(&file).map_err(|cause| StoreError::io("read", &file, cause))?;
        found.insert(iteration, identity);
    }
    Ok(found)
}

impl Sweep {
    /// Makes a sweep's directory, or opens the one that is there and is of the same thing. The range on disk grows.
    pub fn receiving(dir: &Path, spec: &Spec) -> Result<Sweep, StoreError> {
        for dir in [dir.to_owned(), dir.join(CLAIMS), dir.join(ATTEMPTS)] {
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
            Claimed::Elsewhere => return Ok(None),
        };
        let attempts = self.dir.join(ATTEMPTS);
        let prefix = format!("{}.merging-", run_name(iteration));
        remove_leftovers(&attempts, &prefix)?;
        let copy = attempts.join(format!("{prefix}{}", self.stamp));
        copy_tree(from, &copy)?;
        durable::replace(&copy, MERGED, &json(provenance))?;
        durable::sync_dir(&copy)?;
        let target = self.dir.join(run_name(iteration));
        let is_ours = move_into_place(&copy, &target)?;
        durable::sync_dir(&self.dir)?;
        drop(claim);
        if is_ours {
            Ok(Some(Published::Ours(self.shown.join(run_name(iteration)))))
        } else {
            fs::remove_dir_all(&copy).map_err(|cause| StoreError::io("remove", &copy, cause))?;
            Ok(Some(Published::Superseded))
        }
    }
}

/// Removes the copies of merges that were cut short: whoever holds the iteration's claim is the only one to copy it.
fn remove_leftovers(attempts: &Path, prefix: &str) -> Result<(), StoreError> {
    let failed = |cause| StoreError::io("read", attempts, cause);
    for entry in fs::read_dir(attempts).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) {
            fs::remove_dir_all(&path).map_err(|cause| StoreError::io("remove", &path, cause))?;
        }
    }
    Ok(())
}

/// Copies files, directories and links as they are; pipes and sockets that tests left are not evidence.
fn copy_tree(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::create_dir(to).map_err(|cause| StoreError::io("create", to, cause))?;
    let failed = |cause| StoreError::io("read", from, cause);
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let copied = if kind.is_dir() {
            copy_tree(&source, &target)?;
            Ok(())
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|link| symlink(link, &target))
        } else if kind.is_file() {
            fs::copy(&source, &target).and_then(|_| fs::File::open(&target)?.sync_all())
        } else {
            Ok(())
        };
        copied.map_err(|cause| StoreError::io("copy", &source, cause))?;
    }
    durable::sync_dir(to)
}
