//! A container engine of our own, for machines that run none: Podman's service, for as long as somebody holds it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::BackendError;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(30);

/// A service that runs until it is dropped.
#[derive(Debug)]
pub struct PodmanService {
    child: Child,
    address: String,
    _dir: TempDir,
}

impl PodmanService {
    /// Starts one; `None` where there is no Podman.
    ///
    /// # Errors
    /// It is there and does not come up.
    pub async fn start() -> Result<Option<PodmanService>, BackendError> {
        let failed = |cause: String| BackendError::Refused {
            verb: "start `podman system service`".to_owned(),
            cause,
        };
        let dir = tempfile::Builder::new()
            .prefix("reproduce-flaky-podman-")
            .tempdir()
            .map_err(|error| failed(error.to_string()))?;
        let socket = dir.path().join("podman.sock");
        let address = format!("unix://{}", socket.display());
        let mut command = Command::new("podman");
        command
            .args(flags())
            .args(["system", "service", "--time=0", &address])
            // conmon leaves a file `oom` where it works when the memory limit kills.
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        // Batch systems often give none, and Podman without root wants one.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            command.env("XDG_RUNTIME_DIR", dir.path());
        }
        let mut child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed(error.to_string()))?,
        };
        let until = Instant::now() + START;
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(failed(format!("it ended with {status}")));
            }
            if Instant::now() > until {
                return Err(failed(format!("no answer within {} seconds", START.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(PodmanService {
            child,
            address,
            _dir: dir,
        }))
    }

    /// Where it answers, as in `DOCKER_HOST`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it.
    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
    }
}

/// What Podman's defaults take for granted and a bare machine does not have: systemd, which its control groups and its
/// log of events go through, and control groups of version 2, which its usual runtime needs.
fn flags() -> Vec<&'static str> {
    let mut flags = Vec::new();
    if !Path::new("/run/systemd/system").exists() {
        flags.extend(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
    }
    let has_runc = ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/bin/runc"]
        .iter()
        .any(|path| Path::new(path).exists());
    if has_runc && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        flags.extend(["--runtime", "runc"]);
    }
    flags
}
