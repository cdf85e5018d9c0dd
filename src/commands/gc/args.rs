//! Flags of `gc`.

use clap::Args as ClapArgs;

/// `gc`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky gc --dry-run\n\nNext: reproduce-flaky status")]
pub struct Args {
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}
