//! Flags of `status`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::words::duration;

/// `status`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky status\n  \
    reproduce-flaky status --follow\n  \
    reproduce-flaky status logs/n4_fix8 --format json\n\n\
    Next: reproduce-flaky summary on a sweep that has come far enough")]
pub struct Args {
    /// Sweeps, or trees of sweeps; without one, those below --logs-dir, and whatever else this machine runs.
    #[arg(value_name = "SWEEP")]
    pub sweeps: Vec<PathBuf>,
    /// Where sweeps are if none is named.
    #[arg(
        long,
        default_value = "logs",
        value_name = "DIR",
        env = "REPRODUCE_FLAKY_LOGS_DIR",
        hide_env = true
    )]
    pub logs_dir: PathBuf,
    /// Show it live: keys select a run, open its log or its evidence, and leave; leaving ends nothing. A pipe gets each
    /// state once.
    #[arg(short, long)]
    pub follow: bool,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_name = "D", value_parser = duration, requires = "follow")]
    pub interval: Duration,
    /// First change how many iterations run at once, of the one SWEEP named, where an engine places them.
    #[arg(long, value_name = "N", requires = "sweeps", conflicts_with = "follow", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub jobs: Option<u32>,
    /// What to print; with --follow, json is one object a line.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for a terminal.
    Text,
    /// One JSON object.
    Json,
}
