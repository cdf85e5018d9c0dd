//! Directories of this machine that sessions need while they run, and what of them killed sweeps have left.

use std::path::PathBuf;

use super::packages;
use crate::run;

/// How the temporary directories of sessions are called. Short: names of Unix sockets below them must stay under 108
/// bytes.
pub(super) const TEMPORARY: &str = "rf-";
/// How the directories of gates are called.
pub(super) const GATE: &str = "gate-";

/// What would be removed.
pub fn left() -> Vec<PathBuf> {
    let left = places()
        .into_iter()
        .flat_map(|(dir, prefix)| run::left_in(&dir, prefix));
    left.collect()
}

/// Removes what killed sweeps of this user left on this machine, and returns it. What a process still uses stays.
pub fn remove() -> Vec<PathBuf> {
    let removed = places()
        .into_iter()
        .flat_map(|(dir, prefix)| run::remove_left_in(&dir, prefix));
    removed.collect()
}

/// Directories of what is kept in the cache and can be found again: what probes found, what was read of sweeps.
pub fn cached() -> Vec<PathBuf> {
    packages::cache()
        .map(|cache| run::cached_in(&cache))
        .unwrap_or_default()
}

/// Removes them, and returns those that are gone.
pub fn forget_cached() -> Vec<PathBuf> {
    packages::cache()
        .map(|cache| run::forget_cached(&cache))
        .unwrap_or_default()
}

fn places() -> Vec<(PathBuf, &'static str)> {
    let temporary = (std::env::temp_dir(), TEMPORARY);
    let gates = packages::cache().ok().map(|cache| (cache, GATE));
    [temporary].into_iter().chain(gates).collect()
}
