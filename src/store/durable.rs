//! Bytes that are on disk when we say so: atomic replacement, single-write appends, directories synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::StoreError;

/// Largest file of ours that is read whole; anything larger is not one of ours.
const LARGEST: u64 = 64 << 20;

/// Flags for opening what others may have put there: links are not followed, a pipe or device does not block.
pub(super) fn careful() -> i32 {
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed()
}

/// Opens a regular file for reading, whatever else may stand under its name.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    Ok(open_with_length(path)?.0)
}

fn open_with_length(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(careful()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Reads a small file of ours; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let (file, length) = match open_with_length(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // With a byte to spare, one read takes all and the next one finds the end.
    let room = length.min(LARGEST) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than any file of this kind",
        ));
    }
    Ok(Some(bytes))
}

/// Puts a whole file in place, replacing what is there, even a link; readers see all of it or what was there before.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = dir.join(name);
    let failed = |cause| StoreError::io("write", &path, cause);
    let file = temporary(dir, bytes).map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Puts a whole file in place unless there is one already; says whether it did.
pub(super) fn create(dir: &Path, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
    let path = dir.join(name);
    let failed = |cause| StoreError::io("write", &path, cause);
    match temporary(dir, bytes).map_err(failed)?.persist_noclobber(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error.error)),
    }
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

fn temporary(dir: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Makes renames and creations in a directory survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    match synced {
        // Some network file systems cannot sync a directory and do not need to.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other.map_err(|cause| StoreError::io("sync", dir, cause)),
    }
}

/// Appends lines in one write, so that lines of several processes do not mix.
pub(super) fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(careful())
        .open(path)?;
    file.write_all(lines)
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

/// What a file or directory is, under whatever name: device and inode.
pub(super) fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Moves what a test put under a name of ours out of the way, so that it stays as evidence. Plain files and links are
/// replaced by [`replace`]; only directories have to go.
pub(super) fn make_way(dir: &Path, name: &str) -> Result<(), StoreError> {
    let path = dir.join(name);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => set_aside(&path),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Renames something to `<name>.from-test-<k>`.
pub(super) fn set_aside(path: &Path) -> Result<(), StoreError> {
    let aside = (1..=u32::MAX)
        .map(|number| with_suffix(path, &format!(".from-test-{number}")))
        .find(|candidate| fs::symlink_metadata(candidate).is_err())
        .unwrap_or_else(|| with_suffix(path, ".from-test"));
    fs::rename(path, aside).map_err(|cause| StoreError::io("move", path, cause))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn links_are_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("exit.json"));
        fs::write(&target, "untouched").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(read(&link).is_err());
        assert!(append(&link, b"x\n").is_err());
        replace(dir.path(), "exit.json", b"ours").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert_eq!(read(&link).unwrap().unwrap(), b"ours");
    }

    #[test]
    fn only_the_first_creation_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(create(dir.path(), "sweep.json", b"1").unwrap());
        assert!(!create(dir.path(), "sweep.json", b"2").unwrap());
        assert_eq!(fs::read(dir.path().join("sweep.json")).unwrap(), b"1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_under_a_name_of_ours_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.log");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        assert!(open_regular(&path).is_err());
    }
}
