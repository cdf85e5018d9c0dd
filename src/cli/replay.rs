//! Flags of `replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::words::duration;

/// `replay`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky replay logs/n4_fix8/run098             the tests of its worker again, ten times\n  \
    reproduce-flaky replay n4_fix8 98 --shrink -j 4        which of them does the failure need?\n  \
    reproduce-flaky replay n4_fix8 98 --shell              look around where it ran\n\n\
    Next: reproduce-flaky replay RUN --shrink, once it failed again")]
pub struct Args {
    /// The run's directory or its log, or the name of a sweep followed by ITERATION.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Number of the iteration, where RUN is a sweep.
    pub iteration: Option<u32>,
    /// Times the list is run.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
    /// Test to look at, where several failed; else the one a process died in, else the first of them.
    #[arg(long, value_name = "ID")]
    pub test: Option<String>,
    /// Look for a shorter list that still fails.
    #[arg(long)]
    pub shrink: bool,
    /// Most runs that looking for a shorter list may take, those of earlier calls included.
    #[arg(long, default_value_t = 300, value_name = "N", requires = "shrink", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_runs: u32,
    /// Open a shell where the run executed instead, in a fresh container.
    #[arg(long, conflicts_with = "shrink")]
    pub shell: bool,
    /// Runs in flight.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub jobs: u32,
    /// Longest time a run may take, instead of the sweep's.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Longest time without any output, instead of the sweep's.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub silence: Option<Duration>,
    /// Signature file or folder instead of the built-in taxonomy.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// Where sweeps are looked for that are named without a path.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    pub logs_dir: PathBuf,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// What `replay` prints on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words, and the tests in order.
    Text,
    /// One JSON object, on the last line.
    Json,
}
