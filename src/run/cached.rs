//! What can be found again and is kept in the user's cache, so that it need not be: what probes found, and what was read of
//! sweeps. Documents have names that follow from all that they depend on.
//!
//! Only documents of the caller's own are believed, in a directory that nobody else can enter; sessions whose workspace
//! holds the cache do not see it. A document that cannot be read or does not fit is no answer: it is made again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RunDir;

/// A kind of documents.
#[derive(Debug)]
pub struct Kind {
    /// Name of their directory. The number is that of their form.
    dir: &'static str,
    /// Size of the largest.
    most_bytes: u64,
    /// How many there may be; the oldest go first.
    most: usize,
}

/// What probes found.
pub const PROBES: Kind = Kind {
    dir: "probes-1",
    most_bytes: 4 << 20,
    most: 200,
};
/// What was read of sweeps, two documents of each.
pub(super) const INDEXES: Kind = Kind {
    dir: "indexes-2",
    most_bytes: 256 << 20,
    most: 40,
};

/// The documents of one kind.
#[derive(Debug)]
pub struct Cached {
    dir: RunDir,
    kind: &'static Kind,
}

impl Cached {
    /// Opens their directory below the tool's cache, and makes it if there is none; `None` where it is not the caller's
    /// alone.
    pub fn open(cache: &Path, kind: &'static Kind) -> Option<Cached> {
        let cache = RunDir::open(cache).ok()?;
        let dir = cache.ensure_dir(kind.dir, 0o700).ok()?;
        is_own(&cache, kind.dir, 0o700).then_some(Cached { dir, kind })
    }

    /// What a document says; `None` if there is none that can be believed.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&self.bytes(name)?).ok()
    }

    /// The bytes of a document; `None` if there is none that can be believed.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        if !is_own(&self.dir, name, 0o600) {
            return None;
        }
        self.dir.read(name, self.kind.most_bytes).ok()?
    }

    /// Keeps a document. Errors are ignored: without the document it is made again.
    pub fn write(&self, name: &str, document: &impl Serialize) {
        if let Ok(bytes) = serde_json::to_vec(document) {
            self.write_bytes(name, &bytes);
        }
    }

    /// Keeps a document's bytes.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) {
        if bytes.len() as u64 > self.kind.most_bytes {
            return;
        }
        let _ = self.dir.replace(name, bytes);
        let _ = self.dir.set_mode_of(name, 0o600);
        let mut kept = self.by_age();
        let surplus = kept.len().saturating_sub(self.kind.most);
        for (_, name) in kept.drain(..surplus) {
            let _ = self.dir.remove_file(&name);
        }
    }

    /// Names of the documents, the oldest first.
    fn by_age(&self) -> Vec<(i64, String)> {
        let entries = self.dir.entries().unwrap_or_default().into_iter();
        let named = entries.filter_map(|entry| entry.name.into_string().ok());
        let mut kept: Vec<(i64, String)> = named
            .filter_map(|name| Some((self.dir.stat(&name).ok()?.st_mtime, name)))
            .collect();
        kept.sort();
        kept
    }
}

/// The directories of such documents below the tool's cache.
pub fn cached_in(cache: &Path) -> Vec<PathBuf> {
    let dirs = [PROBES, INDEXES].map(|kind| cache.join(kind.dir));
    let is_there = |dir: &PathBuf| dir.symlink_metadata().is_ok_and(|found| found.is_dir());
    dirs.into_iter().filter(is_there).collect()
}

/// Removes all such documents below the tool's cache, and returns their directories.
pub fn forget_cached(cache: &Path) -> Vec<PathBuf> {
    let Ok(open) = RunDir::open(cache) else {
        return Vec::new();
    };
    let there = cached_in(cache).into_iter();
    let is_gone = |dir: &PathBuf| {
        dir.file_name()
            .is_some_and(|name| super::tree::remove(&open, name).is_ok())
    };
    there.filter(is_gone).collect()
}

/// Whether a file or directory belongs to the caller, who alone has rights on it.
fn is_own(dir: &RunDir, name: &str, mode: u32) -> bool {
    dir.stat(name)
        .is_ok_and(|found| found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o7777 == mode)
}

/// What a file or directory is without being read: the same as long as nobody has replaced it or written to it. Nobody
/// but the kernel sets the time of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    path: PathBuf,
    /// Device, inode, size, and the time of the last change in seconds and nanoseconds; `None` where nothing is.
    found: Option<[i64; 5]>,
}

impl Stamp {
    /// The stamps of a path and, of a directory, of each file in it that has Python look for modules elsewhere.
    pub fn of(path: &Path) -> Vec<Stamp> {
        let mut stamps = vec![Stamp::now(path.to_owned())];
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let leading = entries.map(|entry| entry.path()).filter(|path| {
            let ending = path.extension();
            ending.is_some_and(|ending| ["pth", "egg-link"].iter().any(|leads| ending == *leads))
        });
        let mut leading: Vec<PathBuf> = leading.collect();
        leading.sort();
        stamps.extend(leading.into_iter().map(Stamp::now));
        stamps
    }

    fn now(path: PathBuf) -> Stamp {
        let found = path.metadata().ok().map(|found| {
            let unsigned = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
            let [device, inode, size] = unsigned;
            [device, inode, size, found.ctime(), found.ctime_nsec()]
        });
        Stamp { path, found }
    }

    /// Whether nothing has happened to it.
    pub fn holds(&self) -> bool {
        Stamp::now(self.path.clone()).found == self.found
    }

    /// Whether it has last changed before a moment, in seconds since 1970.
    pub fn is_older_than(&self, seconds: i64) -> bool {
        self.found.is_none_or(|[_, _, _, changed, _]| changed < seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_document_of_the_callers_own_is_believed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let cache = tempfile::tempdir().unwrap();
        let probes = Cached::open(cache.path(), &PROBES).unwrap();
        assert_eq!(probes.read::<u32>("a"), None);
        probes.write("a", &7);
        assert_eq!(probes.read::<u32>("a"), Some(7));
        let dir = cache.path().join(PROBES.dir);
        assert_eq!(cached_in(cache.path()), std::slice::from_ref(&dir));
        // An entry that somebody else can write to, a link, and an entry of another form are not read.
        fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(probes.read::<u32>("a"), None);
        probes.write("a", &7);
        symlink(dir.join("a"), dir.join("b")).unwrap();
        assert_eq!(probes.read::<u32>("b"), None);
        probes.write("c", &"x");
        assert_eq!(probes.read::<u32>("c"), None);
        // A directory that others can enter.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cached::open(cache.path(), &PROBES).is_none());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(forget_cached(cache.path()), [dir]);
        assert_eq!(cached_in(cache.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let cache = tempfile::tempdir().unwrap();
        let indexes = Cached::open(cache.path(), &INDEXES).unwrap();
        for number in 0..INDEXES.most + 3 {
            indexes.write(&format!("{number}"), &number);
        }
        assert_eq!(indexes.by_age().len(), INDEXES.most);
    }

    #[test]
    fn a_stamp_notices_what_is_written_replaced_added_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("python3"), dir.path().join("x.pth"));
        fs::write(&file, "1").unwrap();
        fs::write(&link, "/a\n").unwrap();
        let all = || [Stamp::of(&file), Stamp::of(dir.path())].concat();
        let holds = |stamps: &[Stamp]| stamps.iter().all(Stamp::holds);
        let before = all();
        assert!(before.len() == 3 && holds(&before));
        // The new text has another length, since the clock that stamps files may have a grain of some milliseconds.
        fs::write(&file, "22").unwrap();
        assert!(!holds(&before));
        let before = all();
        fs::write(&link, "/bcd\n").unwrap();
        assert!(!holds(&before));
        let before = all();
        fs::remove_file(&link).unwrap();
        assert!(!holds(&before));
    }
}
