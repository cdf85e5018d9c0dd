//! Whether a container engine answers here, and what is on it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether containers can be tested. Where no engine answers it says so past the test harness's capture, so that
/// nobody takes a skipped test for a passed one.
pub(crate) fn answers() -> bool {
    let socket = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let answers = match socket.strip_prefix("unix://") {
        Some(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        None => docker(&["version"]).is_some(),
    };
    if !answers {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped: no container engine answers: {test}");
    }
    answers
}

/// What `docker` prints, or nothing where it fails.
fn docker(words: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(words).stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Names of the containers of sweeps below `dir`, running or not, a line each.
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
        .map(|line| format!("{line}\n"))
        .collect()
}
