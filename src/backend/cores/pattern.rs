//! Where this machine's kernel leaves cores, and where to look for those of a session.

use std::path::{Path, PathBuf};

use crate::proc;

/// Where the kernel says what becomes of cores.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// What becomes of cores on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Pattern {
    /// The kernel hands cores to this program.
    Pipe(String),
    /// Cores are written to the working directory of the process, under names with this beginning.
    Relative(String),
    /// Cores are written to this directory, as the process sees it, under names with this beginning.
    Absolute(PathBuf, String),
}

impl Pattern {
    pub(in crate::backend) fn current() -> Pattern {
        Pattern::read(&proc::first_line(PATTERN))
    }

    pub(super) fn read(text: &str) -> Pattern {
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
            Some(dir) => Pattern::Relative(format!("{dir}/{name}")),
            None => Pattern::Relative(name),
        }
    }

    /// Where on this machine to look, and how the names there begin.
    ///
    /// # Errors
    /// Why no core can be found, and what to set.
    pub(in crate::backend) fn dir(&self, view: &View<'_>) -> Result<CoreDir, String> {
        let set = "on the engine's machine: sysctl -w kernel.core_pattern=core";
        let split = |path: &Path, name: &str| match name.rsplit_once('/') {
            Some((below, name)) => CoreDir {
                dir: path.join(below),
                begins: name.to_owned(),
            },
            None => CoreDir {
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
pub(in crate::backend) struct View<'a> {
    /// The working directory, if it is a directory of this machine that stays.
    pub(in crate::backend) works_in: Option<&'a Path>,
    /// Directories of this machine, and where the session sees each.
    pub(in crate::backend) mounts: &'a [(PathBuf, String)],
}

/// A directory in which cores are looked for, and how their names begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct CoreDir {
    pub(super) dir: PathBuf,
    pub(super) begins: String,
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
        let place = Pattern::read(pattern).dir(&view)?;
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
}
