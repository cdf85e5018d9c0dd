//! Where the replays of a run are kept: beside the runs of its sweep, and hidden from whoever reads that.
//!
//! Each list of tests has a sweep of its own there, so that its runs are claimed, judged, published and resumed like
//! any other iteration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::layout::{run_name, run_paths};
use super::{StoreError, durable, scan};
use crate::model::Spec;

/// The list of tests that a session runs, in the directory of its attempt.
pub const REPLAY_LIST: &str = "replay.json";
const REPLAYS: &str = ".replays";
/// Where a shell's tests write.
const SHELL: &str = "shell";

/// Directory for the replays of one iteration; it need not exist.
#[must_use]
pub fn replays_dir(sweep: &Path, iteration: u32) -> PathBuf {
    sweep.join(REPLAYS).join(run_name(iteration))
}

/// Directory of an iteration that is recorded, ours or the script's; `None` where there is none.
#[must_use]
pub fn recorded_run(sweep: &Path, iteration: u32) -> Option<PathBuf> {
    run_paths(sweep, iteration).into_iter().find(|path| scan::is_run(path))
}

/// What a sweep runs; `None` where the directory does not say.
///
/// # Errors
/// It says so in a form that cannot be read, or that is newer than this tool.
pub fn spec(sweep: &Path) -> Result<Option<Spec>, StoreError> {
    scan::read_spec(sweep, sweep)
}

/// Writes down the tests that a session is to run, where it finds them.
pub fn write_list(dir: &Path, tests: &[String]) -> Result<(), StoreError> {
    let path = dir.join(REPLAY_LIST);
    let text = serde_json::to_vec(tests).map_err(|error| StoreError::io("write", &path, error.into()))?;
    durable::make_way(dir, REPLAY_LIST)?;
    durable::replace(dir, REPLAY_LIST, &text)?;
    // Sessions run as whoever the image says.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(|cause| StoreError::io("write", &path, cause))
}

/// Makes the directory that what is run in a shell writes to; it is kept from one shell to the next.
pub fn shell_dir(sweep: &Path, iteration: u32) -> Result<PathBuf, StoreError> {
    let dir = replays_dir(sweep, iteration).join(SHELL);
    let failed = |cause| StoreError::io("create", &dir, cause);
    fs::create_dir_all(&dir).map_err(failed)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(failed)?;
    Ok(dir)
}
