//! Flags of the sweep, and how arms read them again with flags of their own.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as ClapArgs, FromArgMatches as _, ValueEnum};

use super::inherit::GivenFlags;
use super::retry::Retry;
use crate::cli::settings::{self, Settings};
use crate::cli::values::{LogsDir, parallelism, rate};
use crate::run::Keep;
use crate::spec::values::{duration, log_size, tag};
use crate::spec::{BackendKind, Container, EngineKind, EnvVar, Mode, Silence};
use crate::sweep::display::DisplayKind;
use crate::sweep::stop::Until;

/// The image where nobody names one: that of the script.
const DEFAULT_IMAGE: &str = "dynamo:latest-dev";

/// The flags of a sweep.
#[derive(Clone, Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "one field per switch of the command line")]
pub struct Args {
    /// Test files, directories and node ids, as pytest takes them; other arguments of pytest follow `--`.
    #[arg(value_name = "PATH", help_heading = "What runs")]
    pub paths: Vec<String>,
    /// How pytest runs: `serial`, N xdist workers, or as many as `pytest -n auto` or `-n logical` would start here.
    #[arg(
        short,
        long,
        default_value = "serial",
        value_name = "serial|N",
        value_parser = parallelism,
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
    #[arg(short, long, default_value = DEFAULT_IMAGE, help_heading = "What runs")]
    pub image: String,
    /// Test to run, repeatable; without one pytest looks for tests as always.
    #[arg(long, value_name = "ID", help_heading = "What runs")]
    pub pytest_nodeid: Vec<String>,
    /// Run these again: `errored`, `failed`, `all`, or numbers such as `3,7-9`; what is there is kept in .attempts.
    #[arg(long, value_name = "WHICH", help_heading = "What runs")]
    pub retry: Option<Retry>,
    /// Arguments handed to pytest as they are, after paths and node ids.
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
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "How")]
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
    /// Go on although `before`, or what the settings file opens to the sessions, is not what the sweep was begun with.
    #[arg(long, help_heading = "How")]
    pub accept_settings: bool,
    /// Print what would run, and start nothing.
    #[arg(long, help_heading = "How")]
    pub dry_run: bool,

    /// Where attempts execute.
    #[arg(long, default_value = "docker", value_name = "WHERE", help_heading = "Where")]
    pub backend: BackendKind,
    /// Who places iterations: this process; Slurm; or, with `list`, whatever runs `worker` on the numbers that are printed.
    #[arg(long, default_value = "here", value_name = "WHO", help_heading = "Where")]
    pub engine: EngineKind,
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
    #[arg(short = 'E', long, value_name = "NAME[=VALUE]", help_heading = "Where")]
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
    #[command(flatten)]
    pub container: Container,
    /// Run under the conditions of a recorded sweep, or those that `amplify` has shown there; flags given here win.
    #[arg(long, value_name = "SWEEP", help_heading = "Where")]
    pub condition_of: Option<PathBuf>,
    /// Requirements file installed beside pytest for `--image host`, into a cache of our own.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub host_requirements: Option<PathBuf>,
    /// Do not load the plugin that writes down each test as it starts and ends.
    #[arg(long, help_heading = "Where")]
    pub no_trail: bool,

    /// Signature file or folder instead of the built-in taxonomy.
    #[arg(long, value_name = "PATH", help_heading = "Results")]
    pub signatures: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Results")]
    pub logs: LogsDir,
    /// What stays of an iteration that passed.
    #[arg(long, default_value = "all", value_name = "WHICH", help_heading = "Results")]
    pub keep_logs: Keep,
    /// Let nobody else read what is recorded: the sweep's directory and each run's are the caller's alone (0700).
    #[arg(long, help_heading = "Results")]
    pub private: bool,
    /// Most that is kept of what an iteration prints: its head and its tail, with a line that says what is missing.
    #[arg(long, value_name = "SIZE", value_parser = log_size, help_heading = "Results")]
    pub max_log: Option<u64>,
    /// How progress is shown; `jsonl` is the event stream on stdout.
    #[arg(long, default_value = "auto", value_name = "HOW", help_heading = "Results")]
    pub progress: DisplayKind,
    /// Show only the end: the same as `--progress none`.
    #[arg(short, long, help_heading = "Results")]
    pub quiet: bool,
    /// Also show what the probe found and every attempt.
    #[arg(long, help_heading = "Results")]
    pub verbose: bool,
    /// Say at the end where the time of the start and of the end went.
    #[arg(long, hide = true)]
    pub timings: bool,

    /// The whole command line; arms are read from it with their own flags added.
    #[arg(skip)]
    pub(crate) said: Vec<OsString>,
    /// Whether nobody named an image: not on the command line, in the environment or in the settings file.
    #[arg(skip)]
    pub(crate) no_image_named: bool,
    /// Which flags stand on the command line.
    #[arg(skip)]
    pub(crate) given: GivenFlags,
}

/// The flags of a sweep as a command line of their own.
pub fn command() -> clap::Command {
    let command = clap::Command::new("reproduce-flaky").args_override_self(true);
    settings::with_variables(Args::augment_args(command))
}

impl Args {
    /// Iterations in flight: `-j`, or the chunks that would run side by side.
    pub fn jobs(&self) -> u32 {
        let Some(size) = self.chunk_size else {
            return self.jobs;
        };
        let chunks = (self.end.saturating_sub(self.start) + 1).div_ceil(size);
        self.chunk_parallel.unwrap_or(chunks).min(chunks).clamp(1, 1000)
    }

    /// Reads the flags of a sweep alone.
    pub fn read(argv: Vec<OsString>, settings: Option<&Settings>) -> Result<Args, clap::Error> {
        let mut command = command();
        if let Some(settings) = settings {
            command = settings.as_defaults(command);
        }
        let matches = command
            .try_get_matches_from(&argv)
            .map_err(|error| settings::naming_variable(error, &argv))?;
        Ok(Args::from_arg_matches(&matches)?.as_said(&matches, argv))
    }

    /// The flags as they were read from this command line.
    #[must_use]
    pub fn as_said(mut self, matches: &ArgMatches, argv: Vec<OsString>) -> Args {
        let is_default = |id| matches.value_source(id) == Some(ValueSource::DefaultValue);
        // `--jobs` beats a `chunk-size` of the settings file.
        if is_default("chunk_size") && !is_default("jobs") {
            self.chunk_size = None;
        }
        self.no_image_named = is_default("image") && self.image == DEFAULT_IMAGE;
        self.said = argv;
        self.given = GivenFlags::of(matches);
        self
    }

    /// The same command line with more flags, which win over those it has; node ids and pytest's arguments add up.
    pub fn with_flags(&self, flags: &[OsString], settings: Option<&Settings>) -> Result<Args, String> {
        let dashes = |words: &[OsString]| words.iter().position(|word| word == "--").unwrap_or(words.len());
        let (own, own_pytest) = flags.split_at(dashes(flags));
        let (said, pytest) = self.said.split_at(dashes(&self.said));
        let mut argv = [said, own].concat();
        argv.push("--".into());
        argv.extend(pytest.iter().skip(1).chain(own_pytest.iter().skip(1)).cloned());
        Args::read(argv, settings).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        })
    }

    pub fn range(&self) -> RangeInclusive<u32> {
        self.start..=self.end
    }

    /// How progress is shown, `--quiet` taken into account.
    pub fn display(&self) -> DisplayKind {
        if self.quiet { DisplayKind::None } else { self.progress }
    }
}

/// `--on-hang`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnHang {
    /// The session is ended.
    End,
    /// The container goes on running for `--keep-for`.
    Keep,
}

/// `--stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stop {
    /// When every later arm is shown to differ from the first one, however often one looks.
    Decided,
}
