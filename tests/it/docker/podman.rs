//! The same promises on Podman.

use std::time::Instant;

use reproduce_flaky::backend::docker as engine;
use reproduce_flaky::spec::Workspace;

use crate::engine::{has, is_role, role};
use crate::place::{Need, root, skip};
use crate::sessions::{PATIENCE, Sweep, kill, read_until, run};

/// A Podman of our own, with its storage in a directory that goes away with it.
struct Podman {
    service: std::process::Child,
    dir: tempfile::TempDir,
}

impl Podman {
    fn start() -> Option<Podman> {
        if !root() {
            return None;
        }
        if !has("podman") || !has("runc") {
            skip(Need::Podman, "no podman with runc");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let service = Podman::command(dir.path())
            .args(["system", "service", "-t", "0"])
            .arg(format!("unix://{}", dir.path().join("podman.sock").display()))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let podman = Podman { service, dir };
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(podman.dir.path().join("podman.sock")).is_err() {
            assert!(Instant::now() < deadline, "podman's socket does not appear");
            std::thread::yield_now();
        }
        Some(podman)
    }

    fn command(dir: &std::path::Path) -> std::process::Command {
        let mut command = std::process::Command::new("podman");
        command
            .arg("--root")
            .arg(dir.join("root"))
            .arg("--runroot")
            .arg(dir.join("run"));
        command.args([
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ]);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = Podman::command(self.dir.path()).args(["rm", "-af"]).output();
        let _ = self.service.kill();
        let _ = self.service.wait();
        let _ = Podman::command(self.dir.path())
            .args(["system", "reset", "-f"])
            .output();
    }
}

#[tokio::test]
async fn podman_runs_sessions_too() {
    let Some(podman) = Podman::start() else { return };
    let socket = format!("unix://{}", podman.dir.path().join("podman.sock").display());
    let output = role("docker::podman::on_podman", &[("DOCKER_HOST", &socket)], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ALL WELL"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn on_podman() {
    if !is_role("docker::podman::on_podman") {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.write("test_one.py", "def test_one(): pass\n");
    let backend = sweep.open().await.unwrap();
    let probe = backend.probe().await.unwrap();
    assert!(probe.versions.contains_key("pytest-xdist"));
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-n", "2"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.contains("1 passed"), "{output}");
    assert_eq!(ended.code, Some(0));
    let attempt = sweep.python("import os; os.write(1, b'x' * 1_000_000); os.abort()");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.len() >= 1_000_000);
    assert_eq!((ended.code, ended.signal), (Some(134), Some(6)));
    let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "up").await;
    assert_eq!(kill(session).await.code, Some(137));
    backend.close().await;
    assert_eq!(engine::leftovers().await.unwrap(), []);
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = sweep.open().await.unwrap();
    for _ in 0..2 {
        let attempt = sweep.python("import os; print(os.path.exists('made')); open('made', 'w')");
        let (output, ended) = run(&*backend, &attempt).await.unwrap();
        assert_eq!((output.as_str(), ended.code), ("False\n", Some(0)));
    }
    backend.close().await;
    assert_eq!(engine::leftovers().await.unwrap(), []);
    println!("ALL WELL");
}
