//! `--cores`: the core of a process that crashed, where the kernel leaves it in reach, and its native backtrace.
//!
//! The kernel has one pattern for the whole machine, containers included, and follows it in the process's own view of
//! the file system. A core is a session's if the mark of the attempt is in its memory, among the variables: several
//! sessions may share a directory, and each process number occurs in every container.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::environment::MARK;

mod dump;

use dump::Dump;

/// Where the kernel says what becomes of cores.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// Most cores of one session that are looked at.
const MOST: usize = 4;
/// A core above this is removed once its backtrace was taken.
const KEPT_BYTES: u64 = 256 << 20;
/// Longest time a debugger gets for one core.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest time all of it may take.
const BUDGET: Duration = Duration::from_mins(2);

/// What becomes of cores on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// A program gets them.
    Pipe(String),
    /// They are written to the directory in which the process works, under a name that begins so.
    Relative(String),
    /// They are written to this directory, as the process sees it, under a name that begins so.
    Absolute(PathBuf, String),
}

impl Pattern {
    /// This machine's.
    pub(super) fn current() -> Pattern {
        Pattern::read(&std::fs::read_to_string(PATTERN).unwrap_or_default())
    }

    fn read(text: &str) -> Pattern {
        let text = text.trim();
        if let Some(program) = text.strip_prefix('|') {
            let program = program.split_whitespace().next().unwrap_or_default();
            return Pattern::Pipe(program.to_owned());
        }
        let (dir, name) = text
            .rsplit_once('/')
            .map_or((None, text), |(dir, name)| (Some(dir), name));
        let name = name.split('%').next().unwrap_or_default().to_owned();
        match dir {
            Some(dir) if text.starts_with('/') => Pattern::Absolute(PathBuf::from(format!("{dir}/")), name),
            // A directory below the one it works in is as good as that.
            Some(dir) => Pattern::Relative(format!("{dir}/{name}")),
            None => Pattern::Relative(name),
        }
    }

    /// Where on this machine to look, and how the names there begin.
    ///
    /// # Errors
    /// Why there is nothing to look at, and what to set.
    pub(super) fn place(&self, view: &View<'_>) -> Result<Place, String> {
        let set = "on the engine's machine: sysctl -w kernel.core_pattern=core";
        let split = |path: &Path, name: &str| match name.rsplit_once('/') {
            Some((below, name)) => Place {
                dir: path.join(below),
                begins: name.to_owned(),
            },
            None => Place {
                dir: path.to_owned(),
                begins: name.to_owned(),
            },
        };
        match self {
            Pattern::Pipe(program) => Err(format!("the kernel hands cores to `{program}`; {set}")),
            Pattern::Relative(name) => match view.works_in {
                Some(dir) => Ok(split(dir, name)),
                None => {
                    Err("they are written to the working directory, which is not kept; use --workspace rw".to_owned())
                }
            },
            Pattern::Absolute(dir, name) => {
                let inside = |(_, target): &&(PathBuf, String)| dir.starts_with(target);
                match view.mounts.iter().filter(inside).max_by_key(|(_, target)| target.len()) {
                    Some((source, target)) => {
                        let below = dir.strip_prefix(target).unwrap_or(dir);
                        Ok(split(&source.join(below), name))
                    }
                    None => Err(format!(
                        "they are written to `{}`, which no directory of this machine is mounted at; give --volume, or {set}",
                        dir.display()
                    )),
                }
            }
        }
    }
}

/// What a session sees of this machine's directories.
pub(super) struct View<'a> {
    /// The directory it works in, if it is one of this machine's that stays.
    pub(super) works_in: Option<&'a Path>,
    /// Directories of this machine, and where the session sees each.
    pub(super) mounts: &'a [(PathBuf, String)],
}

/// Where cores are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    dir: PathBuf,
    begins: String,
}

/// Gets at the files that a process had mapped, where they are not this machine's.
pub(super) trait Origin: Send + Sync {
    /// Writes a copy of one of them; `false` where that cannot be done.
    fn copy<'a>(&'a self, path: &'a str, to: &'a Path) -> BoxFuture<'a, bool>;
}

/// The cores of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Cores {
    /// Where they are.
    pub(super) place: Place,
    /// Value of the variable that marks the processes of the attempt.
    pub(super) mark: String,
    /// What they and their backtraces go into.
    pub(super) dir: PathBuf,
}

impl Cores {
    /// Takes what the session's processes left. A core that cannot be read is no reason to lose the session's answer,
    /// so this does not fail. `is_ours`: we aborted processes of the session, and what they left is only removed.
    pub(super) async fn collect(self, origin: Option<&dyn Origin>, is_ours: bool) {
        let looked = self.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || looked.find()).await else {
            return;
        };
        let _ = tokio::time::timeout(BUDGET, async {
            for (path, dump) in found {
                if is_ours {
                    let _ = std::fs::remove_file(path);
                } else {
                    self.keep(&path, &dump, origin).await;
                }
            }
        })
        .await;
    }

    fn find(&self) -> Vec<(PathBuf, Dump)> {
        let mark = format!("{MARK}={}\0", self.mark);
        let Ok(entries) = std::fs::read_dir(&self.place.dir) else {
            return Vec::new();
        };
        let named = |entry: &std::fs::DirEntry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with(&self.place.begins) && entry.file_type().is_ok_and(|kind| kind.is_file())
        };
        let cores = entries.flatten().filter(named).filter_map(|entry| {
            let dump = dump::read(&entry.path()).ok()??;
            holds(&entry.path(), mark.as_bytes())
                .ok()?
                .then(|| (entry.path(), dump))
        });
        cores.take(MOST).collect()
    }

    async fn keep(&self, path: &Path, dump: &Dump, origin: Option<&dyn Origin>) {
        let dir = self.dir.join("autopsy");
        if std::fs::create_dir_all(&dir).is_err() {
            return;
        }
        let name = format!("core-{}", dump.pid);
        let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
        let mut text = format!(
            "core of process {}, signal {}: {}\n",
            dump.pid, dump.signal, dump.command
        );
        let copies = tempfile::tempdir().ok();
        let root = match (origin, &copies) {
            (Some(origin), Some(copies)) => {
                fetch(origin, &dump.files, copies.path()).await;
                Some(copies.path())
            }
            (_, _) => None,
        };
        match backtrace(path, dump, root).await {
            Ok(stack) => {
                let _ = write!(text, "\n{stack}\n");
            }
            Err(cause) => {
                let _ = writeln!(text, "no native backtrace: {cause}");
            }
        }
        let is_kept = bytes <= KEPT_BYTES && moved(path, &dir.join(&name)).is_ok();
        if !is_kept {
            let _ = std::fs::remove_file(path);
            let _ = writeln!(text, "\nthe core itself, {bytes} bytes, was not kept");
        }
        let _ = std::fs::write(dir.join(format!("{name}.txt")), text);
    }
}

/// Copies the mapped files to below a directory, at the paths they had.
async fn fetch(origin: &dyn Origin, files: &[String], root: &Path) {
    for file in files {
        let to = root.join(file.trim_start_matches('/'));
        let made = to.parent().map(std::fs::create_dir_all);
        if made.is_some_and(|made| made.is_ok()) {
            origin.copy(file, &to).await;
        }
    }
}

/// The stacks of all threads. `root`: where the mapped files are, if not where they were.
async fn backtrace(core: &Path, dump: &Dump, root: Option<&Path>) -> Result<String, String> {
    let program = dump.files.first().map(|file| match root {
        Some(root) => root.join(file.trim_start_matches('/')),
        None => PathBuf::from(file),
    });
    let program = program.ok_or("it does not say what it ran")?;
    let sysroot = format!("set sysroot {}", root.unwrap_or(Path::new("/")).display());
    // Programs name libraries by other paths than those that were mapped, such as /lib for /usr/lib.
    let libraries: BTreeSet<String> = (root.into_iter())
        .flat_map(|root| {
            dump.files
                .iter()
                .map(move |file| root.join(file.trim_start_matches('/')))
        })
        .filter_map(|file| Some(file.parent()?.display().to_string()))
        .collect();
    let libraries = format!(
        "set solib-search-path {}",
        libraries.into_iter().collect::<Vec<_>>().join(":")
    );
    let mut gdb = Command::new("gdb");
    gdb.args([
        "--nx",
        "--batch",
        "-iex",
        "set auto-load off",
        "-iex",
        "set debuginfod enabled off",
        "-iex",
    ])
    .arg(sysroot)
    .args(["-iex", &libraries])
    .args(["-ex", "thread apply all bt 60"])
    .arg(&program)
    .arg(core);
    let mut stack = Command::new("eu-stack");
    stack.arg("--core").arg(core).arg("--executable").arg(&program);
    for mut tool in [gdb, stack] {
        let name = tool.as_std().get_program().to_string_lossy().into_owned();
        tool.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        return match tokio::time::timeout(LONGEST, tool.output()).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => Err(format!("failed to run `{name}`: {error}")),
            Err(_) => Err(format!("`{name}` took too long")),
            Ok(Ok(output)) => {
                let text = super::autopsy::native::frames(&String::from_utf8_lossy(&output.stdout));
                if text.contains('#') {
                    Ok(text)
                } else {
                    Err(format!("`{name}` found no frames"))
                }
            }
        };
    }
    Err("install gdb or elfutils on this machine".to_owned())
}

/// Moves a file, also to another file system.
fn moved(from: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::rename(from, to).is_err() {
        std::fs::copy(from, to)?;
        std::fs::remove_file(from)?;
    }
    Ok(())
}

/// Whether a file holds these bytes anywhere.
fn holds(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let finder = memchr::memmem::Finder::new(bytes);
    let mut piece = vec![0; 1 << 20];
    let mut kept = 0;
    loop {
        let read = file.read(&mut piece[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let filled = kept + read;
        if finder.find(&piece[..filled]).is_some() {
            return Ok(true);
        }
        // What may be the beginning of it is looked at again with what follows.
        kept = filled.min(bytes.len() - 1);
        piece.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pattern: &str, works_in: Option<&str>) -> Result<(String, String), String> {
        let mounts = [
            (PathBuf::from("/home/me/logs/run007"), "/reproduce-flaky/run".to_owned()),
            (PathBuf::from("/srv/crash"), "/var/crash".to_owned()),
        ];
        let view = View {
            works_in: works_in.map(Path::new),
            mounts: &mounts,
        };
        let place = Pattern::read(pattern).place(&view)?;
        Ok((place.dir.display().to_string(), place.begins))
    }

    #[test]
    fn a_pattern_is_followed_to_where_this_machine_has_the_core() {
        let found = |dir: &str, begins: &str| Ok((dir.to_owned(), begins.to_owned()));
        assert_eq!(place("core\n", Some("/suite")), found("/suite", "core"));
        assert_eq!(place("core.%e.%p", Some("/suite")), found("/suite", "core."));
        assert_eq!(place("cores/%p.core", Some("/suite")), found("/suite/cores", ""));
        assert_eq!(place("/var/crash/core-%p", None), found("/srv/crash/", "core-"));
        assert_eq!(
            place("/reproduce-flaky/run/core", None),
            found("/home/me/logs/run007/", "core")
        );
    }

    #[test]
    fn where_the_core_is_out_of_reach_the_words_say_what_to_set() {
        let pipe = place("|/usr/lib/systemd/systemd-coredump %P %u", Some("/suite")).unwrap_err();
        assert!(
            pipe.starts_with("the kernel hands cores to `/usr/lib/systemd/systemd-coredump`; ")
                && pipe.ends_with("sysctl -w kernel.core_pattern=core"),
            "{pipe}"
        );
        assert!(place("core", None).unwrap_err().contains("--workspace rw"));
        assert!(place("/cores/core", Some("/suite")).unwrap_err().contains("`/cores/`"));
    }

    #[test]
    fn a_mark_is_found_also_where_two_pieces_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core");
        for at in [0, (1 << 20) - 3, (2 << 20) - 6] {
            let mut bytes = vec![b'.'; at];
            bytes.extend_from_slice(b"A=run007\0tail");
            std::fs::write(&path, bytes).unwrap();
            assert!(holds(&path, b"A=run007\0").unwrap(), "{at}");
            assert!(!holds(&path, b"A=run008\0").unwrap());
        }
    }
}
