//! Flags of `gc`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `gc`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky gc --dry-run\n\nNext: reproduce-flaky status")]
pub struct Args {
    /// Where sweeps are.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    pub logs_dir: PathBuf,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}
