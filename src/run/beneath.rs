//! Names opened below a directory: beneath it, following no link, a file only once it is known to be a regular one.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::entry::Entry;

/// How directories are opened.
pub(super) const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a directory is opened for looking up names in it.
#[cfg(target_os = "linux")]
pub(super) const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const PLACE: OFlags = DIR;
/// For opening what others may have put there: links are not followed, a pipe or a device does not block.
pub(super) const CAREFUL: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens something below a directory: beneath it, and following no link.
pub(super) fn beneath(dir: BorrowedFd<'_>, below: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(dir, below, flags, mode, resolve) {
            // Kernels before 5.6, and engines that keep what runs in them from calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => {}
            other => return Ok(other?),
        }
    }
    step_by_step(dir, below, flags, mode)
}

pub(super) fn step_by_step(dir: BorrowedFd<'_>, below: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let mut held: Option<OwnedFd> = None;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let at = held.as_ref().map_or(dir, AsFd::as_fd);
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV.into()),
        };
        if parts.peek().is_none() {
            return Ok(rustix::fs::openat(at, name, flags, mode)?);
        }
        held = Some(rustix::fs::openat(at, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Opens a regular file below a directory. The kind of file is checked before it is opened: to open a pipe may block.
#[cfg(target_os = "linux")]
pub(super) fn regular(dir: BorrowedFd<'_>, below: &Path, flags: OFlags) -> io::Result<File> {
    let found = beneath(dir, below, OFlags::PATH, Mode::empty())?;
    let held = format!("/proc/self/fd/{}", found.as_raw_fd());
    let opened = is_regular(&found).and_then(|()| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(held, flags, Mode::empty())?)
    });
    let opened = match opened {
        // Without /proc, and where another machine has replaced the file, it is opened again by its name.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::STALE)) => {
            let file = beneath(dir, below, flags | CAREFUL, Mode::empty())?;
            is_regular(&file)?;
            file
        }
        other => other?,
    };
    Ok(opened.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn regular(dir: BorrowedFd<'_>, below: &Path, flags: OFlags) -> io::Result<File> {
    let file = beneath(dir, below, flags | CAREFUL, Mode::empty())?;
    is_regular(&file)?;
    Ok(file.into())
}

/// Changes the permissions of a regular file, whatever else its name may become meanwhile.
#[cfg(target_os = "linux")]
pub(super) fn set_mode(dir: BorrowedFd<'_>, below: &Path, mode: u32) -> io::Result<()> {
    let found = beneath(dir, below, OFlags::PATH, Mode::empty())?;
    is_regular(&found)?;
    let held = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(rustix::fs::chmod(held, Mode::from_raw_mode(mode))?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn set_mode(dir: BorrowedFd<'_>, below: &Path, mode: u32) -> io::Result<()> {
    let file = regular(dir, below, OFlags::RDONLY)?;
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

pub(super) fn is_regular(file: impl AsFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    match kind {
        FileType::RegularFile => Ok(()),
        FileType::Symlink => Err(Errno::LOOP.into()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// A name that leads to nothing but an entry of the directory itself.
pub(super) fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || is_dots(bytes) || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    }
    Ok(name)
}

pub(super) fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

pub(super) fn entries(dir: BorrowedFd<'_>, most: usize) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        if found.len() >= most {
            break;
        }
        let entry = entry?;
        if is_dots(entry.file_name().to_bytes()) {
            continue;
        }
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        let kind = match entry.file_type() {
            // Some file systems do not say what an entry is.
            FileType::Unknown => match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        found.push(Entry {
            name,
            kind: kind.into(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
