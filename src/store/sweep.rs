//! An open sweep: who runs which iteration, and how a result gets its place.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fs2::FileExt;

use super::write::{append, create_dirs, replace, replace_json, sync_dir};
use super::{
    ATTEMPTS, AUTOPSY, AttemptDir, CLAIMS, EVENTS, EXIT, EXIT_CODE, LOCK, OUTCOME, RESULTS_CSV, RESULTS_TEXT, Record, SPEC,
    SUMMARY, StoreError, TRAIL, is_filled_dir, run_name, spec, table,
};
use crate::model::{Event, Exit, Outcome, Spec, Verdict};

/// A sweep's directory, open for running iterations.
#[derive(Debug)]
pub struct Sweep {
    dir: PathBuf,
    keep: Keep,
}

/// What stays of an iteration that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// The facts, the judgement and the trail.
    Failed,
}

/// The right to run an iteration, held until it is dropped; the kernel takes it back from a process that dies.
#[derive(Debug)]
pub struct Claim {
    iteration: u32,
    _lock: File,
}

/// How an attempt to claim came out.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours to run.
    Ours(Claim),
    /// It has an answer.
    Recorded,
    /// Another process is running it.
    Elsewhere,
}

/// How an attempt to publish came out.
#[derive(Debug)]
pub enum Published {
    /// The result is recorded, in this directory.
    Ours(PathBuf),
    /// Another result was there first; ours stays among the attempts.
    Superseded,
}

impl Sweep {
    /// Creates the sweep's directory, or resumes it.
    ///
    /// # Errors
    /// [`StoreError::Differs`] when the directory holds a sweep of something else.
    pub fn open(logs_dir: &Path, asked: &Spec) -> Result<Sweep, StoreError> {
        let dir = logs_dir.join(asked.dir_name());
        create_dirs(&dir)?;
        let dir = dir.canonicalize().map_err(|cause| StoreError::io("find", &dir, cause))?;
        for below in [CLAIMS, ATTEMPTS] {
            create_dirs(&dir.join(below))?;
        }
        let sweep = Sweep { dir, keep: Keep::All };
        let _lock = sweep.lock()?;
        let mut kept = match spec(&sweep.dir)? {
            Some(recorded) => {
                if let Some(difference) = asked.differences(&recorded).into_iter().next() {
                    let path = logs_dir.join(asked.dir_name());
                    return Err(StoreError::Differs { path, difference });
                }
                recorded
            }
            None => asked.clone(),
        };
        kept.first = kept.first.min(asked.first);
        kept.last = kept.last.max(asked.last);
        replace_json(&sweep.dir, SPEC, &kept)?;
        sync_dir(&sweep.dir)?;
        Ok(sweep)
    }

    /// Sets what stays of iterations that pass.
    #[must_use]
    pub fn keep_logs(self, keep: Keep) -> Sweep {
        Sweep { keep, ..self }
    }

    /// The sweep's directory, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Numbers of the iterations that have an answer.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn recorded(&self) -> Result<BTreeSet<u32>, StoreError> {
        super::recorded(&self.dir)
    }

    /// The judgement of a recorded iteration; `None` where there is none, or none that can be read.
    ///
    /// # Errors
    /// None but the system's.
    pub fn outcome(&self, iteration: u32) -> Result<Option<Outcome>, StoreError> {
        let path = self.run_dir(iteration).join(OUTCOME);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::io("read", &path, cause)),
        }
    }

    /// Takes the right to run an iteration, if nobody has it and it has no answer.
    ///
    /// # Errors
    /// The claim's file cannot be made or locked.
    pub fn claim(&self, iteration: u32) -> Result<Claimed, StoreError> {
        if self.is_recorded(iteration) {
            return Ok(Claimed::Recorded);
        }
        let path = self.dir.join(CLAIMS).join(format!("{}.lock", run_name(iteration)));
        let file = open_lock(&path)?;
        match FileExt::try_lock_exclusive(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => return Ok(Claimed::Elsewhere),
            // Without locks the rename still lets only one result in; an iteration may then be executed twice.
            Err(error) if is_unsupported(&error) => {}
            Err(cause) => return Err(StoreError::io("lock", &path, cause)),
        }
        // Whoever had the claim may have published between our look and our lock.
        if self.is_recorded(iteration) {
            return Ok(Claimed::Recorded);
        }
        Ok(Claimed::Ours(Claim { iteration, _lock: file }))
    }

    /// Makes a directory for an attempt at a claimed iteration.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new_attempt(&self, claim: &Claim) -> Result<AttemptDir, StoreError> {
        AttemptDir::create(&self.dir.join(ATTEMPTS), claim.iteration)
    }

    /// Gives an attempt its place as the iteration's answer.
    ///
    /// # Errors
    /// The result could not be recorded.
    pub fn publish(&self, claim: Claim, mut attempt: AttemptDir, exit: &Exit, outcome: &Outcome) -> Result<Published, StoreError> {
        let from = attempt.path().to_owned();
        attempt.seal()?;
        if self.keep == Keep::Failed && outcome.verdict == Verdict::Passed {
            strip(&from)?;
        }
        let code = exit.code.map_or_else(String::new, |code| format!("{code}\n"));
        replace(&from, EXIT_CODE, code.as_bytes())?;
        replace_json(&from, OUTCOME, outcome)?;
        replace_json(&from, EXIT, &Written { attempt: attempt.name(), exit })?;
        sync_dir(&from)?;
        let to = self.run_dir(claim.iteration);
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) => {
                // A file server may have done it and lost the answer: what counts is what stands there.
                if !is_attempt(&to, attempt.name()) {
                    return if is_filled_dir(&to) {
                        Ok(Published::Superseded)
                    } else {
                        Err(StoreError::io("publish", &to, error))
                    };
                }
            }
        }
        sync_dir(&self.dir)?;
        let lock = self.lock()?;
        append(&self.dir.join(RESULTS_TEXT), table::text_line(claim.iteration, exit, outcome).as_bytes())?;
        let csv = self.dir.join(RESULTS_CSV);
        let is_new = fs::metadata(&csv).map_or(true, |metadata| metadata.len() == 0);
        if is_new {
            append(&csv, &table::csv([table::HEADER].iter()))?;
        }
        append(&csv, &table::csv([table::csv_row(claim.iteration, exit, outcome)].iter()))?;
        drop(lock);
        drop(claim);
        Ok(Published::Ours(to))
    }

    /// Leaves a lost attempt where it is, with the reason beside it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn lose(&self, attempt: AttemptDir, reason: &str) -> Result<(), StoreError> {
        replace(attempt.path(), "lost.txt", format!("{reason}\n").as_bytes())
    }

    /// Moves recorded iterations among the attempts, so that they can run again.
    ///
    /// # Errors
    /// The system refuses.
    pub fn retry(&self, iterations: &[u32]) -> Result<(), StoreError> {
        for iteration in iterations {
            let from = self.run_dir(*iteration);
            for number in 1.. {
                let to = self.dir.join(ATTEMPTS).join(format!("{}.retried-{number}", run_name(*iteration)));
                if fs::symlink_metadata(&to).is_ok() {
                    continue;
                }
                match fs::rename(&from, &to) {
                    Ok(()) => break,
                    // Another process took the same number, or the same iteration.
                    Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(cause) => return Err(StoreError::io("move aside", &from, cause)),
                }
            }
        }
        sync_dir(&self.dir)
    }

    /// Writes an event down.
    ///
    /// # Errors
    /// The system refuses.
    pub fn append_event(&self, event: &Event) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(event).expect("plain values with text keys always serialize");
        line.push(b'\n');
        append(&self.dir.join(EVENTS), &line)
    }

    /// Makes the derived files anew.
    ///
    /// # Errors
    /// The system refuses.
    pub fn rebuild(&self, records: &[Record], summary: &str) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let judged: Vec<(u32, &Exit, &Outcome)> =
            records.iter().filter_map(|record| Some((record.iteration, &record.exit, record.outcome.as_ref()?))).collect();
        let text: String = judged.iter().map(|(iteration, exit, outcome)| table::text_line(*iteration, exit, outcome)).collect();
        let rows = judged.iter().map(|(iteration, exit, outcome)| table::csv_row(*iteration, exit, outcome));
        let csv = table::csv(std::iter::once(table::HEADER.map(str::to_owned)).chain(rows));
        replace(&self.dir, RESULTS_TEXT, text.as_bytes())?;
        replace(&self.dir, RESULTS_CSV, &csv)?;
        replace(&self.dir, SUMMARY, summary.as_bytes())
    }

    fn run_dir(&self, iteration: u32) -> PathBuf {
        self.dir.join(run_name(iteration))
    }

    fn is_recorded(&self, iteration: u32) -> bool {
        is_filled_dir(&self.run_dir(iteration))
    }

    /// The lock under which shared files change, held until it is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.dir.join(LOCK);
        let file = open_lock(&path)?;
        match FileExt::lock_exclusive(&file) {
            Ok(()) => Ok(file),
            Err(error) if is_unsupported(&error) => Ok(file),
            Err(cause) => Err(StoreError::io("lock", &path, cause)),
        }
    }
}

/// `exit.json` as written: the facts, and the attempt they are of.
#[derive(serde::Serialize)]
struct Written<'a> {
    attempt: &'a str,
    #[serde(flatten)]
    exit: &'a Exit,
}

fn is_attempt(dir: &Path, name: &str) -> bool {
    let facts = fs::read(dir.join(EXIT)).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    facts.is_some_and(|facts| facts["attempt"] == name)
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|cause| StoreError::io("open", path, cause))
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported) || error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error())
}

/// Leaves of an iteration that passed only what tells that it did.
fn strip(dir: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(dir).map_err(|cause| StoreError::io("read", dir, cause))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != TRAIL && entry.file_name() != AUTOPSY) {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|cause| StoreError::io("remove", &path, cause))?;
    }
    Ok(())
}
