//! Places for tests that need more than a temporary directory, such as small and read-only disks, and the tool in one.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What tests need of the machine beside Rust and Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// An engine that speaks Docker's API.
    Docker,
    /// A second engine, started by the test.
    Dockerd,
    /// The engines of Debian 13.
    Engines,
    Podman,
    /// The Debian image that tests make once.
    Image,
    /// A registry of images, started by the test.
    Registry,
    Slurm,
    Browser,
    /// The checker of accessibility that runs in the browser.
    Axe,
    /// GNU parallel over a real ssh server.
    Parallel,
    Faketime,
    Tmux,
    Gdb,
    /// A Python module that reads YAML.
    Yaml,
    /// Programs of `PyPI`, fetched once.
    Pypi,
    /// File systems that a test mounts itself.
    Fuse,
    Root,
    /// Any user but root.
    User,
    /// A Python without pytest, for which the tool fetches one.
    Fetching,
}

const NEEDS: [(Need, &str); 19] = [
    (Need::Docker, "docker"),
    (Need::Dockerd, "dockerd"),
    (Need::Engines, "engines"),
    (Need::Podman, "podman"),
    (Need::Image, "image"),
    (Need::Registry, "registry"),
    (Need::Slurm, "slurm"),
    (Need::Browser, "browser"),
    (Need::Axe, "axe"),
    (Need::Parallel, "parallel"),
    (Need::Faketime, "faketime"),
    (Need::Tmux, "tmux"),
    (Need::Gdb, "gdb"),
    (Need::Yaml, "yaml"),
    (Need::Pypi, "pypi"),
    (Need::Fuse, "fuse"),
    (Need::Root, "root"),
    (Need::User, "user"),
    (Need::Fetching, "fetching"),
];

/// Says past the test harness's capture that a test did not run for want of something, so that nobody takes it for a
/// passed one.
///
/// # Panics
/// `RF_REQUIRE`, a list of words separated by commas, promises what is missing, or something that no test needs.
#[track_caller]
pub(crate) fn skip(need: Need, reason: &str) {
    let promised = std::env::var("RF_REQUIRE").unwrap_or_default();
    for word in promised.split(',').filter(|word| !word.is_empty()) {
        let known = NEEDS.iter().find(|(_, known)| *known == word);
        let (promised, _) = known.unwrap_or_else(|| panic!("no test needs the `{word}` of RF_REQUIRE"));
        assert!(*promised != need, "RF_REQUIRE promises `{word}`: {reason}");
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {reason}: {test}");
}

/// Whether tests that take long run too, as every night.
pub(crate) fn is_night() -> bool {
    std::env::var_os("REPRODUCE_FLAKY_LONG_TESTS").is_some()
}

/// Whether tests that take long run too; says so where they do not.
pub(crate) fn night() -> bool {
    if !is_night() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "skipped: runs with REPRODUCE_FLAKY_LONG_TESTS=1: {test}"
        );
    }
    is_night()
}

/// Whether tests run that are to have the machine to themselves; says so where they do not.
pub(crate) fn alone() -> bool {
    let is_alone = std::env::var("REPRODUCE_FLAKY_LONG_TESTS").is_ok_and(|value| value == "alone");
    if !is_alone {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "skipped: runs by itself with REPRODUCE_FLAKY_LONG_TESTS=alone: {test}"
        );
    }
    is_alone
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process may do everything; says so where it may not.
#[track_caller]
pub(crate) fn root() -> bool {
    if !is_root() {
        skip(Need::Root, "takes root");
    }
    is_root()
}

/// Runs the tool in a directory; its exit code and what it printed on both streams.
pub(crate) fn run(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let output = assert_cmd::Command::cargo_bin("reproduce-flaky")
        .unwrap()
        .current_dir(dir)
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A small disk in memory, unmounted when dropped.
pub(crate) struct Mount {
    at: tempfile::TempDir,
}

impl Mount {
    /// One of so many bytes; `None` where mounting is not allowed.
    pub(crate) fn tmpfs(size: &str) -> Option<Mount> {
        Mount::with(&format!("size={size}"))
    }

    /// One with room for so many files and directories, itself counted.
    pub(crate) fn of_files(number: u32) -> Option<Mount> {
        Mount::with(&format!("size=10m,nr_inodes={number}"))
    }

    fn with(options: &str) -> Option<Mount> {
        let at = tempfile::tempdir().unwrap();
        let options = format!("{options},mode=755");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], at.path()).then_some(Mount { at })
    }

    /// Makes room.
    pub(crate) fn grow(&self) {
        assert!(mount(&["-o", "remount,size=50m,nr_inodes=10000"], self.at.path()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }

    pub(crate) fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.at.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

fn mount(words: &[&str], at: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(words).arg(at).stdin(Stdio::null()).stderr(Stdio::null());
    is_root() && command.status().is_ok_and(|status| status.success())
}

/// Ends what a killed sweep left running in a directory: processes of this machine that work there.
pub(crate) fn end_processes_of(dir: &Path) {
    let dir = dir.canonicalize().unwrap();
    let own = std::process::id();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let works_there = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir));
        if works_there
            && u32::try_from(pid) != Ok(own)
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
