//! Who runs which iteration: one lock file for each in flight, let go by the kernel when its process dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::beneath::CAREFUL;
use super::layout::{CLAIMS, LOCK};
use super::{Identity, StoreError};

/// How long the lock of the shared files is waited for; it is held for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an attempt to claim an iteration came out.
#[derive(Debug)]
pub enum Claimed {
    /// This process has the iteration until the claim is dropped.
    Ours(Claim),
    /// The iteration has an answer already.
    Recorded,
    /// Another process is running the iteration.
    ByAnother,
}

/// The right to run one iteration, given up when the value is dropped.
#[derive(Debug)]
pub struct Claim {
    pub(super) iteration: u32,
    /// `None` where the file system has no locks: then two processes may do the same work, and one of them publishes.
    held: Option<(File, PathBuf)>,
}

impl Claim {
    /// The right to run an iteration that another process has claimed, beside it.
    pub(super) fn unheld(iteration: u32) -> Claim {
        Claim { iteration, held: None }
    }

    pub fn iteration(&self) -> u32 {
        self.iteration
    }

    /// Writes down who runs the iteration. Errors are ignored: only `status` reads this file.
    pub(super) fn describe(&self, note: &ClaimNote) {
        let Some((file, _)) = &self.held else { return };
        let mut file = file;
        if let Ok(text) = serde_json::to_vec(note) {
            let _ = file
                .set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| file.write_all(&text));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Removed while the lock is held: a process that opened the file before sees, once it has the lock, that the name
        // is gone.
        if let Some((_, path)) = &self.held {
            let _ = fs::remove_file(path);
        }
    }
}

/// What a lock file says about its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimNote {
    /// Machine of the process.
    pub host: String,
    pub pid: u32,
    pub attempt: String,
    pub since: DateTime<Utc>,
    /// Whether the attempt only stands by: made ready, and waiting for its turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_by: bool,
}

/// Takes the claim's lock, or says that somebody else has it.
pub(super) fn take(sweep: &Path, iteration: u32) -> Result<Option<Claim>, StoreError> {
    let claims = sweep.join(CLAIMS);
    let path = claims.join(format!("{iteration:03}.lock"));
    loop {
        let file = match open_lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&claims).map_err(|cause| StoreError::io("create", &claims, cause))?;
                open_lock(&path)
            }
            other => other,
        };
        let file = file.map_err(|cause| StoreError::io("open", &path, cause))?;
        match try_lock(&file) {
            Ok(Lock::Taken | Lock::Gone) => {}
            Ok(Lock::Busy) => return Ok(None),
            Ok(Lock::Unsupported) => return Ok(Some(Claim { iteration, held: None })),
            Err(cause) => return Err(StoreError::io("lock", &path, cause)),
        }
        if is_named(&file, &path) {
            return Ok(Some(Claim {
                iteration,
                held: Some((file, path)),
            }));
        }
    }
}

pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(CAREFUL.bits().cast_signed())
        .open(path)
}

/// Whether the name still belongs to the file we opened: its last holder removes it.
fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => Identity::of(&ours) == Identity::of(&there),
        (_, _) => false,
    }
}

/// How an attempt to lock came out.
pub(super) enum Lock {
    Taken,
    Busy,
    /// The file was removed on another machine, whose last holder has let go of it.
    Gone,
    Unsupported,
}

/// Tries for a few milliseconds: `status` takes a lock for an instant to find out whether it is held.
fn try_lock(file: &File) -> io::Result<Lock> {
    for _ in 0..4 {
        match lock_once(file)? {
            Lock::Busy => std::thread::sleep(Duration::from_millis(1)),
            other => return Ok(other),
        }
    }
    lock_once(file)
}

pub(super) fn lock_once(file: &File) -> io::Result<Lock> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(Lock::Taken),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(Lock::Busy),
        Err(error) if is_unsupported(&error) => Ok(Lock::Unsupported),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Lock::Busy),
        Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Ok(Lock::Gone),
        Err(error) => Err(error),
    }
}

/// Whether a process holds a lock. To find out, the lock is taken shared for an instant, so that two lookers do not take
/// each other for holders.
pub(super) fn is_held(file: &File) -> bool {
    match fs2::FileExt::try_lock_shared(file) {
        Ok(()) => {
            let _ = fs2::FileExt::unlock(file);
            false
        }
        Err(error) => error.raw_os_error() == fs2::lock_contended_error().raw_os_error(),
    }
}

/// Whether this is a file system's way of saying that it has no locks.
fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let unsupported = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS];
    unsupported
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The lock that is held while a shared file of the sweep changes.
pub(super) struct SharedLock {
    /// `None` where the file system has no locks.
    held: Option<File>,
}

impl SharedLock {
    /// Takes the lock, waiting for other processes.
    pub(super) fn take(sweep: &Path) -> Result<SharedLock, StoreError> {
        let path = sweep.join(LOCK);
        let until = Instant::now() + PATIENCE;
        loop {
            let file = open_lock(&path).map_err(|cause| StoreError::io("open", &path, cause))?;
            match lock_once(&file) {
                Ok(Lock::Taken) if is_named(&file, &path) => return Ok(SharedLock { held: Some(file) }),
                Ok(Lock::Taken) => {}
                Ok(Lock::Unsupported) => return Ok(SharedLock { held: None }),
                Ok(Lock::Busy | Lock::Gone) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                Ok(Lock::Busy | Lock::Gone) => {
                    let seconds = PATIENCE.as_secs();
                    return Err(StoreError::Locked { path, seconds });
                }
                Err(cause) => return Err(StoreError::io("lock", &path, cause)),
            }
        }
    }

    /// No lock at all.
    pub(super) fn none() -> SharedLock {
        SharedLock { held: None }
    }

    /// Whether the lock keeps other processes out.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}
