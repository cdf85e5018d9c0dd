//! The directory of a search for a culprit: the sweeps of its candidates, and beside them the worktrees of commits, what
//! became of building each, and the page.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::claim::{Lock, lock_once, open_lock};
use super::{RunDir, StoreError, durable, tail, tree};

/// Worktrees of commits with the logs of their builds. Hidden from whoever looks for sweeps.
const WORKTREES: &str = ".worktrees";
const PAGE: &str = "culprit.html";
/// Held by the one process that confirms a candidate.
const CONFIRMS: &str = ".confirms.lock";
/// Most that is read of a build's log.
const TAIL: u64 = 4096;

/// What one process does alone of a search, until the value is dropped or the process dies.
#[derive(Debug)]
pub struct SearchLock {
    /// `None` where the file system has no locks.
    _held: Option<File>,
}

/// The directory of a search.
#[derive(Clone, Debug)]
pub struct SearchDir(PathBuf);

impl SearchDir {
    /// The directory, which need not exist.
    pub fn new(dir: PathBuf) -> SearchDir {
        SearchDir(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the worktree of a commit is.
    pub fn worktree(&self, commit: &str) -> PathBuf {
        self.0.join(WORKTREES).join(commit)
    }

    /// Where all of them are.
    pub fn worktrees(&self) -> PathBuf {
        self.0.join(WORKTREES)
    }

    /// The right to build a commit; `None` while another process builds it.
    pub fn lock_build(&self, commit: &str) -> Result<Option<SearchLock>, StoreError> {
        lock(&self.worktrees(), &format!("{commit}.lock"))
    }

    /// The right to confirm a candidate; `None` while another process has it.
    pub fn lock_confirmation(&self) -> Result<Option<SearchLock>, StoreError> {
        lock(&self.0, CONFIRMS)
    }

    /// What became of building a commit: `None` where it was not built to its end.
    pub fn built(&self, commit: &str) -> Result<Option<Result<(), String>>, StoreError> {
        let path = self.worktrees().join(format!("{commit}.built"));
        let read = durable::read(&path).map_err(|cause| StoreError::io("read", &path, cause))?;
        Ok(read.map(|bytes| match String::from_utf8_lossy(&bytes).trim() {
            "" => Ok(()),
            why => Err(why.to_owned()),
        }))
    }

    /// Writes down what became of building a commit.
    pub fn set_built(&self, commit: &str, built: &Result<(), String>) -> Result<(), StoreError> {
        let why = built.as_ref().err().map_or("", String::as_str);
        durable::replace(&self.worktrees(), &format!("{commit}.built"), why.as_bytes())
    }

    /// Removes what is left of a worktree that was not built to its end.
    pub fn clear(&self, commit: &str) -> Result<(), StoreError> {
        let dir = self.worktrees();
        let failed = |cause| StoreError::io("remove", &self.worktree(commit), cause);
        fs::create_dir_all(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        let open = RunDir::open(&dir).map_err(failed)?;
        if open.kind(commit).is_some() {
            tree::remove(&open, commit).map_err(failed)?;
        }
        Ok(())
    }

    /// The log of a commit's build, empty, with its path.
    pub fn new_log(&self, commit: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self.worktrees().join(format!("{commit}.log"));
        let file = File::create(&path).map_err(|cause| StoreError::io("write", &path, cause))?;
        Ok((file, path))
    }

    /// The last line of a build's log that is not empty.
    pub fn last_line(&self, log: &Path) -> Option<String> {
        let mut file = durable::open_regular(log).ok()?;
        let (bytes, _) = tail(&mut file, TAIL).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(line.trim().to_owned())
    }

    /// Writes the page, and returns where it is.
    pub fn write_page(&self, page: &str) -> Result<PathBuf, StoreError> {
        let failed = |cause: io::Error| StoreError::io("create", &self.0, cause);
        fs::create_dir_all(&self.0).map_err(failed)?;
        durable::replace(&self.0, PAGE, page.as_bytes())?;
        Ok(self.0.join(PAGE))
    }
}

/// The file stays: a name that is removed could be locked twice.
fn lock(dir: &Path, name: &str) -> Result<Option<SearchLock>, StoreError> {
    fs::create_dir_all(dir).map_err(|cause| StoreError::io("create", dir, cause))?;
    let path = dir.join(name);
    let file = open_lock(&path).map_err(|cause| StoreError::io("open", &path, cause))?;
    match lock_once(&file).map_err(|cause| StoreError::io("lock", &path, cause))? {
        Lock::Taken => Ok(Some(SearchLock { _held: Some(file) })),
        Lock::Unsupported => Ok(Some(SearchLock { _held: None })),
        Lock::Busy | Lock::Gone => Ok(None),
    }
}

/// Reads a list that the user has written.
pub fn read_list(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|cause| StoreError::io("read", path, cause))
}
