//! Flags of `history`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::figures::{Format, confidence};

/// `history`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky history logs\n  \
    reproduce-flaky history nights/2026-11-*/n4_night --format markdown\n\n\
    Next: reproduce-flaky compare on two of the nights")]
pub struct Args {
    /// Sweeps, or directories of sweeps; each sweep is a night, in the order of their starts.
    #[arg(value_name = "LOGS", required = true)]
    pub logs: Vec<PathBuf>,
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
