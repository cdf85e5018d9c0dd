//! Flags of `import`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::status::Format;
use super::words::memory;

/// `import`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky import run024.tar.zst\n  \
    reproduce-flaky import run024.tar.zst --logs-dir from-ci\n\n\
    Next: reproduce-flaky show on one of its runs")]
pub struct Args {
    /// What `export` wrote.
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Where its sweeps go; a run that is there stays as it is.
    #[arg(
        long,
        default_value = "logs",
        value_name = "DIR",
        env = "REPRODUCE_FLAKY_LOGS_DIR",
        hide_env = true
    )]
    pub logs_dir: PathBuf,
    /// Most bytes that it may have unpacked.
    #[arg(long, default_value = "20g", value_name = "SIZE", value_parser = memory)]
    pub max_size: u64,
    /// How to say what was done.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}
