//! Flags of `classify`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

/// `classify`.
#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky classify build.log\n  reproduce-flaky classify --format json logs/n4_fix8\n  \
        reproduce-flaky classify --signatures my-rules/ --write logs/n4_fix8\n\nNext: reproduce-flaky summary"
)]
pub struct Args {
    /// Log files, directories of runs, or trees of them; the old script's trees too.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to print what each came to.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// Store the new judgement beside the facts of each run directory.
    #[arg(long)]
    pub write: bool,
}

/// How judgements are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line each.
    Text,
    /// A JSON object a line: the fields of outcome.json, and `path`.
    Json,
}
