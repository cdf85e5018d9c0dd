//! An engine that a test may stop and start: the machine's own program once more, or one that the machine has not.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::Place;
use crate::debian::Programs;
use crate::engine::{daemon, docker, has};
use crate::place::{Need, root, skip};
use crate::sessions::PATIENCE;

/// Packages of Debian 13 with its engines.
const PACKAGES: [&str; 8] = [
    "docker.io",
    "podman",
    "crun",
    "conmon",
    "netavark",
    "aardvark-dns",
    "catatonit",
    "fuse-overlayfs",
];

/// What of them an engine starts.
const PROGRAMS: [&str; 13] = [
    "usr/sbin/dockerd",
    "usr/sbin/docker-proxy",
    "usr/bin/docker-init",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/sbin/runc",
    "usr/bin/podman",
    "usr/bin/crun",
    "usr/bin/conmon",
    "usr/bin/catatonit",
    "usr/bin/fuse-overlayfs",
    "usr/lib/podman/netavark",
    "usr/lib/podman/aardvark-dns",
];

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The machine's `dockerd`, without a network.
    Machines,
    Docker,
    Podman,
}

/// An engine of this test's own, in a network of its own.
pub(crate) struct Engine {
    kind: Kind,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    path: Option<OsString>,
    flags: Vec<String>,
}

impl Engine {
    /// `None`, with the reason, where one cannot be started.
    pub(crate) fn start() -> Option<Engine> {
        Engine::start_with(|_| Vec::new())
    }

    /// The same with flags of its own, made from its directory, where files that they name can be put.
    pub(crate) fn start_with(flags: impl Fn(&Path) -> Vec<String>) -> Option<Engine> {
        if !daemon() || !root() {
            return None;
        }
        if !has("dockerd") || !has("unshare") {
            skip(Need::Dockerd, "no dockerd");
            return None;
        }
        Engine::of(Kind::Machines, None, flags)
    }

    /// Debian 13's Docker.
    pub(crate) fn docker() -> Option<Engine> {
        Engine::newer(Kind::Docker)
    }

    /// Debian 13's Podman, as root's service.
    pub(crate) fn podman() -> Option<Engine> {
        Engine::newer(Kind::Podman)
    }

    fn newer(kind: Kind) -> Option<Engine> {
        if !daemon() || !root() {
            return None;
        }
        let programs = Programs::of_trixie(Need::Engines, &PACKAGES, &PROGRAMS, None)?;
        Engine::of(kind, Some(&programs), |_| Vec::new())
    }

    fn of(kind: Kind, programs: Option<&Programs>, flags: impl Fn(&Path) -> Vec<String>) -> Option<Engine> {
        let dir = tempfile::tempdir().unwrap();
        let environment = programs.map(Programs::environment).unwrap_or_default();
        let mut engine = Engine {
            kind,
            flags: flags(dir.path()),
            dir,
            daemon: None,
            path: environment
                .into_iter()
                .find(|(name, _)| *name == "PATH")
                .map(|(_, path)| path),
        };
        fs::write(engine.file("daemon.json"), "{}").unwrap();
        if engine.is_podman() {
            engine.configure_podman(&programs?.dir("programs"));
        }
        engine.up().then_some(engine)
    }

    /// What Podman reads: nothing of the machine's own, and what its defaults take for granted.
    fn configure_podman(&self, programs: &Path) {
        let (programs, at) = (programs.display(), self.dir.path().display());
        // crun refuses a machine whose control groups are of version 1 with those of version 2 beside them.
        let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let runtime = if is_v2 { "crun" } else { "runc" };
        let containers = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"{runtime}\"\n\
             helper_binaries_dir = [\"{programs}\"]\nconmon_path = [\"{programs}/conmon\"]\n\
             init_path = \"{programs}/catatonit\"\n[engine.runtimes]\n{runtime} = [\"{programs}/{runtime}\"]\n"
        );
        fs::write(self.file("containers.conf"), containers).unwrap();
        let storage = format!("[storage]\ndriver = \"overlay\"\ngraphroot = \"{at}/data\"\nrunroot = \"{at}/exec\"\n");
        fs::write(self.file("storage.conf"), storage).unwrap();
        fs::create_dir_all(self.file(".config/containers")).unwrap();
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        fs::write(self.file(".config/containers/policy.json"), policy).unwrap();
    }

    fn is_podman(&self) -> bool {
        self.kind == Kind::Podman
    }

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.file("engine.sock").display())
    }

    /// A program that takes it for the machine's engine.
    pub(crate) fn run(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", self.address());
        // Its own programs are found before the machine's.
        command.envs(self.path.iter().map(|path| ("PATH", path)));
        command
    }

    fn answers(&self) -> bool {
        let mut command = Command::new("docker");
        command
            .args(["-H", &self.address(), "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        UnixStream::connect(self.file("engine.sock")).is_ok() && command.status().unwrap().success()
    }

    /// Without a network namespace of its own, a second daemon would take the bridge of the first one away.
    pub(crate) fn up(&mut self) -> bool {
        let log = fs::File::options().append(true).create(true).open(self.file("log"));
        let log = log.unwrap();
        let daemon = self
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            let daemon = self.daemon.as_mut().unwrap();
            if daemon.try_wait().unwrap().is_some() || Instant::now() > until {
                let said = fs::read_to_string(self.file("log")).unwrap_or_default();
                skip(
                    if self.kind == Kind::Machines {
                        Need::Dockerd
                    } else {
                        Need::Engines
                    },
                    &said,
                );
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
        // Podman's monitor of a container leaves a file where it works.
        command.current_dir(self.dir.path());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        if self.is_podman() {
            command
                .args(["podman", "system", "service", "-t", "0", &self.address()])
                .envs(self.podmans());
            return command;
        }
        command.arg("dockerd");
        for (flag, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(flag).arg(self.file(name));
        }
        command.args(["-H", &self.address()]);
        if self.kind == Kind::Machines {
            let storage = docker(&["info", "--format", "{{.Driver}}"]).unwrap();
            command.args(["--bridge", "none", "--iptables=false", "--ip-masq=false"]);
            command.args(["--storage-driver", &storage]);
        }
        command.args(&self.flags);
        command
    }

    /// What Podman needs in its environment to read what was written for it.
    fn podmans(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("HOME", self.file("")),
            ("CONTAINERS_CONF", self.file("containers.conf")),
            ("CONTAINERS_STORAGE_CONF", self.file("storage.conf")),
            ("PODMAN_IGNORE_CGROUPSV1_WARNING", "1".into()),
        ]
    }

    /// How it is, and what it said last.
    pub(crate) fn account(&mut self) -> String {
        let is = match self.daemon.as_mut().map(|daemon| daemon.try_wait().unwrap()) {
            Some(None) => "runs".to_owned(),
            Some(Some(status)) => format!("has ended: {status}"),
            None => "is not started".to_owned(),
        };
        let said = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(100)..].join("\n");
        format!("the engine {is}, and said last:\n{last}")
    }

    /// Stops it where it is.
    pub(crate) fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let daemon = self.daemon.as_ref().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(daemon), signal).unwrap();
    }

    /// Asks it to end, as a restart of the service does.
    pub(crate) fn down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            daemon.wait().unwrap();
        }
    }

    /// The same command in its network.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net=/proc/{}/ns/net", self.daemon.as_ref().unwrap().id()))
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        inside
    }

    /// A sweep of three iterations on it.
    pub(crate) fn sweep(&self, place: &Place, flags: &[&str]) -> Command {
        let host = ["--image", "host", "--progress", "none", "--network", "none", "-e", "3"];
        let mut command = place.command(&[&host[..], flags].concat());
        command.env("DOCKER_HOST", self.address());
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.is_podman() {
            // Its containers outlive the service.
            let mut podman = self.run(Path::new("podman"));
            podman
                .args(["rm", "-af", "-t", "0"])
                .envs(self.podmans())
                .env_remove("DOCKER_HOST");
            let _ = podman.output();
        }
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
