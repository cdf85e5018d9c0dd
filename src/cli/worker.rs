//! Flags of `worker`, which engines call.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `worker`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky worker logs/n4_fix8 --iteration 7\n\n\
    Exit code 0 for an answer, whatever it is; 75 if the world broke under the attempt; 143 if it was cut short.\n\
    Next: reproduce-flaky summary")]
pub struct Args {
    /// Directory of the sweep, on a disk that every machine sees.
    #[arg(value_name = "SWEEP")]
    pub sweep: PathBuf,
    /// Number of the iteration.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub iteration: u32,
}
