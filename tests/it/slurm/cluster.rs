//! A throw-away Slurm: its own munge, a controller and three nodes, all state in one directory, all on 127.0.0.1.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cli::{Ran, search_path, until};
use crate::debian::Programs;
use crate::place::{Need, is_root, skip};
use crate::shared::Shared;

/// Set where the Slurm of Debian 13 is meant.
pub(crate) const NEWER: &str = "RF_IT_NEWER_SLURM";

const PACKAGES: [&str; 3] = ["slurm-wlm", "slurm-wlm-basic-plugins", "munge"];

/// What the tool, the tests and Slurm itself call, in Debian 13's packages.
const PROGRAMS: [&str; 10] = [
    "usr/sbin/slurmctld-wlm",
    "usr/sbin/slurmd-wlm",
    "usr/sbin/slurmstepd-wlm",
    "usr/sbin/munged",
    "usr/bin/sbatch",
    "usr/bin/scancel",
    "usr/bin/scontrol",
    "usr/bin/sinfo",
    "usr/bin/squeue",
    "usr/bin/srun",
];

/// The Slurm of Debian 13; `None`, with the reason, where it is not to be had.
pub(crate) fn newer() -> Option<Programs> {
    Programs::of_trixie(Need::Slurm, &PACKAGES, &PROGRAMS, Some("slurm-wlm"))
}

/// A cluster that ends when it is dropped.
pub(super) struct Cluster {
    dir: TempDir,
    programs: Programs,
}

impl Cluster {
    /// One for all tests that only run sweeps on it, with room for all of them.
    pub(super) fn shared() -> Option<Arc<Cluster>> {
        static CLUSTER: Shared<Cluster> = Shared::new();
        CLUSTER.get(|| Cluster::start_of(16, ""))
    }

    /// Starts one with nodes n1 to n3 of two processors each; `None`, with the reason, where Slurm is not to be had.
    pub(super) fn start() -> Option<Cluster> {
        Cluster::start_with("")
    }

    /// Starts one with more lines of configuration.
    pub(super) fn start_with(more: &str) -> Option<Cluster> {
        Cluster::start_of(2, more)
    }

    /// Starts one with so many processors on each node, as Slurm is told.
    fn start_of(processors: u32, more: &str) -> Option<Cluster> {
        if !is_root() {
            skip(Need::Root, "only root can be several nodes of Slurm");
            return None;
        }
        let programs = if std::env::var_os(NEWER).is_some() {
            newer()?
        } else {
            let daemons = ["slurmctld", "slurmd", "slurmstepd", "munged", "sbatch"];
            Programs::of(Need::Slurm, &daemons, &PACKAGES)?
        };
        let cluster = Cluster {
            dir: tempfile::Builder::new().prefix("rf-slurm-").tempdir().unwrap(),
            programs,
        };
        for name in ["run", "log", "state"] {
            fs::create_dir(cluster.path(name)).unwrap();
        }
        cluster.start_munge();
        let ports = free_ports();
        let plugins = format!("usr/lib/{}-linux-gnu/slurm-wlm", std::env::consts::ARCH);
        let plugins = cluster.programs.dir(&plugins);
        let text = configuration(cluster.dir.path(), &plugins, &ports, processors) + more;
        fs::write(cluster.conf(), text).unwrap();
        // Newer ones look for control groups unless they are told of none, which older ones do not know.
        if std::env::var_os(NEWER).is_some() {
            fs::write(cluster.path("cgroup.conf"), "CgroupPlugin=disabled\n").unwrap();
        }
        let started = cluster.call("slurmctld", &["-f", &cluster.conf()]).status();
        assert!(started.unwrap().success());
        for node in ["n1", "n2", "n3"] {
            cluster.start_node(node);
        }
        until("three idle nodes", || {
            cluster
                .ask("sinfo", &["-h", "-N", "-p", "main", "-t", "idle", "-o", "%N"])
                .lines()
                .count()
                == 3
        });
        Some(cluster)
    }

    fn start_munge(&self) {
        use std::os::unix::fs::OpenOptionsExt;
        let mut key = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path("munge.key"))
            .unwrap();
        let mut random = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), 1024);
        std::io::copy(&mut random, &mut key).unwrap();
        let file = |option: &str, name: &str| format!("--{option}={}", self.path(name).display());
        let status = Command::new(self.programs.path("munged"))
            .envs(self.environment())
            .arg("--force")
            .args([
                file("key-file", "munge.key"),
                file("socket", "run/munge.sock"),
                file("pid-file", "run/munged.pid"),
                file("log-file", "log/munged.log"),
                file("seed-file", "state/munge.seed"),
            ])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its configuration, which is how every program of it is told from those of other clusters.
    pub(super) fn conf(&self) -> String {
        self.path("slurm.conf").display().to_string()
    }

    /// What a program needs in its environment to find this cluster.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = self.programs.environment();
        environment.push(("SLURM_CONF", self.conf().into()));
        environment
    }

    /// PATH with a directory before this cluster's programs.
    pub(super) fn path_behind(&self, dir: &Path) -> OsString {
        let own = self.environment().into_iter().find(|(name, _)| *name == "PATH");
        let own = own.map_or_else(|| search_path().to_owned(), |(_, path)| path);
        std::env::join_paths([dir.to_owned()].into_iter().chain(std::env::split_paths(&own))).unwrap()
    }

    pub(super) fn start_node(&self, node: &str) {
        let stepd = self.programs.path("slurmstepd").display().to_string();
        let words = ["-N", node, "-f", &self.conf(), "-d", &stepd];
        assert!(self.call("slurmd", &words).status().unwrap().success());
    }

    /// A program that talks to this cluster.
    pub(super) fn call(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path(program));
        command
            .args(arguments)
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// What a program says; nothing where it fails.
    pub(super) fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.call(program, arguments).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The running tasks as (index, node).
    pub(super) fn running(&self) -> Vec<(u32, String)> {
        let said = self.ask("squeue", &["-h", "-r", "-t", "RUNNING", "-o", "%K %N"]);
        let tasks = said.lines().filter_map(|line| {
            let (index, node) = line.trim().split_once(' ')?;
            Some((index.parse().ok()?, node.to_owned()))
        });
        tasks.collect()
    }

    /// Ends a node's daemon only: its tasks live on, as after a network split.
    pub(super) fn cut_off(&self, node: &str) {
        let pid = fs::read_to_string(self.path(&format!("run/{node}.pid"))).unwrap();
        kill(&pid, Signal::KILL);
    }

    /// A power cut: the node's daemons and everything they started.
    pub(super) fn power_off(&self, node: &str) {
        self.cut_off(node);
        let marks = [format!("SLURMD_NODENAME={node}"), format!("SLURM_CONF={}", self.conf())];
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(environment) = fs::read(process.path().join("environ")) else {
                continue;
            };
            let has = |mark: &String| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == mark.as_bytes())
            };
            if !marks.iter().all(has) {
                continue;
            }
            // The daemon of the step watches over the task, and would tell the controller of its end.
            let parent = fs::read_to_string(process.path().join("stat"))
                .ok()
                .and_then(|stat| Some(stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned()));
            if let Some(parent) = parent
                && fs::read_to_string(format!("/proc/{parent}/cmdline")).is_ok_and(|words| words.contains("slurmstepd"))
            {
                kill(&parent, Signal::KILL);
            }
            kill(&process.file_name().to_string_lossy(), Signal::KILL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ask("scancel", &["--user=root"]);
        for node in ["n1", "n2", "n3"] {
            if self.path(&format!("run/{node}.pid")).exists() {
                self.power_off(node);
            }
        }
        for daemon in ["slurmctld", "munged"] {
            if let Ok(pid) = fs::read_to_string(self.path(&format!("run/{daemon}.pid"))) {
                kill(&pid, Signal::KILL);
            }
        }
    }
}

/// Ports that nobody listened on a moment ago: of the controller, then of each node.
fn free_ports() -> Vec<u16> {
    let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|port| port.local_addr().unwrap().port()).collect()
}

fn kill(pid: &str, signal: Signal) {
    if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Debian's daemon runs several nodes on one machine. Without control groups, so that it needs no systemd. The life of a
/// credential is what a requeued job waits for: five seconds instead of two minutes. A job goes to the node with the least
/// to do (LLN), so that jobs of one sweep are on several nodes however many processors a node has.
fn configuration(dir: &Path, plugins: &Path, ports: &[u16], processors: u32) -> String {
    let (dir, plugins) = (dir.display(), plugins.display());
    let nodes: Vec<String> = (1..=3)
        .map(|node| {
            format!(
                "NodeName=n{node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={} CPUs={processors} RealMemory={} State=UNKNOWN",
                ports[node],
                1000 * processors
            )
        })
        .collect();
    format!(
        "ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/run/munge.sock,cred_expire=5
CredType=cred/munge
PluginDir={plugins}
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/state/%n
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/%n.pid
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/%n.log
MaxJobCount=10000
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=2
JobRequeue=1
KillWait=5
SlurmdTimeout=10
MinJobAge=300
ReturnToService=0
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SwitchType=switch/none
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
{nodes}
PartitionName=main Nodes=n[1-3] Default=YES LLN=YES MaxTime=INFINITE State=UP
",
        port = ports[0],
        nodes = nodes.join("\n"),
    )
}

/// What a command of the tool, started apart, came to.
pub(super) fn ran(child: std::process::Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}
