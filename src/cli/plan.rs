//! Flags of `plan`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::figures::{Format, confidence, level, rate};

/// `plan`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky plan logs/serial                 how many clean runs would show a fix\n  \
    reproduce-flaky plan 2/75 --below 3%\n\n\
    Next: reproduce-flaky compare BASE NEW")]
pub struct Args {
    /// Directory of a sweep, or counts: 2 failed of 75 is `2/75`.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// Also say how far the counts are from showing that the rate is below this one, such as `3%`.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub below: Option<f64>,
    /// Chance of a wrong verdict that is accepted.
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
