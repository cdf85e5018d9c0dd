//! Flags of `merge`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `merge`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky merge logs/n4_fix8 shard-*/logs/n4_fix8       shards with numbers of their own\n  \
    reproduce-flaky merge logs/n4_fix8 laptop/logs/n4_fix8 --renumber\n\n\
    Next: reproduce-flaky summary TARGET")]
pub struct Args {
    /// Directory of the sweep that takes them in; made if it is not there.
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
    /// Directories of the sweeps to copy from; they stay as they are.
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<PathBuf>,
    /// Give an iteration whose number is taken the next free one.
    #[arg(long)]
    pub renumber: bool,
    /// Say what would be copied, and copy nothing.
    #[arg(long)]
    pub dry_run: bool,
}
