//! How the container of an iteration is made.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{cpus, cpuset, memory};
use super::words::words;
use super::{Perturbation, Starve};

words! {
    /// What a container sees of the directory the sweep was started in.
    #[derive(Default)]
    pub enum Workspace {
        /// The directory itself, writable.
        #[default]
        Rw = "rw",
        /// The directory itself, read-only.
        Ro = "ro",
        /// The same pristine tree for every iteration.
        Fresh = "fresh",
    }
}

words! {
    /// A part of the container recipe that `--without` turns off.
    pub enum Recipe {
        /// The init process.
        Init = "init",
        /// The size of /dev/shm.
        ShmSize = "shm-size",
        /// The default limits.
        Ulimits = "ulimits",
        /// The default variables.
        Env = "env",
        /// The Hugging Face cache.
        HfCache = "hf-cache",
        /// The private /tmp.
        Tmp = "tmp",
    }
}

/// How the container of an iteration is made. Each field is a flag of a sweep and is recorded as it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Args)]
#[serde(default)]
#[command(next_help_heading = "Where")]
pub struct Container {
    /// Volume, as for `docker run`.
    #[arg(short = 'v', long = "volume", value_name = "HOST:CONTAINER[:ro]")]
    pub volumes: Vec<String>,
    /// Network of the containers; the engine's bridge without it.
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Size of /dev/shm.
    // `None` in files of sweeps that were begun without this flag: 10 GiB.
    #[arg(long, default_value = "10g", value_name = "SIZE", value_parser = memory)]
    pub shm_size: Option<u64>,
    /// Limit, as for `docker run`, on top of memlock=-1, stack=67108864 and nofile=65536.
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<String>,
    /// Processes and threads an iteration may have at a time, 0 for any number; 16384 without it, and less where that of
    /// all jobs together would be more than half of what this machine can have.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=4_194_304))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u32>,
    /// CPUs an iteration may use.
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub cpus: Option<f64>,
    /// CPUs an iteration may run on, such as `0-1,3`.
    #[arg(long, value_name = "LIST", value_parser = cpuset)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Keep so many cores busy beside the iterations, for as long as the sweep runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<u32>,
    /// Condition under which every iteration runs, repeatable.
    // Only those that are no limit with a flag of its own are kept here (`Container::settled`).
    #[arg(long = "condition", value_name = "NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Perturbation>,
    /// Stop a thread or a process of the session, drawn at random or by name, for a while, again and again: at most so
    /// much of the time.
    #[arg(long, value_name = "SHARE[:NAME…]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starve: Option<Starve>,
    /// What every session draws by, where that is not the number of its iteration, as in a replay.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Memory an iteration may use.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// GPUs, as for `docker run`: `all`, a number, `device=0,1`, or CDI's names (`nvidia.com/gpu=all`).
    #[arg(long, value_name = "WHICH")]
    pub gpus: Option<String>,
    /// User inside the containers.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Collect the core of a process that crashes, with its native backtrace, where the machine's `core_pattern` allows it.
    #[arg(long)]
    pub cores: bool,
    /// What a container sees of this directory: itself, itself read-only, or a pristine copy whose changes are discarded.
    #[arg(long, default_value = "rw", value_name = "HOW")]
    pub workspace: Workspace,
    /// Parts of the container recipe to leave out.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Recipe>,
    /// Start each container only when it is its turn, instead of one ahead for each that runs, idle until then.
    // Changes nothing of what runs, so the sweep's file does not keep it.
    #[arg(long, help_heading = "How")]
    #[serde(skip)]
    pub no_prestart: bool,
}

impl Container {
    /// Whether a part of the recipe is in force.
    pub fn has(&self, part: Recipe) -> bool {
        !self.without.contains(&part)
    }

    /// Options by which a session reaches what is not its container's own, in words.
    pub fn holes(&self) -> Vec<String> {
        let mut holes = Vec::new();
        if self.network.as_deref() == Some("host") {
            holes.push("the network is this machine's (--network host)".to_owned());
        }
        for volume in &self.volumes {
            let source = volume.split(':').next().unwrap_or_default();
            if source.ends_with("docker.sock") || source.ends_with("podman.sock") {
                holes.push(format!("`{source}` can start any container (--volume)"));
            } else if matches!(source.trim_end_matches('/'), "" | "/proc" | "/sys" | "/dev") && source.starts_with('/')
            {
                holes.push(format!("`{source}` is all of this machine (--volume)"));
            }
        }
        holes
    }
}
