//! Directories that are needed for a while, outside of any sweep: a session's temporary directory, a gate's door. Their
//! maker holds a lock on each for as long as it uses it, so that the next start can tell those of makers that were
//! killed from those in use.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::claim::{Lock, lock_once};
use super::{RunDir, tree};

/// How old a directory is at least that nobody has locked: its maker locks it right after it was made.
const UNLOCKED: Duration = Duration::from_mins(1);

/// The mode by which such a directory is known, besides its name: nobody else makes one that is closed and sticky.
const MODE: u32 = 0o1700;

/// Letters that stand behind a prefix.
const LETTERS: usize = 6;

/// A directory of this process, removed when it is dropped, however deep it has become.
#[derive(Debug)]
pub struct Scratch {
    /// Open for as long as it is needed: the lock on it goes with it.
    dir: RunDir,
}

impl Scratch {
    /// Makes one that nobody else may enter: its name is the prefix and six letters.
    pub fn make(parent: &Path, prefix: &str) -> io::Result<Scratch> {
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .rand_bytes(LETTERS)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(parent)?;
        let dir = RunDir::open(made.path())?;
        // Some file systems have no locks; what is left there stays, since nobody can tell whether it is in use.
        let _ = lock_once(&opened(&dir)?);
        // The umask may have taken from it.
        dir.set_mode(MODE)?;
        let _ = made.keep();
        Ok(Scratch { dir })
    }

    /// The directory itself.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let (Some(parent), Some(name)) = (self.path().parent(), self.path().file_name()) {
            // What cannot be removed is tried again by the next start.
            let _ = RunDir::open(parent).and_then(|parent| tree::remove(&parent, name));
        }
    }
}

/// Directories below `parent` that killed processes of this user left: ours by name, owner and mode, older than a
/// minute, and locked by nobody. Links are none of them.
pub fn left_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let held = abandoned(parent, prefix);
    held.into_iter().map(|(name, _)| parent.join(name)).collect()
}

/// Removes them, and returns those that are gone.
pub fn remove_left_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(open) = RunDir::open(parent) else {
        return Vec::new();
    };
    let removed = abandoned(parent, prefix).into_iter().filter(|(name, _held)| {
        let _ = tree::remove(&open, name);
        open.kind(name).is_none()
    });
    removed.map(|(name, _)| parent.join(name)).collect()
}

/// Their names and, so that nobody takes one meanwhile, their locks.
fn abandoned(parent: &Path, prefix: &str) -> Vec<(String, File)> {
    let named = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let names = fs::read_dir(parent).into_iter().flatten().flatten().filter_map(named);
    let Ok(parent) = RunDir::open(parent) else {
        return Vec::new();
    };
    names
        .filter(|name| {
            let letters = name.strip_prefix(prefix).unwrap_or_default();
            letters.len() == LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        .filter_map(|name| {
            let dir = parent.dir(&name).ok()?;
            let held = opened(&dir).ok()?;
            is_abandoned(&held).then_some((name, held))
        })
        .collect()
}

/// The same opened directory once more: a lock on it is held until both are closed.
fn opened(dir: &RunDir) -> io::Result<File> {
    Ok(File::from(dir.as_fd().try_clone_to_owned()?))
}

fn is_abandoned(dir: &File) -> bool {
    let Ok(found) = dir.metadata() else { return false };
    let is_ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o7777 == MODE;
    let age = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
    let is_old = found.modified().is_ok_and(|time| age(time) >= UNLOCKED);
    is_ours && is_old && matches!(lock_once(dir), Ok(Lock::Taken))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn old(path: &Path) {
        let at = SystemTime::now() - 2 * UNLOCKED;
        File::open(path).unwrap().set_modified(at).unwrap();
    }

    /// A directory as a process leaves it that is killed.
    fn left(parent: &Path) -> PathBuf {
        let scratch = Scratch::make(parent, "rf-").unwrap();
        let path = scratch.path().to_owned();
        fs::create_dir_all(path.join("closed/below")).unwrap();
        fs::write(path.join("closed/file"), "").unwrap();
        fs::set_permissions(path.join("closed"), Permissions::from_mode(0o000)).unwrap();
        // As the kernel does it.
        fs2::FileExt::unlock(&opened(scratch.dir()).unwrap()).unwrap();
        std::mem::forget(scratch);
        old(&path);
        path
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_in_use_stays() {
        let place = tempfile::tempdir().unwrap();
        let in_use = Scratch::make(place.path(), "rf-").unwrap();
        old(in_use.path());
        let abandoned = left(place.path());
        assert_eq!(left_in(place.path(), "rf-"), std::slice::from_ref(&abandoned));
        assert_eq!(remove_left_in(place.path(), "rf-"), std::slice::from_ref(&abandoned));
        assert!(!abandoned.exists() && in_use.path().is_dir());
        let path = in_use.path().to_owned();
        drop(in_use);
        assert!(!path.exists());
    }

    #[test]
    fn nothing_is_removed_that_is_new_or_not_known_to_be_ours() {
        let place = tempfile::tempdir().unwrap();
        let new = left(place.path());
        File::open(&new).unwrap().set_modified(SystemTime::now()).unwrap();
        // Directories of other programs have a name of another form, or other permissions.
        for name in ["rf-abc", "rf-abcdefg", "rf-abc.ef", "xrf-abcdef"] {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(MODE)).unwrap();
            old(&path);
        }
        let plain = place.path().join("rf-plain1");
        fs::create_dir(&plain).unwrap();
        old(&plain);
        let elsewhere = tempfile::tempdir().unwrap();
        let target = left(elsewhere.path());
        symlink(&target, place.path().join("rf-linked")).unwrap();
        assert_eq!(remove_left_in(place.path(), "rf-"), Vec::<PathBuf>::new());
        assert!(target.is_dir());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 7);
    }
}
