//! A directory held by its descriptor. Nothing below it is reached by joining a path.
//!
//! A test may be root in its container and owns the directory that it writes to for as long as its session lives: every
//! name there may become a link, a pipe, a device or a directory at any moment. So names are opened relative to the
//! descriptor, beneath it, without following links, and a file only once it is known to be a regular one: to open a
//! pipe may block for ever, and to open a device may do anything.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::beneath::{CAREFUL, DIR, PLACE, beneath, entries, is_dots, is_regular, plain, regular};
use super::entry::{Entry, Identity, Kind};

/// Largest document of the tool's own that is read; a larger one is somebody else's.
pub const LARGEST: u64 = 64 << 20;

/// A directory of a run, of an attempt or of a sweep.
#[derive(Debug)]
pub struct RunDir {
    fd: OwnedFd,
    path: PathBuf,
    identity: Identity,
}

impl RunDir {
    /// Opens a directory by a path that nobody but the user and the tool decides on: links in it are followed.
    pub fn open(path: &Path) -> io::Result<RunDir> {
        let fd = rustix::fs::open(path, DIR, Mode::empty())?;
        RunDir::of(fd, path.to_owned())
    }

    fn of(fd: OwnedFd, path: PathBuf) -> io::Result<RunDir> {
        let identity = Identity::from(&rustix::fs::fstat(&fd)?);
        Ok(RunDir { fd, path, identity })
    }

    /// The path it was opened by: for messages, and for programs that can only be given a path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the path still leads to this directory.
    pub fn is_in_place(&self) -> bool {
        rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|there| Identity::from(&there) == self.identity)
    }

    pub fn dir(&self, below: impl AsRef<Path>) -> io::Result<RunDir> {
        let below = below.as_ref();
        RunDir::of(
            beneath(self.fd.as_fd(), below, DIR, Mode::empty())?,
            self.path.join(below),
        )
    }

    /// Makes a directory whose name must be free.
    pub fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<RunDir> {
        let name = plain(name.as_ref())?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode & 0o700))?;
        let made = self.dir(name)?;
        // The umask has taken bits away.
        made.set_mode(mode)?;
        Ok(made)
    }

    /// The directory of this name, made if there is none.
    pub fn ensure_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<RunDir> {
        match self.make_dir(name.as_ref(), mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.dir(plain(name.as_ref())?),
            other => other,
        }
    }

    pub fn file(&self, below: impl AsRef<Path>) -> io::Result<File> {
        regular(self.fd.as_fd(), below.as_ref(), OFlags::RDONLY)
    }

    /// Opens a regular file for reading and writing, such as a lock's; makes it if there is none.
    pub fn lock_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = plain(name.as_ref())?;
        let flags = OFlags::RDWR | OFlags::CREATE | CAREFUL;
        let file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))?);
        is_regular(&file)?;
        Ok(file)
    }

    /// Reads a small file whole; `None` where there is none.
    ///
    /// # Errors
    /// What is there is no regular file, cannot be read, or has more than `most` bytes.
    pub fn read(&self, below: impl AsRef<Path>, most: u64) -> io::Result<Option<Vec<u8>>> {
        match self.read_once(below.as_ref(), most) {
            // Another machine replaced the file while it was read.
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => self.read_once(below.as_ref(), most),
            other => other,
        }
    }

    fn read_once(&self, below: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // With a byte to spare, one read takes all and the next one finds the end.
        let room = file.metadata()?.len().min(most) + 1;
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than any file of this kind",
            ));
        }
        Ok(Some(bytes))
    }

    /// The last bytes of a file, and its length.
    pub fn tail(&self, below: impl AsRef<Path>, most: u64) -> io::Result<(Vec<u8>, u64)> {
        tail(&mut self.file(below)?, most)
    }

    /// Makes a file whose name must be free, to be written to and read back.
    pub fn new_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | CAREFUL;
        let name = plain(name.as_ref())?;
        Ok(rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Makes a link to any path, under a name that must be free.
    pub fn link(&self, target: &Path, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, plain(name.as_ref())?)?)
    }

    /// A file without a name, gone when it is closed.
    pub fn unnamed_file(&self) -> io::Result<File> {
        let (_removed, file) = self.temporary(&[])?;
        Ok(file)
    }

    /// Puts a whole file in place, replacing what is there, even a link; readers see all of it or what was there before.
    /// A directory of that name, which only a test can have made, is set aside.
    pub fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        let (unnamed, file) = self.temporary(bytes)?;
        file.sync_all()?;
        let mut moved = rustix::fs::renameat(&self.fd, unnamed.name(), &self.fd, name);
        if moved == Err(Errno::ISDIR) {
            self.set_aside(name)?;
            moved = rustix::fs::renameat(&self.fd, unnamed.name(), &self.fd, name);
        }
        if moved.is_err() && !self.is_named(&file, name) {
            moved?;
        }
        unnamed.keep();
        Ok(())
    }

    /// Puts a whole file in place unless something is there already; says whether it did.
    pub fn create(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<bool> {
        let name = plain(name.as_ref())?;
        let (unnamed, file) = self.temporary(bytes)?;
        file.sync_all()?;
        match rename_to_free(&self.fd, unnamed.name(), &self.fd, name) {
            Err(_) if self.is_named(&file, name) => {}
            Err(Errno::EXIST) => return Ok(false),
            other => other?,
        }
        unnamed.keep();
        Ok(true)
    }

    /// Whether a file has a name here: a network file system may answer a rename that was sent twice with an error
    /// although the first one was done.
    fn is_named(&self, file: &File, name: &OsStr) -> bool {
        let there = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| {
            rustix::fs::fstat(file).is_ok_and(|file| Identity::from(&file) == Identity::from(&there))
        })
    }

    fn temporary(&self, bytes: &[u8]) -> io::Result<(Temporary<'_>, File)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".new-{}-{number}", std::process::id());
            match self.new_file(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(mut file) => {
                    let unnamed = Temporary { dir: self, name };
                    file.write_all(bytes)?;
                    return Ok((unnamed, file));
                }
            }
        }
    }

    /// Appends lines in one write, so that lines of several processes do not mix.
    pub fn append(&self, name: impl AsRef<OsStr>, lines: &[u8]) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | CAREFUL;
        let mut file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))?);
        is_regular(&file)?;
        file.write_all(lines)
    }

    /// What stands under a name; `None` for nothing.
    pub fn kind(&self, below: impl AsRef<Path>) -> Option<Kind> {
        let stat = self.stat(below).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode).into())
    }

    /// Mode, owner, length and times of what stands under a name; a link's are its own.
    pub fn stat(&self, below: impl AsRef<Path>) -> io::Result<Stat> {
        let below = below.as_ref();
        let (parent, name) = (below.parent().unwrap_or(Path::new("")), below.file_name());
        let name = plain(name.unwrap_or_default())?;
        Ok(if parent.as_os_str().is_empty() {
            rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?
        } else {
            let parent = beneath(self.fd.as_fd(), parent, PLACE, Mode::empty())?;
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?
        })
    }

    /// The entries, in the order of names.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        entries(self.fd.as_fd(), usize::MAX)
    }

    /// At most `most` of the entries.
    pub fn some_entries(&self, most: usize) -> io::Result<Vec<Entry>> {
        entries(self.fd.as_fd(), most)
    }

    pub fn is_empty(&self) -> io::Result<bool> {
        let mut names = rustix::fs::Dir::read_from(&self.fd)?;
        Ok(!names.any(|entry| entry.is_ok_and(|entry| !is_dots(entry.file_name().to_bytes()))))
    }

    /// Moves an entry to a name in another directory, replacing a file or an empty directory there.
    pub fn rename(&self, name: impl AsRef<OsStr>, to: &RunDir, new: impl AsRef<OsStr>) -> io::Result<()> {
        let (name, new) = (plain(name.as_ref())?, plain(new.as_ref())?);
        Ok(rustix::fs::renameat(&self.fd, name, &to.fd, new)?)
    }

    /// Moves an entry to a free name `<name>.from-test-<k>`, where it stays as evidence.
    pub fn set_aside(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        for number in 1..=u32::MAX {
            let mut aside = name.to_owned();
            aside.push(format!(".from-test-{number}"));
            match rename_to_free(&self.fd, name, &self.fd, &aside) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes a file, a link or a pipe; nothing to do where there is none.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, plain(name.as_ref())?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub fn mode(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.fd)?.st_mode & 0o7777)
    }

    /// Changes the permissions, whatever stands under the directory's name by now.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))?)
    }

    /// Changes the permissions of what has this name, in a directory that nobody else can write to: a link is followed.
    pub fn set_mode_of(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<()> {
        let (name, mode) = (plain(name.as_ref())?, Mode::from_raw_mode(mode));
        Ok(rustix::fs::chmodat(&self.fd, name, mode, AtFlags::empty())?)
    }

    /// Makes renames and creations in this directory survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Some network file systems cannot sync a directory and do not need to.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for RunDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A file under a temporary name, removed unless it gets its own.
struct Temporary<'a> {
    dir: &'a RunDir,
    name: String,
}

impl Temporary<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    /// The file was renamed: there is nothing to remove.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = self.dir.remove_file(&self.name);
    }
}

/// Renames to a name that must be free.
pub(super) fn rename_to_free(
    from: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    to: impl AsFd,
    new: impl rustix::path::Arg + Copy,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE) {
        // Network file systems, and kernels before 3.15.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return other,
    }
    match rustix::fs::statat(&to, new, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(&from, name, &to, new),
        Err(error) => Err(error),
    }
}

/// The last bytes of a file, and its length.
pub fn tail(file: &mut File, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

#[cfg(test)]
mod tests;
