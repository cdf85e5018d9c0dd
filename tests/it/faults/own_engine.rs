//! An engine that a test may stop and start.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::HOST;
use crate::cli::Place;
use crate::engine::{daemon, docker, has, is_root};
use crate::place::skip;
use crate::sessions::PATIENCE;

/// An engine of this test's own, in a network of its own.
pub(super) struct Engine {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Engine {
    /// `None`, with the reason, where one cannot be started.
    pub(super) fn start() -> Option<Engine> {
        if !daemon() || !is_root() || !has("dockerd") || !has("unshare") {
            skip("an engine of one's own takes dockerd and root");
            return None;
        }
        let mut engine = Engine {
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        fs::write(engine.dir.path().join("daemon.json"), "{}").unwrap();
        engine.up().then_some(engine)
    }

    pub(super) fn address(&self) -> String {
        format!("unix://{}/engine.sock", self.dir.path().display())
    }

    fn answers(&self) -> bool {
        let mut command = Command::new("docker");
        command
            .args(["-H", &self.address(), "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// Without a network namespace of its own, a second daemon would take the bridge of the first one away.
    pub(super) fn up(&mut self) -> bool {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let storage = docker(&["info", "--format", "{{.Driver}}"]).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let daemon = Command::new("unshare")
            .args([
                "--net",
                "dockerd",
                "--config-file",
                &at("daemon.json"),
                "--data-root",
                &at("data"),
            ])
            .args([
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
                "-H",
                &self.address(),
            ])
            .args([
                "--bridge",
                "none",
                "--iptables=false",
                "--ip-masq=false",
                "--storage-driver",
                &storage,
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            let daemon = self.daemon.as_mut().unwrap();
            if daemon.try_wait().unwrap().is_some() || Instant::now() > until {
                skip(&fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Asks it to end, as a restart of the service does.
    pub(super) fn down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            daemon.wait().unwrap();
        }
    }

    pub(super) fn sweep(&self, place: &Place, flags: &[&str]) -> Command {
        let mut command = place.command(&[&HOST[..], &["--network", "none", "-e", "3"], flags].concat());
        command.env("DOCKER_HOST", self.address());
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.down();
        // What a daemon that ended in a hurry left mounted would keep its directory from being removed.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = self.dir.path().display().to_string();
        for mount in mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| at.starts_with(&below))
        {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}
