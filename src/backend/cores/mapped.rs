//! The files that a crashed process had mapped, gathered for a debugger.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use futures_util::future::BoxFuture;

use super::{Cores, dump};
use crate::run::RunDir;

/// Most mapped files that a debugger gets, and most bytes of those that are copied for it.
const FILES: usize = 500;
const COPIED: u64 = 1 << 30;

/// Where the files are that a process had mapped, if they are not this machine's: in a container.
pub(in crate::backend) trait Origin: Send + Sync {
    /// Copies a file of at most `most` bytes to a new file and returns its length; `None` where that cannot be done.
    fn copy<'a>(&'a self, path: &'a str, to: File, most: u64) -> BoxFuture<'a, Option<u64>>;
}

impl Cores {
    /// Puts the mapped files below a directory of our own, each in a directory of its own, its program first. The paths
    /// in a core are a session's words: they lead nowhere on this machine but to files that no session can have changed.
    pub(super) async fn fetch(&self, origin: Option<&dyn Origin>, files: &[String], root: &RunDir) -> Vec<PathBuf> {
        let mut left = COPIED;
        let mut found = Vec::new();
        for (number, file) in files.iter().take(FILES).enumerate() {
            let path = Path::new(file);
            let Some(name) = path
                .file_name()
                .and_then(|name| name.to_str())
                .filter(|name| is_plain(name))
            else {
                continue;
            };
            let Ok(dir) = root.make_dir(number.to_string(), 0o700) else {
                return found;
            };
            // A library of this machine is opened where it is, a copy where it was put.
            let library = if self.is_unchanged(path) {
                let linked = dir.link(path, name);
                linked.and_then(|()| RunDir::open(path.parent().unwrap_or(Path::new("/")))?.file(name))
            } else if let Some(origin) = origin
                && let Ok(to) = dir.new_file(name)
                && let Some(copied) = origin.copy(file, to, left).await
            {
                left -= copied;
                dir.file(name)
            } else {
                continue;
            };
            found.push(dir.path().join(name));
            let name = name.to_owned();
            let _ = tokio::task::spawn_blocking(move || name_as_asked(&mut library?, &name, &dir)).await;
        }
        found
    }

    fn is_unchanged(&self, path: &Path) -> bool {
        let is_straight = path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        is_straight && self.unchanged.iter().any(|dir| path.starts_with(dir)) && path.is_file()
    }
}

/// Programs ask for a library by the name that it has for itself, such as libc.so.6.
fn name_as_asked(library: &mut File, name: &str, dir: &RunDir) -> io::Result<()> {
    match dump::soname(library)? {
        Some(own) if own != name && is_plain(&own) => dir.link(Path::new(name), own),
        Some(_) | None => Ok(()),
    }
}

/// Whether a name can stand in a list of paths, and in none of a debugger's commands for anything else.
fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !name.starts_with(['.', '-']) && name.len() < 200 && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cores::tests::cores;

    /// An engine that has every file.
    struct Everything;

    impl Origin for Everything {
        fn copy<'a>(&'a self, path: &'a str, mut to: File, _: u64) -> BoxFuture<'a, Option<u64>> {
            io::Write::write_all(&mut to, path.as_bytes()).unwrap();
            Box::pin(std::future::ready(Some(1)))
        }
    }

    #[tokio::test]
    async fn no_name_in_a_core_leads_out_of_the_copies() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("a/b");
        std::fs::create_dir_all(&root).unwrap();
        let root = RunDir::open(&root).unwrap();
        let files = [
            "/../../../../../../../../x/y",
            "/workspace/libfault.so",
            "/..",
            "/lib/..",
            "/usr/../../etc/passwd",
            "/lib/set logging enabled on",
            "/lib/a:b",
            "/lib/-ex",
        ]
        .map(str::to_owned);
        let found = cores(base.path()).fetch(Some(&Everything), &files, &root).await;
        let below: Vec<String> = (found.iter())
            .map(|path| path.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(below, ["0/y", "1/libfault.so", "4/passwd"]);
        assert_eq!(
            std::fs::read_to_string(&found[2]).unwrap(),
            "/usr/../../etc/passwd",
            "the engine's, not ours"
        );
        assert_eq!(std::fs::read_dir(base.path().join("a")).unwrap().count(), 1);
    }
}
