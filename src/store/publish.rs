//! How an attempt becomes a recorded iteration, or does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::claim::{Claim, SharedLock};
use super::layout::{ATTEMPTS, EXIT, EXIT_CODE, LOST, OUTCOME, STACKS, TRAIL, run_name};
use super::sweep::json;
use super::worker::SUPERSEDED;
use super::{AttemptDir, Keep, StoreError, Sweep, durable, scan};
use crate::failpoint::{self, Step};
use crate::model::{Exit, Outcome, Verdict};

/// How publishing came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The iteration's answer is this attempt's; its directory as the user would type it.
    Ours(PathBuf),
    /// Somebody else had answered first; the attempt stays among the lost ones.
    Superseded,
}

/// Replaces the judgement in a run's directory; its facts stay as they are.
///
/// # Errors
/// The directory cannot be written.
pub fn write_outcome(dir: &Path, outcome: &Outcome) -> Result<(), StoreError> {
    durable::replace(dir, OUTCOME, &json(outcome))
}

impl Sweep {
    /// Records an iteration: facts and judgement are written beside the log, all of it is synced, and one rename makes
    /// it the iteration's answer. Whatever goes wrong before that leaves an attempt that is no answer.
    pub fn publish(
        &self,
        claim: Claim,
        attempt: AttemptDir,
        exit: &Exit,
        outcome: &Outcome,
    ) -> Result<Published, StoreError> {
        let published = self.record(claim.iteration, attempt, exit, outcome);
        // Let go only now: whoever waits for the claim finds the answer.
        drop(claim);
        published.map_err(|error| self.in_users_words(error))
    }

    fn record(
        &self,
        iteration: u32,
        mut attempt: AttemptDir,
        exit: &Exit,
        outcome: &Outcome,
    ) -> Result<Published, StoreError> {
        attempt.seal()?;
        let dir = attempt.path().to_owned();
        let code = exit.code.map(|code| format!("{code}\n").into_bytes());
        let documents = [
            (EXIT, Some(json(exit))),
            (OUTCOME, Some(json(outcome))),
            (EXIT_CODE, code),
        ];
        for (name, bytes) in documents {
            durable::make_way(&dir, name)?;
            match bytes {
                Some(bytes) => durable::replace(&dir, name, &bytes)?,
                // A code that a test wrote there is not this session's.
                None => remove_if_there(&dir.join(name))?,
            }
        }
        if self.keep == Keep::Failed && outcome.verdict == Verdict::Passed {
            attempt.prune(&[EXIT, OUTCOME, EXIT_CODE, TRAIL])?;
        }
        // A session that goes on may still write there.
        if exit.kept.is_none() {
            let _ = fs::remove_file(dir.join(STACKS));
        }
        attempt.sync(self.run_mode)?;
        failpoint::here(Step::Written);
        let target = self.dir.join(run_name(iteration));
        {
            // Under the lock, so that whoever rebuilds the rows sees both the run and its row, or neither.
            let lock = match SharedLock::take(&self.dir) {
                // An answer is not given up for rows that can be made again.
                Err(StoreError::Locked { .. }) if self.joins => SharedLock::none(),
                other => other?,
            };
            if !move_into_place(&dir, &target)? {
                drop(lock);
                self.lose(attempt, SUPERSEDED)?;
                return Ok(Published::Superseded);
            }
            failpoint::here(Step::Published);
            if lock.is_held() {
                // The run is recorded; its rows are derived and come back with the next rebuild.
                let _ = self.append_rows(iteration, exit, outcome);
            }
        }
        failpoint::here(Step::Listed);
        durable::sync_dir(&self.dir)?;
        durable::sync_dir(&self.dir.join(ATTEMPTS))?;
        Ok(Published::Ours(self.shown.join(run_name(iteration))))
    }

    /// Leaves an attempt that is no result where it is, as evidence, with the reason beside its log.
    pub fn lose(&self, mut attempt: AttemptDir, reason: &str) -> Result<(), StoreError> {
        attempt.seal()?;
        durable::make_way(attempt.path(), LOST)?;
        let text = format!(
            "{} {reason}\n",
            Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        durable::replace(attempt.path(), LOST, text.as_bytes())
    }

    /// Makes room for iterations that are to run again. Their directories move to `.attempts/runNNN.retried-<k>`;
    /// those that are not recorded are passed over.
    pub fn retry(&self, iterations: &[u32]) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir)?;
        let there = scan::list(&self.dir)?;
        let mut moved = BTreeSet::new();
        for iteration in iterations {
            let Some(path) = there.get(iteration) else { continue };
            let attempts = self.dir.join(ATTEMPTS);
            let aside = (1..=u32::MAX)
                .map(|number| attempts.join(format!("{}.retried-{number}", run_name(*iteration))))
                .find(|candidate| fs::symlink_metadata(candidate).is_err());
            if let Some(aside) = aside {
                fs::rename(path, &aside).map_err(|cause| StoreError::io("move", path, cause))?;
                moved.insert(*iteration);
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        self.drop_rows(&moved)?;
        durable::sync_dir(&self.dir)
    }
}

/// Renames an attempt to its run. `false` where another result is there already: a directory that is not empty cannot
/// be replaced by a rename.
pub(super) fn move_into_place(from: &Path, to: &Path) -> Result<bool, StoreError> {
    let failed = |cause| StoreError::io("publish", to, cause);
    let ours = fs::symlink_metadata(from)
        .map(|found| durable::identity(&found))
        .map_err(failed)?;
    let Err(cause) = fs::rename(from, to) else {
        return Ok(true);
    };
    // A network file system may answer a resent rename with an error although the first one was done.
    match fs::symlink_metadata(to) {
        Ok(there) if durable::identity(&there) == ours => Ok(true),
        Ok(_) if scan::is_run(to) => Ok(false),
        Ok(there) if !there.is_dir() => Err(StoreError::InTheWay { path: to.to_owned() }),
        Ok(_) | Err(_) => Err(failed(cause)),
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", path, cause)),
        Ok(()) | Err(_) => Ok(()),
    }
}
