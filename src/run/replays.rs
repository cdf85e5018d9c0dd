//! Where the replays of a run are kept: beside the runs of its sweep, and hidden from whoever reads that.
//!
//! Each list of tests has a sweep of its own there, so that its runs are claimed, judged, published and resumed like
//! any other iteration.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{run_name, run_paths};
use super::{RunDir, StoreError, scan};
use crate::spec::Spec;

/// The list of tests that a session runs, in the directory of its attempt.
pub const REPLAY_LIST: &str = "replay.json";
const REPLAYS: &str = ".replays";
/// Where a shell's tests write.
const SHELL: &str = "shell";

/// Directory for the replays of one iteration; it need not exist.
pub fn replays_dir(sweep: &Path, iteration: u32) -> PathBuf {
    sweep.join(REPLAYS).join(run_name(iteration))
}

/// Directory of an iteration that is recorded, ours or the script's; `None` where there is none.
pub fn recorded_run(sweep: &Path, iteration: u32) -> Option<PathBuf> {
    run_paths(sweep, iteration).into_iter().find(|path| scan::is_run(path))
}

/// What a sweep runs; `None` where the directory does not say.
pub fn spec(sweep: &Path) -> Result<Option<Spec>, StoreError> {
    scan::read_spec(sweep, sweep)
}

/// Writes down the tests that a session is to run, where the session finds the list.
pub fn write_list(dir: &RunDir, tests: &[String]) -> Result<(), StoreError> {
    let failed = |cause| StoreError::io("write", &dir.path().join(REPLAY_LIST), cause);
    let text = serde_json::to_vec(tests).map_err(|error| failed(error.into()))?;
    dir.replace(REPLAY_LIST, &text).map_err(failed)
}

/// Makes the directory that tests in a shell write to; it is kept from one shell to the next.
pub fn shell_dir(sweep: &Path, iteration: u32) -> Result<RunDir, StoreError> {
    let dir = replays_dir(sweep, iteration);
    let failed = |cause| StoreError::io("create", &dir, cause);
    fs::create_dir_all(&dir).map_err(failed)?;
    let replays = RunDir::open(&dir).map_err(failed)?;
    // Closed to other users: the directory below it is open to any user that the image names.
    replays.set_mode(0o700).map_err(failed)?;
    let shell = replays.ensure_dir(SHELL, 0o777).map_err(failed)?;
    shell.set_mode(0o777).map_err(failed)?;
    Ok(shell)
}
