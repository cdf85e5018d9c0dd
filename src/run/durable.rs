//! Files of a sweep by their paths, where no directory is held open: atomic replacement, single-write appends,
//! directories synced. Each is what [`RunDir`] does below the directory that the path names.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use super::{LARGEST, RunDir, StoreError};

/// The directory of a path, and the name there.
fn split(path: &Path) -> io::Result<(RunDir, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    Ok((RunDir::open(dir.unwrap_or(Path::new(".")))?, name))
}

/// Opens a regular file for reading, whatever else may stand under its name.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let (dir, name) = split(path)?;
    dir.file(name)
}

/// Reads a small file of ours; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match split(path) {
        Ok((dir, name)) => dir.read(name, LARGEST),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a whole file in place, replacing what is there, even a link; readers see all of it or what was there before.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let replaced = RunDir::open(dir).and_then(|dir| dir.replace(name, bytes));
    replaced.map_err(|cause| StoreError::io("write", &dir.join(name), cause))
}

/// Puts a whole file in place unless there is one already; says whether it did.
pub(super) fn create(dir: &Path, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
    let created = RunDir::open(dir).and_then(|dir| dir.create(name, bytes));
    created.map_err(|cause| StoreError::io("write", &dir.join(name), cause))
}

/// Keeps a file under another name before it is replaced for the first time; nothing to do where there is none, or
/// where the other name is taken.
pub(super) fn keep_first(dir: &Path, name: &str, kept: &str) -> Result<(), StoreError> {
    let path = dir.join(name);
    match read(&path) {
        Ok(Some(bytes)) => create(dir, kept, &bytes).map(|_| ()),
        Ok(None) => Ok(()),
        Err(cause) => Err(StoreError::io("read", &path, cause)),
    }
}

/// Makes renames and creations in a directory survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let synced = RunDir::open(dir).and_then(|dir| dir.sync());
    synced.map_err(|cause| StoreError::io("sync", dir, cause))
}

/// Appends lines in one write, so that lines of several processes do not mix.
pub(super) fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let (dir, name) = split(path)?;
    dir.append(name, lines)
}

/// Ends a line that a full disk or a kill cut short, so that the next one begins a line of its own. A file that others
/// may be appending to is looked at twice: a write of theirs can be seen half done.
pub(super) fn end_torn_line(path: &Path) -> io::Result<()> {
    let Some(length) = torn_length(path)? else {
        return Ok(());
    };
    std::thread::sleep(Duration::from_millis(2));
    if torn_length(path)? == Some(length) {
        append(path, b"\n")?;
    }
    Ok(())
}

/// Length of a file whose last line has no end; `None` where there is no such thing.
fn torn_length(path: &Path) -> io::Result<Option<u64>> {
    let mut file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok((last != *b"\n").then_some(length))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        append(&path, b"one\n").unwrap();
        end_torn_line(&path).unwrap();
        fs::write(&path, "one\ntw").unwrap();
        end_torn_line(&path).unwrap();
        append(&path, b"three\n").unwrap();
        append(&path, b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\nfour\n");
    }
}
