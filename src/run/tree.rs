//! Trees below a directory: one walk, one copy, one comparison, one removal. None of them follows a link, and none of them needs more
//! memory or open files for a tree that is deep.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::beneath::{beneath, entries, regular, set_mode};
use super::dir::{self, RunDir};
use super::entry::{Entry, Identity, Kind};

/// One directory of a tree that is walked.
pub struct Level<'a> {
    fd: BorrowedFd<'a>,
    /// Path below the directory where the walk began; empty for that directory.
    pub path: &'a Path,
    /// How many directories of the tree are above this one.
    pub depth: usize,
    /// The entries, in the order of names. Directories that are taken out of the list are not entered.
    pub entries: Vec<Entry>,
}

impl Level<'_> {
    /// Opens a regular file of this directory.
    pub fn file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        regular(self.fd, Path::new(name.as_ref()), OFlags::RDONLY)
    }

    /// Mode, owner, length and times of an entry; a link's are its own.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(rustix::fs::statat(self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Where a link leads to.
    pub fn link(&self, name: impl AsRef<OsStr>) -> io::Result<OsString> {
        use std::os::unix::ffi::OsStringExt;
        let target = rustix::fs::readlinkat(self.fd, name.as_ref(), Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// When a name was last added to or removed from this directory.
    pub fn changed_at(&self) -> io::Result<SystemTime> {
        let found = rustix::fs::fstat(self.fd)?;
        Ok(moment(found.st_mtime, found.st_mtime_nsec))
    }

    /// When an entry was made, or, where the file system does not say, changed for the last time.
    pub fn made_at(&self, name: impl AsRef<OsStr>) -> io::Result<SystemTime> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{StatxFlags, statx};
            let found = statx(self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME);
            if let Ok(found) = found
                && StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME)
            {
                return Ok(moment(found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
            }
        }
        Ok(moment(self.stat(name)?.st_ctime + 1, 0))
    }

    /// Gives an entry, and no link's target, to a user and a group.
    pub fn give_to(&self, name: impl AsRef<OsStr>, uid: u32, gid: u32) -> io::Result<()> {
        use rustix::fs::{Gid, Uid};
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(rustix::fs::chownat(
            self.fd,
            name.as_ref(),
            uid,
            gid,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Changes the permissions of a regular file.
    pub fn set_mode(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<()> {
        set_mode(self.fd, Path::new(name.as_ref()), mode)
    }
}

fn moment(seconds: i64, nanoseconds: impl TryInto<u32>) -> SystemTime {
    let since = Duration::new(
        u64::try_from(seconds).unwrap_or(0),
        nanoseconds.try_into().unwrap_or(0).min(999_999_999),
    );
    SystemTime::UNIX_EPOCH + since
}

/// A directory that is being walked, and its directories that have not been entered yet.
struct Open {
    identity: Identity,
    left: std::vec::IntoIter<OsString>,
}

/// Shows every directory of a tree, parents first, down to `deepest` below the first. Directories below it that cannot
/// be read are passed over.
///
/// # Errors
/// The first directory cannot be read, the tree is moved about while it is walked, or `look` says no.
pub fn walk(dir: &RunDir, deepest: usize, mut look: impl FnMut(&mut Level<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut path = PathBuf::new();
    let mut at = rustix::fs::openat(dir, ".", LISTED, Mode::empty())?;
    let mut open = vec![enter(&at, &path, 0, deepest, &mut look)?];
    while let Some(here) = open.last_mut() {
        let Some(name) = here.left.next() else {
            open.pop();
            if let Some(above) = open.last() {
                path.pop();
                at = rustix::fs::openat(&at, "..", LISTED, Mode::empty())?;
                if Identity::from(&rustix::fs::fstat(&at)?) != above.identity {
                    return Err(io::Error::other("a directory was moved away while it was read"));
                }
            }
            continue;
        };
        let Ok(below) = beneath(at.as_fd(), Path::new(&name), LISTED, Mode::empty()) else {
            continue;
        };
        path.push(&name);
        match enter(&below, &path, open.len(), deepest, &mut look) {
            Ok(entered) => {
                open.push(entered);
                at = below;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                path.pop();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How a directory is opened whose names are read.
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn enter(
    at: &OwnedFd,
    path: &Path,
    depth: usize,
    deepest: usize,
    look: &mut impl FnMut(&mut Level<'_>) -> io::Result<()>,
) -> io::Result<Open> {
    let mut level = Level {
        fd: at.as_fd(),
        path,
        depth,
        entries: entries(at.as_fd(), usize::MAX)?,
    };
    look(&mut level)?;
    let dirs = level
        .entries
        .into_iter()
        .filter(|entry| entry.kind == Kind::Dir && depth < deepest);
    let left: Vec<OsString> = dirs.map(|entry| entry.name).collect();
    Ok(Open {
        identity: Identity::from(&rustix::fs::fstat(at)?),
        left: left.into_iter(),
    })
}

/// Removes an entry of a directory and everything below it; nothing to do where there is none.
pub fn remove(dir: &RunDir, name: impl AsRef<OsStr>) -> io::Result<()> {
    let name = name.as_ref();
    match dir.kind(name) {
        None => Ok(()),
        Some(Kind::Dir) => remove_dir(dir, name),
        Some(_) => dir.remove_file(name),
    }
}

/// Removes a tree level by level: the directories of a directory are moved up beside it before it is removed, so that a
/// tree of twenty thousand levels takes no more memory or stack than one of two.
fn remove_dir(dir: &RunDir, name: &OsStr) -> io::Result<()> {
    /// Names that are read before some of them are removed.
    const AT_ONCE: usize = 4096;
    let mut next = 0_u32;
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        match rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let below = dir.dir(&name)?;
        if below.mode()? & 0o700 != 0o700 {
            let _ = below.set_mode(0o700);
        }
        for entry in below.some_entries(AT_ONCE)? {
            if entry.kind != Kind::Dir {
                below.remove_file(&entry.name)?;
                continue;
            }
            match rustix::fs::unlinkat(&below, &entry.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let moved = loop {
                let free = OsString::from(format!(".removed-{}-{next}", std::process::id()));
                next += 1;
                match dir::rename_to_free(&below, entry.name.as_os_str(), dir, free.as_os_str()) {
                    Ok(()) => break free,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            };
            left.push(moved);
        }
        left.push(name);
    }
    Ok(())
}

/// Copies files, directories and links as they are, into a directory that is there; pipes, sockets and devices are left
/// out, and so are the bits by which a program runs as its owner. `is_wanted` is asked for each path below `from`.
pub fn copy(from: &RunDir, to: &RunDir, is_wanted: impl Fn(&Path) -> bool) -> io::Result<()> {
    let mut modes: Vec<(PathBuf, u32)> = Vec::new();
    walk(from, usize::MAX, |level| {
        let target = if level.path.as_os_str().is_empty() {
            to.dir(".")?
        } else {
            to.dir(level.path)?
        };
        level.entries.retain(|entry| is_wanted(&level.path.join(&entry.name)));
        for entry in &level.entries {
            let name = &entry.name;
            match entry.kind {
                Kind::Dir => {
                    let mode = level.stat(name)?.st_mode & 0o1777;
                    target.make_dir(name, 0o700)?;
                    modes.push((level.path.join(name), mode));
                }
                Kind::Link => rustix::fs::symlinkat(level.link(name)?, &target, name)?,
                Kind::File => {
                    let mut source = level.file(name)?;
                    let mut copy = target.new_file(name)?;
                    io::copy(&mut source, &mut copy)?;
                    let mode = rustix::fs::fstat(&source)?.st_mode & 0o1777;
                    rustix::fs::fchmod(&copy, Mode::from_raw_mode(mode))?;
                }
                Kind::Other => {}
            }
        }
        Ok(())
    })?;
    // Last, since nothing can be put into a directory without write permission.
    for (path, mode) in modes.into_iter().rev() {
        to.dir(&path)?.set_mode(mode)?;
    }
    Ok(())
}

/// Makes a tree survive a power cut.
pub fn sync(dir: &RunDir) -> io::Result<()> {
    walk(dir, usize::MAX, |level| {
        for entry in level.entries.iter().filter(|entry| entry.kind == Kind::File) {
            level.file(&entry.name)?.sync_all()?;
        }
        match rustix::fs::fsync(level.fd) {
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// Whether two trees hold the same directories, and in them the same files with the same bytes, but for names that do not
/// count. A tree with a link, a pipe or a directory that cannot be listed is the same as none.
pub fn is_same(one: &RunDir, other: &RunDir, is_counted: impl Fn(&OsStr) -> bool) -> io::Result<bool> {
    let (mut is_same, mut unlisted) = (true, 1_usize);
    let walked = walk(one, usize::MAX, |level| {
        level.entries.retain(|entry| is_counted(&entry.name));
        unlisted += level.entries.iter().filter(|entry| entry.kind == Kind::Dir).count();
        unlisted -= 1;
        is_same = is_same_level(level, other, &is_counted).unwrap_or(false);
        if is_same {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    });
    if is_same {
        walked?;
    }
    Ok(is_same && unlisted == 0)
}

fn is_same_level(level: &Level<'_>, other: &RunDir, is_counted: impl Fn(&OsStr) -> bool) -> io::Result<bool> {
    let other = if level.depth == 0 {
        other.dir(".")?
    } else {
        other.dir(level.path)?
    };
    let mut theirs = other.entries()?;
    theirs.retain(|entry| is_counted(&entry.name));
    if level.entries != theirs {
        return Ok(false);
    }
    for Entry { name, kind } in &theirs {
        let is_same = match kind {
            Kind::Dir => true,
            Kind::File => is_same_file(level.file(name)?, other.file(name)?)?,
            Kind::Link | Kind::Other => false,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_same_file(one: File, other: File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (io::BufReader::new(one), io::BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let n = left.len().min(right.len());
        if n == 0 || left[..n] != right[..n] {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(n);
        other.consume(n);
    }
}

#[cfg(test)]
mod tests;
