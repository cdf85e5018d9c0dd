//! The files of one run for whoever judges it: a run's directory, ours or the script's, or a lone log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::layout::{AUTOPSY, EXIT, EXIT_CODE, LOG, OLD_LOG, TRAIL, iteration_of};
use super::{StoreError, durable, scan};
use crate::judge::RunFiles;
use crate::model::{Exit, Outcome};

/// How deep below a run tests are expected to write.
const DEEPEST: usize = 6;

/// Most logs of tests that are looked at in one run.
const MOST_LOGS: usize = 10_000;

/// A run on disk. Links are not followed, and what is not a regular file is not there.
#[derive(Debug)]
pub struct RunDir {
    /// The run's directory, or the lone log.
    path: PathBuf,
    is_lone: bool,
    /// Logs of tests by the name the judge sees: names need not be UTF-8.
    test_logs: OnceLock<BTreeMap<String, PathBuf>>,
}

/// Opens a run's directory or a lone log for judging. A log called as in sweeps, with facts beside it, stands for its
/// directory.
///
/// # Errors
/// There is no such file or directory, or no rights to look.
pub fn run_files(path: &Path) -> Result<RunDir, StoreError> {
    let found = fs::metadata(path).map_err(|cause| StoreError::io("read", path, cause))?;
    let dir = if found.is_dir() { Some(path) } else { dir_of_log(path) };
    Ok(RunDir {
        path: dir.unwrap_or(path).to_owned(),
        is_lone: dir.is_none(),
        test_logs: OnceLock::new(),
    })
}

/// The run that a log belongs to.
fn dir_of_log(path: &Path) -> Option<&Path> {
    let name = path.file_name()?;
    let dir = path.parent()?;
    let has_facts = || [EXIT, EXIT_CODE, TRAIL].iter().any(|fact| dir.join(fact).is_file());
    ([LOG, OLD_LOG].iter().any(|log| name == *log) && has_facts()).then_some(dir)
}

impl RunDir {
    /// The run's directory; `None` for a lone log.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        (!self.is_lone).then_some(self.path.as_path())
    }

    /// The iteration that the directory is named after.
    #[must_use]
    pub fn iteration(&self) -> Option<u32> {
        iteration_of(self.dir()?.file_name()?.to_str()?)
    }

    /// How the run ended, as far as a file says, and what of that could not be read.
    #[must_use]
    pub fn exit(&self) -> (Option<Exit>, Vec<String>) {
        let mut problems = Vec::new();
        let exit = self.dir().and_then(|dir| scan::read_exit(dir, &mut problems));
        (exit, problems)
    }

    /// The judgement that is recorded; `None` where there is none that can be read.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let dir = self.dir()?.to_owned();
        scan::read_run(self.iteration()?, dir).outcome
    }

    /// One file of the run by its name below the directory: the console, the trail, a log of a test, a file of the
    /// autopsy. `None` for any other and for one that cannot be read.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Box<dyn BufRead + '_>> {
        let dir = self.dir()?;
        let path = match self.found_logs().get(name) {
            Some(path) => path.clone(),
            None if [LOG, OLD_LOG, TRAIL].contains(&name) || self.autopsy().iter().any(|known| known == name) => {
                dir.join(name)
            }
            None => return None,
        };
        durable::open_regular(&path).ok().map(reader)
    }

    /// Names of what was collected before the session was ended, stacks first.
    #[must_use]
    pub fn autopsy(&self) -> Vec<String> {
        let entries = self.dir().and_then(|dir| fs::read_dir(dir.join(AUTOPSY)).ok());
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| Some(format!("{AUTOPSY}/{}", entry.file_name().to_str()?)))
            .filter(|name| is_log(name))
            .collect();
        names.sort_by_key(|name| (!name.contains("stack"), name.clone()));
        names
    }

    fn found_logs(&self) -> &BTreeMap<String, PathBuf> {
        self.test_logs.get_or_init(|| {
            let mut found = BTreeMap::new();
            if !self.is_lone {
                collect_logs(&self.path, "", 0, &mut found);
            }
            found
        })
    }
}

impl RunFiles for RunDir {
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
        if self.is_lone {
            // Named by the user, so a link or a pipe is meant.
            let name = self.path.file_name().unwrap_or(self.path.as_os_str());
            return Ok(Some((
                name.to_string_lossy().into_owned(),
                reader(File::open(&self.path)?),
            )));
        }
        for name in [LOG, OLD_LOG] {
            match durable::open_regular(&self.path.join(name)) {
                Ok(file) => return Ok(Some((name.to_owned(), reader(file)))),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        if self.is_lone {
            return Ok(None);
        }
        Ok(durable::open_regular(&self.path.join(TRAIL)).ok().map(reader))
    }

    fn test_logs(&self) -> io::Result<Vec<String>> {
        Ok(self.found_logs().keys().cloned().collect())
    }

    // One that cannot be read says nothing.
    fn open(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        let file = self.found_logs().get(path).map(|path| durable::open_regular(path));
        Ok(match file {
            Some(Ok(file)) => reader(file),
            Some(Err(_)) | None => Box::new(io::empty()),
        })
    }
}

fn reader<'a>(file: File) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(1 << 16, file))
}

/// Logs below the directories that tests made; files beside the console are the session's own.
fn collect_logs(dir: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if kind.is_dir() && depth < DEEPEST && !(depth == 0 && name == AUTOPSY) {
            collect_logs(&entry.path(), &format!("{path}/"), depth + 1, found);
        } else if kind.is_file() && depth > 0 && is_log(&name) && found.len() < MOST_LOGS {
            found.insert(path, entry.path());
        }
    }
}

fn is_log(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("txt" | "log" | "out" | "err"))
}
