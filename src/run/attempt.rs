//! The directories of one attempt: the tool's own, with the log and all that is written about the attempt, and below it
//! the one that the session sees.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounded::Bounded;
use super::dir::RunDir;
use super::entry::{Identity, Kind};
use super::files::Files;
use super::layout::{ATTEMPTS, LOG, OURS, SESSION, STARVED, TRAIL};
use super::{StoreError, tree};
use crate::judge::starvation::Window;

/// The two directories of an attempt, open.
#[derive(Clone, Debug)]
pub struct AttemptDirs {
    /// The tool's own, which no session sees: log, facts, judgement, autopsy, cores. It becomes the run's directory.
    pub own: Arc<RunDir>,
    /// What the session sees and writes to. Its files join the others when the session has ended.
    pub session: Arc<RunDir>,
}

impl AttemptDirs {
    /// Makes both directories under a name that must be free.
    pub fn make(attempts: &RunDir, name: &str) -> io::Result<AttemptDirs> {
        let own = attempts.make_dir(name, 0o700)?;
        // Tests run as any user that the image names. Other users of this machine do not get here: `own` is closed to them.
        match own.make_dir(SESSION, 0o777) {
            Ok(session) => Ok(AttemptDirs {
                own: Arc::new(own),
                session: Arc::new(session),
            }),
            Err(error) => {
                let _ = tree::remove(attempts, name);
                Err(error)
            }
        }
    }
}

/// An attempt in flight. It becomes a run by [`super::Sweep::publish`], or stays where it is as evidence.
#[derive(Debug)]
pub struct AttemptDir {
    /// Directory of the sweep.
    sweep: PathBuf,
    name: String,
    dirs: AttemptDirs,
    log: File,
    /// The ring of `--max-log`.
    bounded: Option<Bounded>,
}

impl AttemptDir {
    /// Makes the directories under a name that must be free, with an empty log.
    pub(super) fn create(sweep: &Path, name: String, max_log: Option<u64>) -> io::Result<AttemptDir> {
        let attempts = &attempts(sweep)?;
        let dirs = AttemptDirs::make(attempts, &name)?;
        match dirs.own.new_file(LOG) {
            Ok(log) => Ok(AttemptDir {
                sweep: sweep.to_owned(),
                name,
                dirs,
                log,
                bounded: max_log.map(Bounded::new),
            }),
            Err(error) => {
                let _ = tree::remove(attempts, &name);
                Err(error)
            }
        }
    }

    /// Its name, unique among all hosts: `run007.<host>-<pid>-<n>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn dirs(&self) -> &AttemptDirs {
        &self.dirs
    }

    pub(super) fn own(&self) -> &RunDir {
        &self.dirs.own
    }

    /// Where the tool's own directory is, absolute.
    pub fn path(&self) -> &Path {
        self.dirs.own.path()
    }

    /// Appends to the log.
    pub fn write_log(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = match &mut self.bounded {
            Some(bounded) => bounded.write(&mut self.log, &self.dirs.own, bytes),
            None => self.log.write_all(bytes),
        };
        written.map_err(|cause| self.failed("write", LOG, cause))
    }

    /// Ends the log and returns how many bytes were cut out of its middle.
    pub fn end_log(&mut self) -> Result<u64, StoreError> {
        let Some(mut bounded) = self.bounded.take() else {
            return Ok(0);
        };
        bounded
            .end(&mut self.log)
            .map_err(|cause| self.failed("write", LOG, cause))
    }

    /// Writes down what was stopped, and when, a line for each window.
    pub fn write_windows(&self, windows: &[Window]) -> Result<(), StoreError> {
        let mut text = Vec::new();
        for window in windows {
            let line = serde_json::to_vec(window).map_err(|error| self.failed("write", STARVED, error.into()))?;
            text.extend(line);
            text.push(b'\n');
        }
        let written = self.dirs.own.replace(STARVED, &text);
        written.map_err(|cause| self.failed("write", STARVED, cause))
    }

    /// Length of the trail so far, in bytes.
    pub fn trail_bytes(&self) -> u64 {
        let trail = self.dirs.session.file(TRAIL).and_then(|file| file.metadata());
        trail.map_or(0, |found| found.len())
    }

    /// The files of the attempt, for judging, once its session has ended.
    pub fn files(&mut self) -> Result<Files, StoreError> {
        self.seal()?;
        Ok(Files::of(Arc::clone(&self.dirs.own)))
    }

    /// Ends the log, and moves what the session has left to beside it.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        self.end_log()?;
        self.restore()
            .map_err(|cause| StoreError::io("restore", self.path(), cause))?;
        let AttemptDirs { own, session } = &self.dirs;
        join(session, own);
        // A directory that tests removed and made again has another identity.
        if let Ok(again) = own.dir(SESSION)
            && again.identity() != session.identity()
        {
            join(&again, own);
        }
        Ok(())
    }

    /// Writes log and facts anew from the open files where a test has removed them: without a container a test can remove
    /// any file of the user's, as by cleaning up its workspace.
    fn restore(&mut self) -> io::Result<()> {
        if !self.dirs.own.is_in_place() {
            let attempts = attempts(&self.sweep)?;
            let mut number = 1;
            let dirs = loop {
                match AttemptDirs::make(&attempts, &format!("{}.restored-{number}", self.name)) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                    other => break other?,
                }
            };
            for entry in self.dirs.own.entries().unwrap_or_default() {
                if entry.name != SESSION {
                    let _ = self.dirs.own.rename(&entry.name, &dirs.own, &entry.name);
                }
            }
            join(&self.dirs.session, &dirs.session);
            self.dirs = dirs;
        }
        let own = &self.dirs.own;
        let held = Identity::from(&rustix::fs::fstat(&self.log)?);
        match own.stat(LOG) {
            Ok(there) if Identity::from(&there) == held => return Ok(()),
            Ok(_) => own.set_aside(LOG)?,
            Err(_) => {}
        }
        let mut log = own.new_file(LOG)?;
        self.log.seek(SeekFrom::Start(0))?;
        io::copy(&mut self.log, &mut log)?;
        self.log = log;
        Ok(())
    }

    /// Removes the session's directory, which is empty by now. A directory that cannot be removed is closed to others.
    pub(super) fn remove_session(&self) {
        let AttemptDirs { own, session } = &self.dirs;
        match own.kind(SESSION) {
            Some(Kind::Dir) if session.is_empty().unwrap_or(false) => {
                let _ = tree::remove(own, SESSION);
            }
            Some(Kind::Dir) | None => {}
            Some(_) => {
                let _ = own.remove_file(SESSION);
            }
        }
    }

    /// Makes what was printed and the trail survive a power cut, and opens the directory to those who may read runs.
    pub(super) fn sync(&self, mode: u32) -> Result<(), StoreError> {
        let own = self.own();
        let _ = self.dirs.session.set_mode(mode);
        own.set_mode(mode)
            .map_err(|cause| StoreError::io("restore", own.path(), cause))?;
        self.log.sync_all().map_err(|cause| self.failed("sync", LOG, cause))?;
        if let Ok(trail) = own.file(TRAIL) {
            let _ = trail.sync_all();
        }
        own.sync().map_err(|cause| StoreError::io("sync", own.path(), cause))
    }

    /// Removes what is kept of failures only: the log and the tests' files. A file that cannot be removed stays: that is no
    /// reason to lose the answer.
    pub(super) fn prune(&self, kept: &[&str]) {
        let own = self.own();
        for entry in own.entries().unwrap_or_default() {
            if kept.iter().all(|name| entry.name != *name) {
                let _ = tree::remove(own, &entry.name);
            }
        }
    }

    fn failed(&self, verb: &str, name: &str, cause: io::Error) -> StoreError {
        StoreError::io(verb, &self.path().join(name), cause)
    }
}

/// The directory of a sweep's attempts: closed to other users, since the directories below it that tests write to are open
/// to any user.
pub(super) fn attempts(sweep: &Path) -> io::Result<RunDir> {
    let attempts = RunDir::open(sweep)?.ensure_dir(ATTEMPTS, 0o700)?;
    if attempts.mode()? != 0o700 {
        attempts.set_mode(0o700)?;
    }
    Ok(attempts)
}

/// Moves the session's files into the tool's own directory, where the names win that the tool has given. What cannot be
/// moved stays.
fn join(session: &RunDir, own: &RunDir) {
    /// Names that are read before they are moved.
    const AT_ONCE: usize = 4096;
    if session.mode().is_ok_and(|mode| mode & 0o700 != 0o700) {
        let _ = session.set_mode(0o700);
    }
    loop {
        let mut moved = 0;
        for entry in session.some_entries(AT_ONCE).unwrap_or_default() {
            let is_taken = OURS.iter().any(|ours| entry.name == *ours) || own.kind(&entry.name).is_some();
            let is_moved = if is_taken {
                // The entry comes up again under its other name.
                session.set_aside(&entry.name)
            } else {
                session.rename(&entry.name, own, &entry.name)
            };
            moved += usize::from(is_moved.is_ok());
        }
        if moved == 0 {
            return;
        }
    }
}
