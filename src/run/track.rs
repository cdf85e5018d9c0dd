//! The file in which `history --track` keeps what it has said.

use std::io;
use std::path::Path;

use super::{StoreError, durable};
use crate::stats::track::Track;

/// Reads the state; a new one where there is no such file.
///
/// # Errors
/// The file cannot be read, or is none of ours: it is never taken for an empty one, which would open every issue again.
pub fn read_track(path: &Path) -> Result<Track, StoreError> {
    let failed = |cause| StoreError::io("read", path, cause);
    let Some(bytes) = durable::read(path).map_err(failed)? else {
        return Ok(Track::default());
    };
    let wrong = |words: String| failed(io::Error::new(io::ErrorKind::InvalidData, words));
    let track: Track = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if track.format != 1 {
        return Err(wrong(format!("format {}, this version knows 1", track.format)));
    }
    Ok(track)
}

/// Writes the state, whole or not at all.
pub fn write_track(path: &Path, track: &Track) -> Result<(), StoreError> {
    let mut bytes = serde_json::to_vec(track).map_err(|error| StoreError::io("write", path, error.into()))?;
    bytes.push(b'\n');
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    durable::replace(dir, &name, &bytes)
}
