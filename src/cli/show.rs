//! Flags of `show`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::classify::Format;

/// `show`.
#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky show logs/n4_fix8/run098\n  reproduce-flaky show n4_fix8 98\n\n\
        Next: reproduce-flaky replay logs/n4_fix8/run098"
)]
pub struct Args {
    /// The run's directory or its log, or the name of a sweep followed by ITERATION.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Number of the iteration, where RUN is a sweep.
    pub iteration: Option<u32>,
    /// Where sweeps are.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    pub logs_dir: PathBuf,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}
