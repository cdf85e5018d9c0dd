//! The files of one run, opened for the judge.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{AUTOPSY, CONSOLE, CONSOLE_OF_OLD, StoreError, TRAIL};
use crate::judge::RunFiles;
use crate::model::Exit;

/// How deep below a run's directory a test's log may be.
const DEEPEST: usize = 4;

/// A run's directory, or a log file that belongs to none.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    is_dir: bool,
    exit: Option<Exit>,
}

/// Looks at a run's directory or a lone log file.
///
/// # Errors
/// There is nothing, or nothing that can be read.
pub fn run_files(path: &Path) -> Result<Files, StoreError> {
    let metadata = fs::metadata(path).map_err(|cause| StoreError::io("read", path, cause))?;
    let is_dir = metadata.is_dir();
    let exit = if is_dir { super::scan::facts(path).0 } else { None };
    Ok(Files { path: path.to_owned(), is_dir, exit })
}

impl Files {
    /// The facts about the run's end, where there are any.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }
}

impl RunFiles for Files {
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
        if !self.is_dir {
            let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
            return Ok(Some((name.unwrap_or_default(), reader(&self.path)?)));
        }
        for name in [CONSOLE, CONSOLE_OF_OLD] {
            let path = self.path.join(name);
            if is_plain_file(&path) {
                return Ok(Some((name.to_owned(), reader(&path)?)));
            }
        }
        Ok(None)
    }

    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        let path = self.path.join(TRAIL);
        if self.is_dir && is_plain_file(&path) { reader(&path).map(Some) } else { Ok(None) }
    }

    fn test_logs(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        if !self.is_dir {
            return Ok(found);
        }
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((below, depth)) = open.pop() {
            // What a test made unreadable is not there for us.
            let Ok(entries) = fs::read_dir(self.path.join(&below)) else { continue };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let path = below.join(entry.file_name());
                let is_hidden_or_ours =
                    depth == 0 && (entry.file_name() == AUTOPSY || entry.file_name().as_encoded_bytes().starts_with(b"."));
                if kind.is_dir() && depth < DEEPEST && !is_hidden_or_ours {
                    open.push((path, depth + 1));
                } else if kind.is_file() && depth > 0 {
                    // A name that is not text cannot be named in evidence either.
                    found.extend(path.into_os_string().into_string().ok());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        let path = self.path.join(path);
        if !is_plain_file(&path) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        reader(&path)
    }
}

/// Whether reading can neither block, as a pipe would, nor lead elsewhere, as a link would.
fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn reader(path: &Path) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(BufReader::with_capacity(256 * 1024, File::open(path)?)))
}
