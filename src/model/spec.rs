//! What a sweep runs, frozen as `sweep.json` when it is first used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Mode;

/// Where an attempt executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// A container on any socket that speaks Docker's API.
    #[default]
    Docker,
    /// A process group on this machine.
    Local,
}

impl BackendKind {
    /// The word used in files and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BackendKind::Docker => "docker",
            BackendKind::Local => "local",
        }
    }
}

/// What a container sees of the directory the sweep was started in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// The directory itself, writable: what one iteration writes the next one sees.
    #[default]
    Rw,
    /// The directory itself, read-only.
    Ro,
    /// The same pristine tree every time; what an iteration writes there is discarded.
    Fresh,
}

/// A variable of the session. The value is kept only if it was given on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value; `None` passes the caller's own on, if the caller has one, and never stores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// When an iteration is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Longest wall time of an iteration, in seconds.
    pub total_s: f64,
    /// Longest time without a byte of output, in seconds; `None` never ends a quiet one.
    #[serde(default)]
    pub silence_s: Option<f64>,
    /// Whether that time is learned from the iterations that passed.
    #[serde(default)]
    pub silence_auto: bool,
    /// How long a session that hung is left running, in seconds; `None` ends it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<f64>,
    /// Time between TERM and KILL, in seconds.
    #[serde(default = "default_grace")]
    pub grace_s: f64,
}

fn default_grace() -> f64 {
    10.0
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            total_s: 660.0,
            silence_s: None,
            silence_auto: false,
            keep_s: None,
            grace_s: default_grace(),
        }
    }
}

impl Deadlines {
    /// Longest wall time of an iteration.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_secs_f64(self.total_s)
    }

    /// Longest time without a byte of output.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.silence_s.map(Duration::from_secs_f64)
    }

    /// The same, with no more than this between TERM and KILL.
    #[must_use]
    pub fn with_grace_below(self, most: Duration) -> Deadlines {
        Deadlines {
            grace_s: self.grace_s.min(most.as_secs_f64()),
            ..self
        }
    }

    /// How long a session that hung is left running.
    #[must_use]
    pub fn keep(&self) -> Option<Duration> {
        self.keep_s.map(Duration::from_secs_f64)
    }

    /// Time between TERM and KILL.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace_s)
    }
}

/// A part of the container recipe that `--without` turns off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The init process that forwards signals and reports how pytest really ended.
    Init,
    /// `--shm-size`, 10 GiB.
    ShmSize,
    /// memlock, stack and nofile limits.
    Ulimits,
    /// `CI`, `COLUMNS`, `PYTHONFAULTHANDLER`, `RUST_BACKTRACE`, `PYTHONUNBUFFERED`, `HF_HUB_OFFLINE`.
    Env,
    /// The caller's Hugging Face cache, read-only.
    HfCache,
    /// A private, empty /tmp.
    Tmp,
}

/// How the container of an iteration is made; DESIGN's recipe unless flags say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `-v`: `HOST:CONTAINER[:ro]`, as given.
    pub volumes: Vec<String>,
    /// `--network`; `None` is the engine's bridge.
    pub network: Option<String>,
    /// Size of /dev/shm in bytes; `None` is 10 GiB.
    pub shm_size: Option<u64>,
    /// `--ulimit NAME=SOFT[:HARD]`, as given, on top of the defaults.
    pub ulimits: Vec<String>,
    /// CPUs an iteration may use.
    pub cpus: Option<f64>,
    /// Memory an iteration may use, in bytes.
    pub memory: Option<u64>,
    /// `--gpus`: `all`, a count, or `device=…`.
    pub gpus: Option<String>,
    /// `--user`, as given.
    pub user: Option<String>,
    /// CPUs an iteration may run on, such as `0-1,3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Cores that are kept busy beside the iterations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<u32>,
    /// Whether cores of crashed processes are collected.
    pub cores: bool,
    /// What the container sees of `Spec::directory`.
    pub workspace: Workspace,
    /// Parts of the recipe that are turned off.
    pub without: Vec<Recipe>,
    /// Whether containers are started only when it is their turn. Changes nothing of what runs, so it is not kept.
    #[serde(skip)]
    pub no_prestart: bool,
}

impl Container {
    /// Whether a part of the recipe is in force.
    #[must_use]
    pub fn has(&self, part: Recipe) -> bool {
        !self.without.contains(&part)
    }

    /// Options by which a session reaches what is not its container's own, in words.
    #[must_use]
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

/// One configured series of iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Version of this layout, 1.
    pub format: u32,
    /// Version of the tool that wrote it.
    pub tool: String,
    /// When the sweep was first started.
    pub created_at: DateTime<Utc>,
    /// How pytest is run.
    pub mode: Mode,
    /// `--tag`.
    #[serde(default)]
    pub tag: Option<String>,
    /// First iteration asked for so far.
    pub first: u32,
    /// Last iteration asked for so far.
    pub last: u32,
    /// Iterations in flight in one process.
    pub jobs: u32,
    /// Where attempts execute.
    pub backend: BackendKind,
    /// Image as the user named it; empty for the local backend.
    pub image: String,
    /// Identity of what was found under that name when the sweep began.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Versions found by the probe: `python`, `pytest` and its plugins.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Node ids and arguments handed to pytest, in order.
    pub pytest_args: Vec<String>,
    /// Whether the trail plugin is loaded.
    #[serde(default = "yes")]
    pub trail: bool,
    /// Directory the sweep was started in: `/workspace` in the container.
    pub directory: PathBuf,
    /// Variables of the session beyond the recipe's.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Names passed on where the caller has them.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Name of the variable that tells tests where to write.
    pub output_env: String,
    /// Requirements file added to the host's toolchain.
    #[serde(default)]
    pub host_requirements: Option<PathBuf>,
    /// The container recipe.
    #[serde(default)]
    pub container: Container,
    /// When an iteration is ended from outside.
    pub deadlines: Deadlines,
    /// Most attempts at one iteration when the world breaks under them.
    pub max_attempts: u32,
    /// Its place among several arms that are run side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<ArmPlace>,
    /// What a worker on another machine needs besides; `None` where this process runs the iterations itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placing: Option<Placing>,
    /// Why the last process that worked on it stopped: `complete`, `interrupted`, a stop rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// What a worker needs besides what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placing {
    /// Who places the iterations: `slurm`.
    pub engine: String,
    /// Archive that holds the image, for nodes that do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tar: Option<PathBuf>,
    /// Address of the container engine, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_host: Option<String>,
    /// Signature file or folder instead of the built-in taxonomy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<PathBuf>,
    /// Whether of an iteration that passed only the facts stay.
    pub keeps_failed_only: bool,
}

/// A sweep's place among several arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmPlace {
    /// Name of this arm.
    pub name: String,
    /// Names of all of them, in the order given; the first is what the others are compared with.
    pub arms: Vec<String>,
    /// Draws the order of arms in each block.
    pub seed: u64,
}

fn yes() -> bool {
    true
}

/// One respect in which a resume would run something else than the sweep holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, as a noun: `image`, `pytest arguments`, `mode`.
    pub what: &'static str,
    /// What the sweep on disk was run with.
    pub recorded: String,
    /// What this call asks for.
    pub asked: String,
}

impl Spec {
    /// Name of the sweep's directory: `<mode>[_<tag>]`.
    #[must_use]
    pub fn dir_name(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}_{tag}", self.mode),
            None => self.mode.to_string(),
        }
    }

    /// The stop rule that ended it, in the words of its flag; `None` where it came to its end or was interrupted.
    #[must_use]
    pub fn stop_rule(&self) -> Option<&str> {
        let ended = self.ended.as_deref()?;
        let rules = ["until ", "max-failures ", "for ", "prove-below ", "decided"];
        rules.iter().any(|rule| ended.starts_with(rule)).then_some(ended)
    }

    /// Whether two sweeps are arms that were run side by side, block by block.
    #[must_use]
    pub fn is_interleaved_with(&self, other: &Spec) -> bool {
        match (&self.arm, &other.arm) {
            (Some(one), Some(two)) => one.name != two.name && one.arms == two.arms && one.seed == two.seed,
            (_, _) => false,
        }
    }

    /// In what respects `self` would run something else than `recorded` did. Names, deadlines, jobs and
    /// ranges may differ: they do not change what runs.
    #[must_use]
    pub fn differences(&self, recorded: &Spec) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what, recorded: String, asked: String| {
            if recorded != asked {
                found.push(Difference { what, recorded, asked });
            }
        };
        compare("mode", recorded.mode.to_string(), self.mode.to_string());
        compare(
            "backend",
            recorded.backend.as_str().to_owned(),
            self.backend.as_str().to_owned(),
        );
        if let (Some(old), Some(new)) = (&recorded.image_id, &self.image_id)
            && old != new
        {
            // The same name may have been built again in between; then the ids are what tells them apart.
            let same_name = recorded.image == self.image;
            let shown = |image: &str, id: &str| {
                if same_name {
                    format!("{image} ({})", short_id(id))
                } else {
                    image.to_owned()
                }
            };
            compare("image", shown(&recorded.image, old), shown(&self.image, new));
        } else if recorded.image_id.is_none() || self.image_id.is_none() {
            compare("image", recorded.image.clone(), self.image.clone());
        }
        compare(
            "pytest arguments",
            shell_words::join(&recorded.pytest_args),
            shell_words::join(&self.pytest_args),
        );
        found
    }
}

/// The first twelve hexadecimal digits of an id, as Docker shows it.
#[must_use]
pub fn short_id(id: &str) -> &str {
    let digits = id.rsplit_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}
