//! Flags of `compare`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::figures::{confidence, level, limit};
use crate::model::comparison::Direction;

/// `compare`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky compare logs/serial logs/serial_fix8 --expect fewer\n  \
    reproduce-flaky compare 2/75 0/50\n  \
    reproduce-flaky compare logs/night_good logs/night --gate --gate-rate 10%\n\n\
    Exit code 0 unless a gate is closed, which is 3.\n\
    Next: reproduce-flaky plan BASE, or reproduce-flaky show on an iteration that failed")]
pub struct Args {
    /// Before: directory of a sweep, or counts such as `2/75`.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// Now: directory of a sweep, or counts.
    #[arg(value_name = "NEW")]
    pub new: String,
    /// Direction stated before the sweeps were run; only it is tested, at the whole level.
    #[arg(long, value_name = "DIRECTION")]
    pub expect: Option<Expect>,
    /// Exit with 3 if any class fails more than before.
    #[arg(long)]
    pub gate: bool,
    /// Exit with 3 if more than this share of the new iterations failed, whatever it was before.
    #[arg(long, value_name = "RATE", value_parser = limit)]
    pub gate_rate: Option<f64>,
    /// Chance of a wrong verdict that is accepted, over all classes together.
    #[arg(long, default_value = "0.05", value_name = "LEVEL", value_parser = level)]
    pub alpha: f64,
    /// Confidence of the intervals.
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence)]
    pub confidence: f64,
    /// File or folder of signatures instead of the built-in ones, for iterations that have no judgement yet.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// What `compare` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables.
    Text,
    /// One JSON object.
    Json,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
    /// Annotations of a GitHub job: new categories, what became more, a closed gate.
    Github,
}

/// `--expect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// The new one fails less often.
    Fewer,
    /// The new one fails more often.
    More,
}

impl From<Expect> for Direction {
    fn from(expect: Expect) -> Direction {
        match expect {
            Expect::Fewer => Direction::Fewer,
            Expect::More => Direction::More,
        }
    }
}
