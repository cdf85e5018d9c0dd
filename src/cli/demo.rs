//! Flags of `demo`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::sweep::{Backend, Progress};

/// `demo`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky demo\n\nNext: reproduce-flaky summary on the directory it names")]
pub struct Args {
    /// Where to put the suite and its sweeps; a new directory below the system's temporary one without it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where attempts execute; containers where a daemon answers, else this machine.
    #[arg(long, value_name = "WHERE")]
    pub backend: Option<Backend>,
    /// How progress is shown.
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
}
