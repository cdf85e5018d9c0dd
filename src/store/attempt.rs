//! The directory of one attempt: what the session prints, and beside it what its tests write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::bounded::Bounded;
use super::files::{RunDir, run_files};
use super::layout::{LOG, TRAIL};
use super::{StoreError, durable};

/// An attempt in flight. It becomes a run by [`super::Sweep::publish`], or stays where it is as evidence.
#[derive(Debug)]
pub struct AttemptDir {
    path: PathBuf,
    name: String,
    log: File,
    /// Only with `--max-log`.
    bounded: Option<Bounded>,
}

impl AttemptDir {
    /// Makes a directory of this name, which must be free, with an empty log in it.
    pub(super) fn create(attempts: &Path, name: String, max_log: Option<u64>) -> io::Result<AttemptDir> {
        let path = attempts.join(&name);
        fs::create_dir(&path)?;
        // Tests run as whoever the image says, and write here.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        let log = create_log(&path)?;
        Ok(AttemptDir {
            path,
            name,
            log,
            bounded: max_log.map(Bounded::new),
        })
    }

    /// Its name, unique among all hosts: `run007.<host>-<pid>-<n>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends to the log.
    pub fn write_log(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = match &mut self.bounded {
            Some(bounded) => bounded.write(&mut self.log, &self.path, bytes),
            None => self.log.write_all(bytes),
        };
        written.map_err(|cause| StoreError::io("write", &self.path.join(LOG), cause))
    }

    /// Nothing more will be appended. Returns how many bytes were cut out of the middle.
    pub fn end_log(&mut self) -> Result<u64, StoreError> {
        let Some(mut bounded) = self.bounded.take() else {
            return Ok(0);
        };
        bounded
            .end(&mut self.log)
            .map_err(|cause| StoreError::io("write", &self.path.join(LOG), cause))
    }

    /// Length of the trail so far, in bytes.
    #[must_use]
    pub fn trail_bytes(&self) -> u64 {
        fs::metadata(self.path.join(TRAIL)).map_or(0, |found| found.len())
    }

    /// The files of the attempt, for judging: the log is the one we wrote, whatever the tests did to its name.
    pub fn files(&mut self) -> Result<RunDir, StoreError> {
        self.seal()?;
        run_files(&self.path)
    }

    /// Undoes what tests may have done to the directory and to the log under our hands.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        self.end_log()?;
        let failed = |path: &Path, cause| StoreError::io("restore", path, cause);
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                let mode = found.permissions().mode();
                if mode & 0o700 != 0o700 {
                    fs::set_permissions(&self.path, fs::Permissions::from_mode(mode | 0o700))
                        .map_err(|cause| failed(&self.path, cause))?;
                }
            }
            Ok(_) => {
                durable::set_aside(&self.path)?;
                fs::create_dir(&self.path).map_err(|cause| failed(&self.path, cause))?;
            }
            Err(_) => fs::create_dir(&self.path).map_err(|cause| failed(&self.path, cause))?,
        }
        let path = self.path.join(LOG);
        let ours = self.log.metadata().map_err(|cause| failed(&path, cause))?;
        match fs::symlink_metadata(&path) {
            Ok(there) if durable::identity(&there) == durable::identity(&ours) => return Ok(()),
            Ok(_) => durable::set_aside(&path)?,
            Err(_) => {}
        }
        self.log = self.copy_of_log().map_err(|cause| failed(&path, cause))?;
        Ok(())
    }

    /// Writes the log anew from the file we hold, which has all of it even without a name.
    fn copy_of_log(&self) -> io::Result<File> {
        let mut copy = create_log(&self.path)?;
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        loop {
            match self.log.read_at(&mut buffer, at)? {
                0 => return Ok(copy),
                read => {
                    copy.write_all(&buffer[..read])?;
                    at += read as u64;
                }
            }
        }
    }

    /// Makes what was printed and the trail survive a power cut, and takes the directory back from the tests.
    pub(super) fn sync(&self, mode: u32) -> Result<(), StoreError> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
            .map_err(|cause| StoreError::io("restore", &self.path, cause))?;
        self.log
            .sync_all()
            .map_err(|cause| StoreError::io("sync", &self.path.join(LOG), cause))?;
        if let Ok(trail) = durable::open_regular(&self.path.join(TRAIL)) {
            let _ = trail.sync_all();
        }
        durable::sync_dir(&self.path)
    }

    /// Removes all that is kept of failures only: the log and whatever the tests wrote.
    pub(super) fn prune(&self, kept: &[&str]) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.path).map_err(|cause| StoreError::io("read", &self.path, cause))?;
        for entry in entries.flatten() {
            if kept.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|cause| StoreError::io("remove", &path, cause))?;
        }
        Ok(())
    }
}

/// Makes the log; a name that is taken is an error, since nothing can be there yet.
fn create_log(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .custom_flags(durable::careful())
        .open(dir.join(LOG))
}
