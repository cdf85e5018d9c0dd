//! The files of one run for whoever judges it: a run's directory, ours or the script's, or a lone log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::dir::RunDir;
use super::entry::Kind;
use super::layout::{AUTOPSY, EXIT, EXIT_CODE, LOG, OLD_LOG, STARVED, TRAIL, iteration_of};
use super::{StoreError, scan, tree};
use crate::judge::starvation::{self, Window};
use crate::judge::{Exit, Outcome, RunFiles};

/// How deep below a run tests are expected to write.
const DEEPEST: usize = 6;

/// Most logs of tests that are looked at in one run.
const MOST_LOGS: usize = 10_000;

/// A run on disk. Links are not followed, and anything but a regular file counts as absent.
#[derive(Debug)]
pub struct Files {
    opened: Opened,
    /// Logs of tests by the name the judge sees: names need not be UTF-8.
    test_logs: OnceLock<BTreeMap<String, PathBuf>>,
}

#[derive(Debug)]
enum Opened {
    Dir(Arc<RunDir>),
    /// A log that belongs to no run. The user has named it, so a link or a pipe is meant.
    Log(PathBuf),
}

/// Opens a run's directory or a lone log for judging. A log called as in sweeps, with facts beside it, stands for its
/// directory.
///
/// # Errors
/// There is no such file or directory, or no rights to look.
pub fn run_files(path: &Path) -> Result<Files, StoreError> {
    let failed = |cause| StoreError::io("read", path, cause);
    let found = fs::metadata(path).map_err(failed)?;
    let dir = if found.is_dir() { Some(path) } else { dir_of_log(path) };
    Ok(match dir {
        Some(dir) => Files::of(Arc::new(RunDir::open(dir).map_err(failed)?)),
        None => Files {
            opened: Opened::Log(path.to_owned()),
            test_logs: OnceLock::new(),
        },
    })
}

/// The run that a log belongs to.
fn dir_of_log(path: &Path) -> Option<&Path> {
    let name = path.file_name()?;
    let dir = path.parent()?;
    let has_facts = || [EXIT, EXIT_CODE, TRAIL].iter().any(|fact| dir.join(fact).is_file());
    ([LOG, OLD_LOG].iter().any(|log| name == *log) && has_facts()).then_some(dir)
}

impl Files {
    /// The files of a run's directory.
    pub(super) fn of(dir: Arc<RunDir>) -> Files {
        Files {
            opened: Opened::Dir(dir),
            test_logs: OnceLock::new(),
        }
    }

    fn run(&self) -> Option<&RunDir> {
        match &self.opened {
            Opened::Dir(dir) => Some(dir),
            Opened::Log(_) => None,
        }
    }

    /// The run's directory; `None` for a lone log.
    pub fn dir(&self) -> Option<&Path> {
        Some(self.run()?.path())
    }

    /// What of the session was stopped for a while by the sweep's own condition; none where nothing was.
    pub fn windows(&self) -> Vec<Window> {
        let file = self.run().and_then(|dir| dir.file(STARVED).ok());
        // A file of windows that cannot be read says nothing.
        file.and_then(|file| starvation::read(reader(file)).ok())
            .unwrap_or_default()
    }

    /// The iteration that the directory is named after.
    pub fn iteration(&self) -> Option<u32> {
        iteration_of(self.dir()?.file_name()?.to_str()?)
    }

    /// How the run ended, as far as a file says, and what of that could not be read.
    pub fn exit(&self) -> (Option<Exit>, Vec<String>) {
        let mut problems = Vec::new();
        let exit = self.run().and_then(|dir| scan::read_exit(dir, &mut problems));
        (exit, problems)
    }

    /// The judgement that is recorded; `None` where there is none that can be read.
    pub fn outcome(&self) -> Option<Outcome> {
        let dir = self.dir()?.to_owned();
        scan::read_run(self.iteration()?, dir).outcome
    }

    /// One file of the run by its name below the directory: the console, the trail, a log of a test, a file of the
    /// autopsy. `None` for any other and for one that cannot be read.
    pub fn text(&self, name: &str) -> Option<Box<dyn BufRead + '_>> {
        let dir = self.run()?;
        let path = match self.found_logs().get(name) {
            Some(path) => path,
            None if [LOG, OLD_LOG, TRAIL].contains(&name) || self.autopsy().iter().any(|known| known == name) => {
                Path::new(name)
            }
            None => return None,
        };
        dir.file(path).ok().map(reader)
    }

    /// Names of what was collected before the session was ended, stacks first.
    pub fn autopsy(&self) -> Vec<String> {
        let collected = self.run().and_then(|dir| dir.dir(AUTOPSY).ok()?.entries().ok());
        let mut names: Vec<String> = collected
            .into_iter()
            .flatten()
            .filter(|entry| entry.kind == Kind::File)
            .filter_map(|entry| Some(format!("{AUTOPSY}/{}", entry.name.to_str()?)))
            .filter(|name| is_log(name))
            .collect();
        names.sort_by_key(|name| (!name.contains("stack"), name.clone()));
        names
    }

    /// Every file of the run with its size in bytes, by name. Empty for a lone log.
    pub fn sizes(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        if let Some(dir) = self.run() {
            // Files below a directory that cannot be read are left out.
            let _ = tree::walk(dir, usize::MAX, |level| {
                for entry in level.entries.iter().filter(|entry| entry.kind == Kind::File) {
                    let size = u64::try_from(level.stat(&entry.name)?.st_size).unwrap_or(0);
                    found.push((level.path.join(&entry.name).display().to_string(), size));
                }
                Ok(())
            });
        }
        found.sort();
        found
    }

    fn found_logs(&self) -> &BTreeMap<String, PathBuf> {
        self.test_logs
            .get_or_init(|| self.run().map(logs_below).unwrap_or_default())
    }
}

impl RunFiles for Files {
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
        let dir = match &self.opened {
            Opened::Dir(dir) => dir,
            Opened::Log(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                return Ok(Some((name.to_string_lossy().into_owned(), reader(File::open(path)?))));
            }
        };
        for name in [LOG, OLD_LOG] {
            match dir.file(name) {
                Ok(file) => return Ok(Some((name.to_owned(), reader(file)))),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        Ok(self.run().and_then(|dir| dir.file(TRAIL).ok().map(reader)))
    }

    fn test_logs(&self) -> io::Result<Vec<String>> {
        Ok(self.found_logs().keys().cloned().collect())
    }

    // A file that cannot be read says nothing.
    fn open(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        let file = self.found_logs().get(path).zip(self.run());
        Ok(match file.map(|(path, dir)| dir.file(path)) {
            Some(Ok(file)) => reader(file),
            Some(Err(_)) | None => Box::new(io::empty()),
        })
    }
}

fn reader<'a>(file: File) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(1 << 16, file))
}

/// Logs below the directories that tests made; files beside the console are the session's own.
fn logs_below(dir: &RunDir) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    // A directory that cannot be read says nothing.
    let _ = tree::walk(dir, DEEPEST, |level| {
        if level.depth == 0 {
            level
                .entries
                .retain(|entry| entry.kind == Kind::Dir && entry.name != AUTOPSY);
        }
        for entry in &level.entries {
            let path = level.path.join(&entry.name);
            let name = path.to_string_lossy().into_owned();
            if entry.kind == Kind::File && is_log(&name) && found.len() < MOST_LOGS {
                found.insert(name, path);
            }
        }
        Ok(())
    });
    found
}

fn is_log(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("txt" | "log" | "out" | "err"))
}
