//! An attempt in flight: its directory below `.attempts`, and its log.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{CONSOLE, StoreError, run_name};

/// Attempts that this process has begun; part of their names.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// The directory of one attempt, written by this process only and never used again.
#[derive(Debug)]
pub struct AttemptDir {
    path: PathBuf,
    name: String,
    log: File,
}

impl AttemptDir {
    /// Makes a directory of a name that no process on any host has.
    pub(super) fn create(attempts: &Path, iteration: u32) -> Result<AttemptDir, StoreError> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        loop {
            let number = BEGUN.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}.{host}-{}-{number}", run_name(iteration), std::process::id());
            let path = attempts.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {}
                // Left by a process of the same number that is long gone.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(cause) => return Err(StoreError::io("create", &path, cause)),
            }
            let log_path = path.join(CONSOLE);
            let log = OpenOptions::new()
                .append(true)
                .create_new(true)
                .mode(0o644)
                .open(&log_path)
                .map_err(|cause| StoreError::io("create", &log_path, cause))?;
            return Ok(AttemptDir { path, name, log });
        }
    }

    /// Name of the attempt, unique among all hosts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends to the session's log.
    ///
    /// # Errors
    /// No space, or the disk is gone.
    pub fn write_log(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.log.write_all(bytes).map_err(|cause| StoreError::io("write", &self.path.join(CONSOLE), cause))
    }

    /// Makes the log survive a power cut, and puts it back if a test removed or replaced it.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        let path = self.path.join(CONSOLE);
        self.log.sync_all().map_err(|cause| StoreError::io("sync", &path, cause))?;
        let ours = rustix::fs::fstat(&self.log).map_err(|cause| StoreError::io("look at", &path, cause.into()))?;
        let there = rustix::fs::lstat(&path);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)) {
            return Ok(());
        }
        let mut copy = Vec::new();
        let open = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.log));
        if let Ok(bytes) = fs::read(open) {
            copy = bytes;
        }
        super::write::replace(&self.path, CONSOLE, &copy)
    }
}
