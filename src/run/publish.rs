//! How an attempt becomes a recorded iteration, or does not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::claim::{Claim, SharedLock};
use super::layout::{ATTEMPTS, EXIT, EXIT_CODE, LOST, OUTCOME, STACKS, STARVED, TRAIL, run_name};
use super::sweep::json;
use super::worker::SUPERSEDED;
use super::{AttemptDir, Keep, RunDir, StoreError, Sweep, durable, tree};
use crate::failpoint::{self, Step};
use crate::judge::{Exit, Outcome, Verdict};

/// How publishing came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The iteration's answer is this attempt's; its directory as the user would type it.
    Ours(PathBuf),
    /// Somebody else had answered first; the attempt stays among the lost ones.
    Superseded,
}

/// Replaces the judgement in a run's directory; its facts stay as they are.
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
        let own = attempt.own();
        let failed = |name: &str, cause| StoreError::io("write", &own.path().join(name), cause);
        let code = exit.code.map(|code| format!("{code}\n").into_bytes());
        let documents = [
            (EXIT, Some(json(exit))),
            (OUTCOME, Some(json(outcome))),
            (EXIT_CODE, code),
        ];
        for (name, bytes) in documents {
            let written = match bytes {
                Some(bytes) => own.replace(name, &bytes),
                // A code that a test wrote there is not this session's.
                None => tree::remove(own, name),
            };
            written.map_err(|cause| failed(name, cause))?;
        }
        if self.keep == Keep::Failed && outcome.verdict == Verdict::Passed {
            attempt.prune(&[EXIT, OUTCOME, EXIT_CODE, TRAIL, STARVED]);
        }
        // A session that goes on may still write there.
        if exit.kept.is_none() {
            let _ = tree::remove(own, STACKS);
            attempt.remove_session();
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
            if !move_into_place(own, &target)? {
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
        attempt.remove_session();
        let text = format!(
            "{} {reason}\n",
            Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        let written = attempt.own().replace(LOST, text.as_bytes());
        written.map_err(|cause| StoreError::io("write", &attempt.path().join(LOST), cause))
    }
}

/// Renames an attempt to its run. `false` where another result is there already: a directory that is not empty cannot
/// be replaced by a rename.
pub(super) fn move_into_place(from: &RunDir, to: &Path) -> Result<bool, StoreError> {
    let Err(cause) = rename(from, to) else {
        return Ok(true);
    };
    match RunDir::open(to) {
        Ok(there) if !there.is_empty().unwrap_or(false) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(StoreError::InTheWay { path: to.to_owned() }),
        Ok(_) | Err(_) => Err(StoreError::io("publish", to, cause)),
    }
}

/// Renames a directory. A network file system may answer a resent rename with an error although the first one was done.
pub(super) fn rename(from: &RunDir, to: &Path) -> io::Result<()> {
    let renamed = fs::rename(from.path(), to);
    let is_there = || RunDir::open(to).is_ok_and(|there| there.identity() == from.identity());
    renamed.or_else(|error| if is_there() { Ok(()) } else { Err(error) })
}
