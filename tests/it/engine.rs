//! The container engine of this machine as the tests see it: through `docker`, apart from the code under test.

pub(crate) mod own;
pub(crate) mod proxy;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};

use crate::debian::Programs;
pub(crate) use crate::place::is_root;
use crate::place::{Need, skip};

/// Image made of Debian's packages; it stays on the engine, so that it is built once.
pub(crate) const DEBIAN: &str = "reproduce-flaky-it:debian-12";

/// Whether an engine answers; says so where none does.
pub(crate) fn daemon() -> bool {
    let answers = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !answers {
        skip(Need::Docker, "no container engine answers");
    }
    answers
}

/// Runs `docker` and returns what it printed; `None` if it failed.
pub(crate) fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Ids of the containers with a label, of whatever state.
pub(crate) fn containers(label: &str) -> Vec<String> {
    docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("label={label}")])
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Names of the containers of sweeps below a directory, of whatever state, a line each.
pub(crate) fn containers_of(dir: &Path) -> String {
    let format = "{{.Names}} {{.Label \"reproduce-flaky.sweep\"}}";
    let listed = docker(&[
        "ps",
        "-a",
        "--filter",
        "label=reproduce-flaky.sweep",
        "--format",
        format,
    ])
    .unwrap();
    let dir = dir.canonicalize().unwrap().display().to_string();
    listed
        .lines()
        .filter(|line| line.contains(&dir))
        .collect::<Vec<_>>()
        .join(
            "
",
        )
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether native stacks can be had: of processes that are not the caller's own, by root's debugger. Says so where not.
pub(crate) fn gdb() -> bool {
    if !has("gdb") {
        skip(Need::Gdb, "no gdb");
    } else if !is_root() {
        skip(Need::Root, "gdb is not root's");
    }
    has("gdb") && is_root()
}

/// Makes the Debian image unless the engine has it. `false`, with the reason, where it cannot be made.
pub(crate) fn debian() -> bool {
    static MADE: OnceLock<bool> = OnceLock::new();
    *MADE.get_or_init(|| {
        if docker(&["image", "inspect", DEBIAN]).is_some() {
            return true;
        }
        if !is_root() {
            skip(Need::Image, "no Debian image, and only root can make one");
            return false;
        }
        let Some(debootstrap) = Programs::of(Need::Image, &["debootstrap"], &["debootstrap"]) else {
            return false;
        };
        let _ = writeln!(std::io::stderr(), "building {DEBIAN} with debootstrap, once, about a minute");
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "{1} --variant=minbase --include=python3-pytest,python3-pytest-xdist,python3-pytest-timeout \
             bookworm {0} >{0}.log 2>&1 && tar -C {0} -c --exclude=./var/cache/apt --exclude=./var/lib/apt/lists . | \
             docker import -c 'ENV PYTHONPATH=/image/modules' -c 'ENV RUST_BACKTRACE=full' -c 'ENTRYPOINT [\"/bin/false\"]' - {DEBIAN}",
            dir.path().join("root").display(),
            debootstrap.path("debootstrap").display()
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .env("DEBOOTSTRAP_DIR", debootstrap.dir("usr/share/debootstrap"))
            .envs(debootstrap.environment())
            .output()
            .unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            skip(Need::Image, &format!("the Debian image could not be made: {said}"));
        }
        output.status.success()
    })
}

/// An image that only one test has, so that it may be taken away; it goes with the test.
pub(crate) struct OwnImage(String);

impl OwnImage {
    /// The Debian image once more, under an id of its own.
    pub(crate) fn copy(purpose: &str) -> OwnImage {
        let image = OwnImage::named(purpose);
        let container = docker(&["create", DEBIAN, "true"]).unwrap();
        docker(&["commit", &container, &image.0]).unwrap();
        docker(&["rm", &container]).unwrap();
        image
    }

    /// A name to make one under.
    pub(crate) fn named(purpose: &str) -> OwnImage {
        OwnImage(format!("reproduce-flaky-it:{purpose}-{}", std::process::id()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for OwnImage {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

/// Runs one test of this binary in a process of its own, as a role that another test gives it.
pub(crate) fn role(name: &str, environment: &[(&str, &str)], before: &[&str]) -> Output {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    role_command(name, environment, before).output().unwrap()
}

/// The command of [`role`], for those that must be killed.
pub(crate) fn role_command(name: &str, environment: &[(&str, &str)], before: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let words: Vec<&str> = before.iter().copied().chain([own]).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", "--nocapture", "--test-threads=1", name])
        .env("RF_IT_ROLE", name)
        .envs(environment.iter().copied());
    command
}

/// Whether this process was started for that role.
pub(crate) fn is_role(name: &str) -> bool {
    std::env::var("RF_IT_ROLE").is_ok_and(|role| role == name)
}
