//! Flags of `export`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::status::Format;

/// `export`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky export logs/n4_fix8/run024 -o run024.tar.zst\n  \
    reproduce-flaky export logs/n4 logs/n4_fix8 -o both.tar.zst --redact 'customer-(\\w+)'\n\n\
    Next: reproduce-flaky import run024.tar.zst, wherever it was sent")]
pub struct Args {
    /// Directories of runs, sweeps, or trees of sweeps; names of sweeps below --logs-dir.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The bundle to write; one that is there stays as it is.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Where sweeps are.
    #[arg(
        long,
        default_value = "logs",
        value_name = "DIR",
        env = "REPRODUCE_FLAKY_LOGS_DIR",
        hide_env = true
    )]
    pub logs_dir: PathBuf,
    /// Something else that is secret: a regular expression, whose group is the secret if it has one; repeatable.
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to say what was done.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}
