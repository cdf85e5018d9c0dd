//! An open sweep: its directory is created or resumed, its iterations claimed, its attempts begun.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::attempt::{self, AttemptDir};
use super::claim::{self, Claim, ClaimNote, Claimed, SharedLock};
use super::layout::{ATTEMPTS, CLAIMS, EVENTS, SPEC, run_name, run_paths};
use super::{RunDir, StoreError, durable, scan, tree};
use crate::spec::Spec;
use crate::spec::words::words;

words! {
    /// What of an iteration that passed stays on disk.
    #[derive(Default)]
    pub enum Keep {
        /// Everything.
        #[default]
        All = "all",
        /// Of an iteration that passed, only the facts and the judgement.
        Failed = "failed",
    }
}

/// Most sweeps that sessions are kept from writing to: each is a mount of every container.
const MOST_GUARDED: usize = 64;

/// A sweep's directory, open for recording. Any number of processes may have one open.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub(super) dir: PathBuf,
    /// The directory as the user would type it.
    pub(super) shown: PathBuf,
    pub(super) keep: Keep,
    pub(super) max_log: Option<u64>,
    /// Permissions of a recorded iteration's directory.
    pub(super) run_mode: u32,
    pub(super) host: String,
    /// What tells the attempts of this execution from all others.
    pub(super) stamp: String,
    /// Whether an iteration is run although another process has claimed it, as an engine asks where a node may be lost.
    pub(super) joins: bool,
    notes: Vec<String>,
}

impl Sweep {
    /// Creates `<logs_dir>/<spec.dir_name()>` or resumes what is there; the range on disk grows to include this one.
    ///
    /// # Errors
    /// [`StoreError::Differs`] where it holds a sweep of something else; a place that cannot be written to.
    pub fn open(logs_dir: &Path, spec: &Spec) -> Result<Sweep, StoreError> {
        let mut sweep = Sweep::make(logs_dir.join(spec.dir_name()))?;
        let lock = SharedLock::take(&sweep.dir).map_err(|error| sweep.in_users_words(error))?;
        if !lock.is_held() {
            sweep.notes.push(format!(
                "`{}` is on a file system without locks: two processes there may run the same iteration, and one result \
                 of them is kept",
                sweep.shown.display()
            ));
        }
        if !sweep.dir.join(SPEC).exists() && !sweep.recorded()?.is_empty() {
            sweep.notes.push(format!(
                "`{}` has iterations but no {SPEC}: what they ran is not known, and they stay as they are",
                sweep.shown.display()
            ));
        }
        sweep.admit(spec).map_err(|error| sweep.in_users_words(error))?;
        // Errors are ignored: results do not depend on the log of events.
        let _ = durable::end_torn_line(&sweep.dir.join(EVENTS));
        Ok(sweep)
    }

    /// Makes the directory.
    pub(super) fn make(shown: PathBuf) -> Result<Sweep, StoreError> {
        for dir in [shown.clone(), shown.join(CLAIMS)] {
            fs::create_dir_all(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        }
        let dir = fs::canonicalize(&shown).map_err(|cause| StoreError::io("open", &shown, cause))?;
        let sweep = Sweep::at(dir, shown);
        sweep.attempts()?;
        Ok(sweep)
    }

    pub(super) fn at(dir: PathBuf, shown: PathBuf) -> Sweep {
        let host = host();
        Sweep {
            dir,
            shown,
            keep: Keep::All,
            stamp: format!("{host}-{}", std::process::id()),
            host,
            joins: false,
            max_log: None,
            run_mode: 0o755,
            notes: Vec::new(),
        }
    }

    /// As [`Sweep::admit`], under the lock.
    pub(super) fn admitted(&self, spec: &Spec) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir).map_err(|error| self.in_users_words(error))?;
        self.admit(spec).map_err(|error| self.in_users_words(error))
    }

    /// Compares the specification with the one on disk, and writes it where there is none.
    fn admit(&self, spec: &Spec) -> Result<(), StoreError> {
        let known = scan::read_spec(&self.dir, &self.shown)?;
        if known.is_none() && durable::create(&self.dir, SPEC, &json(spec))? {
            return durable::sync_dir(&self.dir);
        }
        let known = match known {
            Some(known) => known,
            // Without locks another process may have been first.
            None => scan::read_spec(&self.dir, &self.shown)?.unwrap_or_else(|| spec.clone()),
        };
        let differences = spec.differences(&known);
        if !differences.is_empty() {
            let dir = self.shown.clone();
            return Err(StoreError::Differs { dir, differences });
        }
        let grown = Spec {
            first: known.first.min(spec.first),
            last: known.last.max(spec.last),
            reasons: &known.all_reasons() | &spec.reasons,
            settings: spec.settings.clone().or_else(|| known.settings.clone()),
            ..known.clone()
        };
        if grown != known {
            durable::replace(&self.dir, SPEC, &json(&grown))?;
            durable::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Writes down why this process stopped working on the sweep, beside the reasons of all others.
    pub fn add_end(&self, reason: &str) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir)?;
        if let Some(known) = scan::read_spec(&self.dir, &self.shown)? {
            durable::replace(&self.dir, SPEC, &json(&known.with_end(reason)))?;
        }
        Ok(())
    }

    /// Names the directory as the user would where an error names it in full.
    pub(super) fn in_users_words(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Io { verb, path, cause } => StoreError::Io {
                verb,
                path: path
                    .strip_prefix(&self.dir)
                    .map_or(path.clone(), |rest| self.shown.join(rest)),
                cause,
            },
            other => other,
        }
    }

    /// Chooses what stays of iterations that pass.
    #[must_use]
    pub fn keep_logs(self, keep: Keep) -> Sweep {
        Sweep { keep, ..self }
    }

    /// Bounds the log of an iteration, in bytes.
    #[must_use]
    pub fn max_log(self, max_log: Option<u64>) -> Sweep {
        Sweep { max_log, ..self }
    }

    /// Keeps everybody else out of the sweep and its iterations.
    pub fn private(self) -> Result<Sweep, StoreError> {
        // While a session runs, its directory is open to any user that the image names; the sweep's directory is not.
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))
            .map_err(|cause| self.in_users_words(StoreError::io("restrict", &self.dir, cause)))?;
        Ok(Sweep {
            run_mode: 0o700,
            ..self
        })
    }

    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Directories that no session may write to: this sweep's, and those of the sweeps beside it, first of all of those
    /// that run as well.
    pub fn guarded(&self) -> Vec<PathBuf> {
        let beside = self.dir.parent().and_then(|logs| fs::read_dir(logs).ok());
        let paths = beside.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut sweeps: Vec<PathBuf> = paths
            .filter(|path| *path != self.dir && path.join(SPEC).symlink_metadata().is_ok_and(|found| found.is_file()))
            .collect();
        sweeps.sort_by_cached_key(|sweep| {
            fs::read_dir(sweep.join(CLAIMS)).is_ok_and(|mut claims| claims.next().is_none())
        });
        sweeps.truncate(MOST_GUARDED);
        sweeps.insert(0, self.dir.clone());
        sweeps
    }

    /// The directory as the user would type it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// What the user should know about this directory before anything runs.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Iterations that have an answer.
    pub fn recorded(&self) -> Result<BTreeSet<u32>, StoreError> {
        scan::recorded(&self.dir)
    }

    /// Claims an iteration for this process. The claim holds until it is dropped or the process dies, however it dies.
    pub fn claim(&self, iteration: u32) -> Result<Claimed, StoreError> {
        if self.is_recorded(iteration) {
            return Ok(Claimed::Recorded);
        }
        let taken = claim::take(&self.dir, iteration).map_err(|error| self.in_users_words(error))?;
        let claim = match taken {
            Some(claim) => claim,
            None if self.joins => Claim::unheld(iteration),
            None => return Ok(Claimed::ByAnother),
        };
        // The claim's last holder may have published between our look and our lock.
        if self.is_recorded(iteration) {
            return Ok(Claimed::Recorded);
        }
        Ok(Claimed::Ours(claim))
    }

    pub fn is_recorded(&self, iteration: u32) -> bool {
        run_paths(&self.dir, iteration).iter().any(|path| scan::is_run(path))
    }

    /// Makes the directory of an attempt that begins now, with its log open.
    pub fn new_attempt(&self, claim: &Claim) -> Result<AttemptDir, StoreError> {
        let dir = self.new_standby(claim)?;
        self.begin(claim, &dir);
        Ok(dir)
    }

    /// Makes the directory of an attempt that waits for its turn: nobody takes it for one that runs.
    pub fn new_standby(&self, claim: &Claim) -> Result<AttemptDir, StoreError> {
        let dir = self.new_unclaimed(claim.iteration)?;
        self.stand_by(claim, &dir);
        Ok(dir)
    }

    /// Notes that an attempt waits for its turn.
    pub fn stand_by(&self, claim: &Claim, attempt: &AttemptDir) {
        self.describe(claim, attempt, true);
    }

    /// Makes the directory of an attempt at an iteration that is still to be claimed.
    pub fn new_unclaimed(&self, iteration: u32) -> Result<AttemptDir, StoreError> {
        // Earlier attempts are still there: of this process, and of one that had the same process id.
        for number in 1.. {
            let name = format!("{}.{}-{number}", run_name(iteration), self.stamp);
            match AttemptDir::create(&self.dir, name, self.max_log) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => {
                    let error = StoreError::io("create an attempt in", &self.dir.join(ATTEMPTS), cause);
                    return Err(self.in_users_words(error));
                }
                Ok(dir) => return Ok(dir),
            }
        }
        unreachable!("four thousand million attempts do not fit on a disk")
    }

    pub(super) fn attempts(&self) -> Result<RunDir, StoreError> {
        attempt::attempts(&self.dir)
            .map_err(|cause| self.in_users_words(StoreError::io("create", &self.dir.join(ATTEMPTS), cause)))
    }

    /// Notes that an attempt's turn has come.
    pub fn begin(&self, claim: &Claim, attempt: &AttemptDir) {
        self.describe(claim, attempt, false);
    }

    fn describe(&self, claim: &Claim, attempt: &AttemptDir, stands_by: bool) {
        claim.describe(&ClaimNote {
            host: self.host.clone(),
            pid: std::process::id(),
            attempt: attempt.name().to_owned(),
            since: Utc::now(),
            stands_by,
        });
    }

    /// Removes an attempt whose turn never came: nothing of it has run.
    pub fn discard(&self, attempt: &AttemptDir) {
        if let Ok(attempts) = self.attempts() {
            let _ = tree::remove(&attempts, attempt.name());
        }
    }

    /// Appends an event, as one line of JSON, to the sweep's log of events.
    pub fn append_event(&self, event: &impl serde::Serialize) -> Result<(), StoreError> {
        let path = self.dir.join(EVENTS);
        let mut line = serde_json::to_vec(event).map_err(|error| StoreError::io("write", &path, error.into()))?;
        line.push(b'\n');
        durable::append(&path, &line).map_err(|cause| self.in_users_words(StoreError::io("write", &path, cause)))
    }
}

/// A JSON document of the tool: indented for people, with an end of line.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("our values have string keys and finite numbers or null");
    bytes.push(b'\n');
    bytes
}

/// Name of this machine, fit for file and container names.
pub(super) fn host() -> String {
    name_of_machine(&rustix::system::uname().nodename().to_string_lossy())
}

/// The first part of a machine's name, fit for file and container names.
pub(super) fn name_of_machine(name: &str) -> String {
    let name: String = name
        .split('.')
        .next()
        .unwrap_or("")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(40)
        .collect();
    if name.is_empty() { "host".to_owned() } else { name }
}
