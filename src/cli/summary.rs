//! Flags of `summary`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::figures::confidence;

/// `summary`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky summary\n  \
    reproduce-flaky summary logs/n4_fix8 --all\n  \
    reproduce-flaky summary logs --format markdown -o summary.md\n  \
    reproduce-flaky summary logs --format csv --table iterations\n  \
    reproduce-flaky summary logs/n4 logs/n4_fix8 --format html -o report.html\n\n\
    Next: reproduce-flaky compare BASE NEW, or reproduce-flaky plan BASE")]
pub struct Args {
    /// Sweeps, or trees of sweeps, those of the old script too; without one, all sweeps below --logs-dir.
    #[arg(value_name = "SWEEP")]
    pub sweeps: Vec<PathBuf>,
    /// Where sweeps are if none is named.
    #[arg(
        long,
        default_value = "logs",
        value_name = "DIR",
        env = "REPRODUCE_FLAKY_LOGS_DIR",
        hide_env = true
    )]
    pub logs_dir: PathBuf,
    /// List iterations that passed, too.
    #[arg(long)]
    pub all: bool,
    /// What to print; json is one object a line, one for each sweep.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
    /// Print one table only, over all sweeps; csv is always one table.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<Table>,
    /// Write to a file instead.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Confidence of the intervals.
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence)]
    pub confidence: f64,
    /// Something else that no page may show: a regular expression, whose group is the secret if it has one; repeatable.
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// Leave secrets in a page as they are.
    #[arg(long, conflicts_with = "redact")]
    pub no_redact: bool,
    /// File or folder of signatures instead of the built-in ones, for iterations that have no judgement yet.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables for a terminal.
    Text,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
    /// One object a line.
    Json,
    /// One table, with a header.
    Csv,
    /// A suite for each sweep, a case for each test, for Jenkins, GitHub and GitLab.
    Junit,
    /// A page in one file, with everything there is; two or more sweeps named are compared, the first with each other.
    Html,
    /// The strip of outcomes and the rates as a picture.
    Svg,
}

/// `--table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// A row for each sweep.
    Statistics,
    /// A row for each category of a sweep.
    Failures,
    /// A row for each failing test of an iteration.
    Iterations,
    /// A row for each failing test of a sweep.
    Tests,
}
