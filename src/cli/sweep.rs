//! Flags of the sweep, the tool's main job.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::words::{Range, Retry, Silence, duration, env_var, memory, tag};
use crate::model::{BackendKind, EnvVar, Mode, Workspace, spec::Recipe, stop::Until};

/// Everything that can be said about a sweep.
#[derive(Clone, Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "one field per switch of the command line")]
pub struct Args {
    /// How pytest runs: `serial`, or N xdist workers.
    #[arg(
        short,
        long,
        default_value = "serial",
        value_name = "serial|N",
        help_heading = "What runs"
    )]
    pub parallelism: Mode,
    /// First iteration.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "What runs")]
    pub start: u32,
    /// Last iteration; iterations that are recorded already are skipped.
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "What runs")]
    pub end: u32,
    /// Name of the sweep, part of its directory's name.
    #[arg(short, long, visible_alias = "set", value_parser = tag, help_heading = "What runs")]
    pub tag: Option<String>,
    /// Image of the containers; `host` is a fresh container over this machine's own Python.
    #[arg(short, long, default_value = "dynamo:latest-dev", help_heading = "What runs")]
    pub image: String,
    /// Test to run, repeatable; without one pytest looks for tests as always.
    #[arg(long, value_name = "ID", help_heading = "What runs")]
    pub pytest_nodeid: Vec<String>,
    /// Run these again: `errored`, `failed`, `all`, or numbers such as `3,7-9`; what is there is kept in .attempts.
    #[arg(long, value_name = "WHICH", help_heading = "What runs")]
    pub retry: Option<Retry>,
    /// Arguments handed to pytest after the node ids.
    #[arg(last = true, value_name = "PYTEST-ARGS", help_heading = "What runs")]
    pub pytest_args: Vec<String>,

    /// Iterations in flight.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "How")]
    pub jobs: u32,
    /// Iterations in a chunk; each chunk is one more iteration in flight.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "jobs", help_heading = "How")]
    pub chunk_size: Option<u32>,
    /// Chunks in flight.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), requires = "chunk_size", help_heading = "How")]
    pub chunk_parallel: Option<u32>,
    /// Longest time an iteration may take before it is ended as a hang.
    #[arg(long, default_value = "660s", value_name = "D", value_parser = duration, help_heading = "How")]
    pub timeout: Duration,
    /// Longest time without any output before it is ended as a hang; `auto` learns it from the iterations that passed.
    #[arg(long, value_name = "D|auto", help_heading = "How")]
    pub silence: Option<Silence>,
    /// What becomes of an iteration that hangs, once it is known what it was doing: ended, or its container left running to be looked into.
    #[arg(long, default_value = "end", value_name = "WHAT", help_heading = "How")]
    pub on_hang: OnHang,
    /// How long the container of a hung iteration is left running.
    #[arg(long, default_value = "1h", value_name = "D", value_parser = duration, help_heading = "How")]
    pub keep_for: Duration,
    /// Time a session gets between TERM and KILL.
    #[arg(long, default_value = "10s", value_name = "D", value_parser = duration, help_heading = "How")]
    pub grace: Duration,
    /// Stop after this many failed iterations.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    pub max_failures: Option<u32>,
    /// Stop after one, or K, iterations of a category (`A4`) or an outcome (`hung`), repeatable.
    #[arg(long, value_name = "CLASS[=K]", help_heading = "How")]
    pub until: Vec<Until>,
    /// Stop when the failure rate is shown to be below this, such as `3%`; looking after each iteration is accounted for.
    #[arg(long, value_name = "RATE", value_parser = super::figures::rate, help_heading = "How")]
    pub prove_below: Option<f64>,
    /// Start nothing new after this time.
    #[arg(long, value_name = "D", value_parser = duration, help_heading = "How")]
    pub r#for: Option<Duration>,
    /// Attempts at one iteration when the engine, not a test, breaks it.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "How")]
    pub max_attempts: u32,
    /// Time that running iterations get to end after the first Ctrl-C.
    #[arg(long, default_value = "60s", value_name = "D", value_parser = duration, help_heading = "How")]
    pub cancel_grace: Duration,
    /// One of several arms, run side by side in blocks of one iteration each: a name, then the flags that differ.
    #[arg(long, value_name = "NAME FLAGS…", help_heading = "How")]
    pub arm: Vec<String>,
    /// Stop when the arms are shown to differ.
    #[arg(long, value_name = "WHEN", requires = "arm", help_heading = "How")]
    pub stop: Option<Stop>,
    /// Start each container only when it is its turn, instead of one ahead for each that runs, idle until then.
    #[arg(long, help_heading = "How")]
    pub no_prestart: bool,
    /// Print what would run, and start nothing.
    #[arg(long, help_heading = "How")]
    pub dry_run: bool,

    /// Where attempts execute.
    #[arg(long, default_value = "docker", value_name = "WHERE", help_heading = "Where")]
    pub backend: Backend,
    /// Who places iterations: this process; Slurm; or, with `list`, whatever runs `worker` on the numbers that are printed.
    #[arg(long, default_value = "here", value_name = "WHO", help_heading = "Where")]
    pub engine: Engine,
    /// Arguments for sbatch, repeatable, each with the words of a #SBATCH line: `--sbatch='--partition=main --mem=8G'`.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, help_heading = "Where")]
    pub sbatch: Vec<String>,
    /// Archive of the image, as `docker save` writes it, for nodes that do not have it.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub image_tar: Option<PathBuf>,
    /// Socket that speaks Docker's API, as in `DOCKER_HOST`.
    #[arg(long, value_name = "ADDRESS", help_heading = "Where")]
    pub docker_host: Option<String>,
    /// Go on although the engine cannot say what is still running: an iteration may then run twice, and is recorded once.
    #[arg(long, help_heading = "Where")]
    pub force: bool,
    /// Variable of the session; without a value the caller's own is passed on by name.
    #[arg(short = 'E', long, value_name = "NAME[=VALUE]", value_parser = env_var, help_heading = "Where")]
    pub env: Vec<EnvVar>,
    /// Variables that are passed on where the caller has them.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "HF_TOKEN,DYN_ROUTER_ENABLE_PREFIX_CACHE,DYN_ROUTER_PREFIX_CACHE_SIZE",
        help_heading = "Where"
    )]
    pub pass_env: Vec<String>,
    /// Variable that tells tests where to write their own logs.
    #[arg(
        long,
        default_value = "DYN_TEST_OUTPUT_PATH",
        value_name = "NAME",
        help_heading = "Where"
    )]
    pub output_env: String,
    /// Volume, as for `docker run`.
    #[arg(short = 'v', long, value_name = "HOST:CONTAINER[:ro]", help_heading = "Where")]
    pub volume: Vec<String>,
    /// Network of the containers; the engine's bridge without it.
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub network: Option<String>,
    /// Size of /dev/shm.
    #[arg(long, default_value = "10g", value_name = "SIZE", value_parser = memory, help_heading = "Where")]
    pub shm_size: u64,
    /// Limit, as for `docker run`, on top of memlock=-1, stack=67108864 and nofile=65536.
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Where")]
    pub ulimit: Vec<String>,
    /// CPUs an iteration may use.
    #[arg(long, value_name = "N", value_parser = super::words::cpus, help_heading = "Where")]
    pub cpus: Option<f64>,
    /// CPUs an iteration may run on, such as `0-1,3`.
    #[arg(long, value_name = "LIST", value_parser = super::words::cpuset, help_heading = "Where")]
    pub cpuset: Option<String>,
    /// Keep so many cores busy beside the iterations, for as long as the sweep runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Where")]
    pub noise: Option<u32>,
    /// Memory an iteration may use.
    #[arg(long, value_name = "SIZE", value_parser = memory, help_heading = "Where")]
    pub memory: Option<u64>,
    /// GPUs, as for `docker run`: `all`, a number, `device=0,1`.
    #[arg(long, value_name = "WHICH", help_heading = "Where")]
    pub gpus: Option<String>,
    /// User inside the containers.
    #[arg(long, value_name = "USER", help_heading = "Where")]
    pub user: Option<String>,
    /// Collect the core of a process that crashes, with its native backtrace, where the machine's `core_pattern` allows it.
    #[arg(long, help_heading = "Where")]
    pub cores: bool,
    /// What a container sees of this directory: itself, itself read-only, or a pristine copy whose changes are discarded.
    #[arg(long, default_value = "rw", value_name = "HOW", help_heading = "Where")]
    pub workspace: WorkspaceArg,
    /// Parts of the container recipe to leave out.
    #[arg(long, value_name = "PART", value_delimiter = ',', help_heading = "Where")]
    pub without: Vec<RecipeArg>,
    /// Requirements file installed beside pytest for `--image host`, into a cache of our own.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub host_requirements: Option<PathBuf>,
    /// Do not load the plugin that writes down each test as it starts and ends.
    #[arg(long, help_heading = "Where")]
    pub no_trail: bool,

    /// Signature file or folder instead of the built-in taxonomy.
    #[arg(long, value_name = "PATH", help_heading = "Results")]
    pub signatures: Option<PathBuf>,
    /// Where sweeps go.
    #[arg(long, default_value = "logs", value_name = "DIR", help_heading = "Results")]
    pub logs_dir: PathBuf,
    /// What stays of an iteration that passed.
    #[arg(long, default_value = "all", value_name = "WHICH", help_heading = "Results")]
    pub keep_logs: KeepLogs,
    /// Let nobody else read what is recorded: the sweep's directory and each run's are the caller's alone (0700).
    #[arg(long, help_heading = "Results")]
    pub private: bool,
    /// Most that is kept of what an iteration prints: its head and its tail, with a line that says what is missing.
    #[arg(long, value_name = "SIZE", value_parser = super::words::log_size, help_heading = "Results")]
    pub max_log: Option<u64>,
    /// How progress is shown; `jsonl` is the event stream on stdout.
    #[arg(long, default_value = "auto", value_name = "HOW", help_heading = "Results")]
    pub progress: Progress,
    /// Show only the end: the same as `--progress none`.
    #[arg(short, long, help_heading = "Results")]
    pub quiet: bool,
    /// Also show what the probe found and every attempt.
    #[arg(long, help_heading = "Results")]
    pub verbose: bool,

    /// The whole command line, settings file included; arms are read from it with their own flags added.
    #[arg(skip)]
    pub(super) said: Vec<OsString>,
}

impl Args {
    /// Iterations in flight: `-j`, or the chunks that would run side by side.
    #[must_use]
    pub fn jobs(&self) -> u32 {
        let Some(size) = self.chunk_size else {
            return self.jobs;
        };
        let chunks = (self.end.saturating_sub(self.start) + 1).div_ceil(size);
        self.chunk_parallel.unwrap_or(chunks).min(chunks).clamp(1, 1000)
    }

    /// The same command line with more flags, which win over those it has; node ids and pytest's arguments add up.
    ///
    /// # Errors
    /// The flags are wrong, in one line.
    pub fn with_flags(&self, flags: &[OsString]) -> Result<Args, String> {
        let dashes = |words: &[OsString]| words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (own, own_pytest) = flags.split_at(dashes(flags));
        let (said, pytest) = self.said.split_at(dashes(&self.said));
        let mut argv = [said, own].concat();
        argv.push("--".into());
        argv.extend(pytest.iter().skip(1).chain(own_pytest.iter().skip(1)).cloned());
        let cli = super::parse(argv, None).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        })?;
        Ok(cli.sweep)
    }

    /// The iterations asked for.
    #[must_use]
    pub fn range(&self) -> Range {
        Range {
            first: self.start,
            last: self.end,
        }
    }

    /// How progress is shown, `--quiet` taken into account.
    #[must_use]
    pub fn display(&self) -> Progress {
        if self.quiet { Progress::None } else { self.progress }
    }
}

/// `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Containers, on any socket that speaks Docker's API.
    Docker,
    /// Processes on this machine, without isolation.
    Local,
}

impl From<Backend> for BackendKind {
    fn from(backend: Backend) -> BackendKind {
        match backend {
            Backend::Docker => BackendKind::Docker,
            Backend::Local => BackendKind::Local,
        }
    }
}

/// `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// This process.
    Here,
    /// Slurm's job arrays.
    Slurm,
    /// Nobody yet: the iterations that are missing are printed, a line each.
    List,
}

/// `--workspace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkspaceArg {
    /// The directory itself, writable.
    Rw,
    /// The directory itself, read-only.
    Ro,
    /// The same pristine tree for every iteration.
    Fresh,
}

impl From<WorkspaceArg> for Workspace {
    fn from(workspace: WorkspaceArg) -> Workspace {
        match workspace {
            WorkspaceArg::Rw => Workspace::Rw,
            WorkspaceArg::Ro => Workspace::Ro,
            WorkspaceArg::Fresh => Workspace::Fresh,
        }
    }
}

/// `--on-hang`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnHang {
    /// It is ended.
    End,
    /// Its container goes on running for `--keep-for`.
    Keep,
}

/// `--without`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecipeArg {
    /// The init process.
    Init,
    /// The size of /dev/shm.
    ShmSize,
    /// The default limits.
    Ulimits,
    /// The default variables.
    Env,
    /// The Hugging Face cache.
    HfCache,
    /// The private /tmp.
    Tmp,
}

impl From<RecipeArg> for Recipe {
    fn from(part: RecipeArg) -> Recipe {
        match part {
            RecipeArg::Init => Recipe::Init,
            RecipeArg::ShmSize => Recipe::ShmSize,
            RecipeArg::Ulimits => Recipe::Ulimits,
            RecipeArg::Env => Recipe::Env,
            RecipeArg::HfCache => Recipe::HfCache,
            RecipeArg::Tmp => Recipe::Tmp,
        }
    }
}

/// `--stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stop {
    /// When every later arm is shown to differ from the first one, however often one looks.
    Decided,
}

/// `--keep-logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeepLogs {
    /// Everything.
    All,
    /// Of an iteration that passed, only the facts and the judgement.
    Failed,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// One line for each thing that happens.
    Plain,
    /// The event stream, on stdout.
    Jsonl,
    /// Nothing but the end.
    None,
}
