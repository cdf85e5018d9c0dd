//! Files written so that a reader sees the old or the new one, whole, whatever happens in between.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::StoreError;

/// Replaces `dir/name`. What stands there is never followed or believed: a test may have put a link in its place.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = dir.join(name);
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempfile_in(dir)
        .map_err(|cause| StoreError::io("write", &path, cause))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|cause| StoreError::io("write", &path, cause))?;
    // Temporary files are made for their owner alone; these are read by others too.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(|cause| StoreError::io("write", &path, cause))?;
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
        // A directory of this name can only be a test's; it makes way, and is kept.
        let aside = dir.join(format!("{name}.from-a-test"));
        fs::rename(&path, &aside).map_err(|cause| StoreError::io("move aside", &path, cause))?;
    }
    file.persist(&path).map_err(|error| StoreError::io("write", &path, error.error))?;
    Ok(())
}

/// Replaces `dir/name` with a value as JSON.
pub(super) fn replace_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain values with text keys always serialize");
    bytes.push(b'\n');
    replace(dir, name, &bytes)
}

/// Makes renames in a directory survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|cause| StoreError::io("sync", dir, cause))
}

/// Appends whole lines in one write, which concurrent writers cannot interleave.
pub(super) fn append(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(|cause| StoreError::io("open", path, cause))?;
    file.write_all(bytes).map_err(|cause| StoreError::io("append to", path, cause))
}

/// Creates a directory and those above it.
pub(super) fn create_dirs(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|cause| StoreError::io("create", path, cause))
}
