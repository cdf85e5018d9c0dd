//! Flags of `cancel`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `cancel`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky cancel logs/n4_fix8\n\n\
    Next: reproduce-flaky summary, or the sweep's own command, which runs what is missing")]
pub struct Args {
    /// Directory of the sweep.
    #[arg(value_name = "SWEEP")]
    pub sweep: PathBuf,
}
