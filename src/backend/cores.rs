//! `--cores`: the core of a process that crashed, where the kernel leaves it in reach, and its native backtrace.
//!
//! The kernel has one pattern for the whole machine, containers included, and follows it in the process's own view of
//! the file system. A core is a session's if the mark of the attempt is in its memory, among the variables: several
//! sessions may share a directory, and each process number occurs in every container.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::process::Command;

use super::environment::MARK;
use super::{debugger, leftovers};
use crate::run::{AUTOPSY, AttemptDirs, Kind, RunDir, Scratch};

mod dump;
mod mapped;
mod pattern;
mod search;

use dump::Dump;
use search::{holds, wipe};

pub(super) use mapped::Origin;
pub(super) use pattern::{CoreDir, Pattern, View};

/// Most cores of one session that are looked at.
const MOST: usize = 4;
/// Most files of a directory that are looked at.
const LOOKED_AT: usize = 10_000;
/// A core above this is removed once its backtrace was taken.
const KEPT_BYTES: u64 = 256 << 20;
/// Longest time a debugger gets for one core.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest time that collecting a session's cores may take.
const BUDGET: Duration = Duration::from_mins(2);

/// The cores of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Cores {
    /// Where the kernel leaves the cores.
    pub(super) dir: CoreDir,
    /// Value of the variable that marks the processes of the attempt.
    pub(super) mark: String,
    /// The attempt's directories; cores and backtraces go into the tool's own.
    pub(super) dirs: AttemptDirs,
    /// When the attempt began: an older file is no core of the attempt.
    pub(super) since: SystemTime,
    /// Values of variables that were given by name: they are overwritten in what is kept.
    pub(super) secrets: Vec<String>,
    /// Directories whose files the session saw at the same paths and cannot have changed.
    pub(super) unchanged: Vec<PathBuf>,
}

/// A core that was found.
struct FoundCore {
    dir: Arc<RunDir>,
    name: OsString,
    file: File,
    dump: Dump,
}

impl Cores {
    /// Keeps the cores that the session's processes left, with backtraces. A core that cannot be read is no reason to lose
    /// the session's answer, so this does not fail. `is_ours`: the autopsy aborted processes, and their cores are removed.
    pub(super) async fn collect(self, origin: Option<&dyn Origin>, is_ours: bool) {
        let looked = self.clone();
        let Ok(Ok(found)) = tokio::task::spawn_blocking(move || looked.find()).await else {
            return;
        };
        let _ = tokio::time::timeout(BUDGET, async {
            for core in found {
                if is_ours {
                    let _ = core.dir.remove_file(&core.name);
                } else {
                    let _ = self.keep(core, origin).await;
                }
            }
        })
        .await;
    }

    fn find(&self) -> io::Result<Vec<FoundCore>> {
        let mark = format!("{MARK}={}\0", self.mark);
        let dir = Arc::new(RunDir::open(&self.dir.dir)?);
        // File systems stamp with a clock of a few milliseconds' grain.
        let since = self.since.checked_sub(Duration::from_secs(1)).unwrap_or(self.since);
        let of_this_run = |file: &File| {
            let found = file.metadata()?;
            // The kernel writes files with one name; a file with a second one is not a core.
            Ok::<_, io::Error>(found.nlink() == 1 && found.modified()? >= since)
        };
        let mut cores = Vec::new();
        for entry in dir.some_entries(LOOKED_AT)? {
            let is_named = entry.name.as_bytes().starts_with(self.dir.begins.as_bytes());
            if !is_named || entry.kind != Kind::File || cores.len() >= MOST {
                continue;
            }
            let Ok(mut file) = dir.file(&entry.name) else { continue };
            if let (Ok(true), Ok(Some(dump))) = (of_this_run(&file), dump::read(&mut file))
                && holds(&mut file, mark.as_bytes()).unwrap_or(false)
            {
                cores.push(FoundCore {
                    dir: Arc::clone(&dir),
                    name: entry.name,
                    file,
                    dump,
                });
            }
        }
        Ok(cores)
    }

    async fn keep(&self, core: FoundCore, origin: Option<&dyn Origin>) -> io::Result<()> {
        let dir = Arc::new(self.dirs.own.ensure_dir(AUTOPSY, 0o755)?);
        let Dump { pid, signal, .. } = core.dump;
        let name = free_name(&dir, pid);
        let bytes = core.file.metadata()?.len();
        let mut text = format!("core of process {pid}, signal {signal}: {}\n", core.dump.command);
        let dump = core.dump.clone();
        let (target, as_name, secrets) = (Arc::clone(&dir), name.clone(), self.secrets.clone());
        let taken = tokio::task::spawn_blocking(move || take(&core, &target, &as_name, &secrets)).await;
        let Ok(taken) = taken else { return Ok(()) };
        let copies = Scratch::make(&std::env::temp_dir(), leftovers::TEMPORARY)?;
        let files = self.fetch(origin, &dump.files, copies.dir()).await;
        match backtrace(&taken.path(&dir, &name), &files, copies.path(), origin.is_none()).await {
            Ok(stack) => {
                let _ = write!(text, "\n{stack}\n");
            }
            Err(cause) => {
                let _ = writeln!(text, "no native backtrace: {cause}");
            }
        }
        if let Taken::Left(_) = taken {
            let _ = writeln!(text, "\nthe core itself, {bytes} bytes, was not kept");
        }
        for secret in &self.secrets {
            text = text.replace(secret, "***");
        }
        tokio::task::spawn_blocking(move || dir.replace(format!("{name}.txt"), text.as_bytes()))
            .await
            .map_err(io::Error::other)?
    }
}

/// A free name for a core.
fn free_name(dir: &RunDir, pid: i32) -> String {
    let names = (1..).map(|number| match number {
        1 => format!("core-{pid}"),
        _ => format!("core-{pid}.{number}"),
    });
    let mut free = names.filter(|name| dir.kind(name).is_none());
    free.next().unwrap_or_default()
}

/// What became of a core.
enum Taken {
    /// The core is kept beside the run.
    Kept,
    /// The core is too large to be kept: an open file whose name is removed.
    Left(File),
}

impl Taken {
    fn path(&self, dir: &RunDir, name: &str) -> PathBuf {
        match self {
            Taken::Kept => dir.path().join(name),
            Taken::Left(file) => PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())),
        }
    }
}

/// Moves a core to where it is kept, without secrets. Its name may lead to another file by now, so the bytes are copied
/// from the open file.
fn take(core: &FoundCore, dir: &RunDir, name: &str, secrets: &[String]) -> Taken {
    let copy = || {
        let mut from = core.file.try_clone()?;
        from.seek(SeekFrom::Start(0))?;
        let mut to = dir.new_file(name)?;
        let copied = io::copy(&mut (&mut from).take(KEPT_BYTES + 1), &mut to)?;
        if copied > KEPT_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let rewritten = dir.lock_file(name)?;
        rewritten.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        secrets
            .iter()
            .try_for_each(|secret| wipe(&rewritten, secret.as_bytes()))
    };
    let taken = if copy().is_ok() {
        Taken::Kept
    } else {
        let _ = dir.remove_file(name);
        core.file.try_clone().map_or(Taken::Kept, Taken::Left)
    };
    let _ = core.dir.remove_file(&core.name);
    taken
}

/// The stacks of all threads, by the copies of the files that were mapped. `is_here`: the session was a process of this
/// machine, and the files that its core names are ones that its user can open anyway.
async fn backtrace(core: &Path, files: &[PathBuf], root: &Path, is_here: bool) -> Result<String, String> {
    let program = files.first().ok_or("it does not say what it ran")?;
    let dirs: Vec<String> = files
        .iter()
        .filter_map(|file| Some(file.parent()?.display().to_string()))
        .collect();
    let mut gdb = debugger::gdb();
    gdb.args(["-iex", &format!("set sysroot {}", root.display())])
        .args(["-iex", &format!("set solib-search-path {}", dirs.join(":"))])
        .args(["-ex", "thread apply all bt 60"])
        .arg(program)
        .arg(core);
    let mut stack = Command::new("eu-stack");
    // eu-stack cannot be kept from opening files that the core names, so only cores of this machine are shown to it.
    if is_here {
        stack.arg("--core").arg(core).arg("--executable").arg(program);
    }
    debugger::stacks([gdb, stack], LONGEST).await
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn cores(base: &Path) -> Cores {
        let attempts = RunDir::open(base).unwrap();
        Cores {
            dir: CoreDir {
                dir: base.to_owned(),
                begins: "core".to_owned(),
            },
            mark: "run007".to_owned(),
            dirs: AttemptDirs::make(&attempts, "run007.here-1-1").unwrap(),
            since: SystemTime::now(),
            secrets: Vec::new(),
            unchanged: vec![PathBuf::from("/usr")],
        }
    }

    /// The smallest core: a header that names no segments, and the mark.
    fn minimal() -> Vec<u8> {
        let mut core = b"\x7fELF\x02\x01".to_vec();
        core.resize(64, 0);
        core[16] = 4;
        core.extend_from_slice(format!("{MARK}=run007\0").as_bytes());
        core
    }

    #[test]
    fn only_cores_that_were_written_in_this_run_are_taken() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let cores = cores(base.path());
        for name in ["core.new", "core.old", "core.linked", "other"] {
            std::fs::write(at(name), minimal()).unwrap();
        }
        let hour = Duration::from_hours(1);
        File::open(at("core.old"))
            .unwrap()
            .set_modified(SystemTime::now() - hour)
            .unwrap();
        std::fs::hard_link(at("core.linked"), at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("core.new"), at("core.link")).unwrap();
        std::fs::create_dir(at("core.dir")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("core.pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        let found: Vec<OsString> = cores.find().unwrap().into_iter().map(|core| core.name).collect();
        assert_eq!(found, ["core.new"]);
    }
}
