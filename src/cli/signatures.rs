//! Flags of `signatures`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::classify::Format;

/// `signatures`.
#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky signatures check my-rules/ --against logs/n4_fix8\n  reproduce-flaky signatures list\n\n\
        Next: reproduce-flaky classify --signatures my-rules/ logs/n4_fix8"
)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with signatures.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read signatures and run their own examples; with a tree, say which runs would change category.
    #[command(
        after_help = "Example:\n  reproduce-flaky signatures check my-rules/ --against logs/n4_fix8\n\n\
            Next: reproduce-flaky classify --signatures my-rules/ --write logs/n4_fix8"
    )]
    Check {
        /// File or folder of signatures; the built-in ones where none is given.
        path: Option<PathBuf>,
        /// Tree of runs to judge with them, compared with how they are judged now.
        #[arg(long, value_name = "TREE")]
        against: Option<PathBuf>,
        /// How to print what was found.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print a rule, ready to be named, for failures that no signature covers.
    #[command(after_help = "Examples:\n  reproduce-flaky signatures suggest logs/n4_fix8\n  \
            reproduce-flaky signatures suggest logs --group U-1a2b3c4d --id A6 > my-rules/a6.toml\n\n\
            Next: reproduce-flaky signatures check my-rules/ --against logs")]
    Suggest(Suggest),
    /// Print every signature with its scopes.
    #[command(after_help = "Example:\n  reproduce-flaky signatures list\n\nNext: reproduce-flaky signatures check")]
    List {
        /// File or folder of signatures; the built-in ones where none is given.
        path: Option<PathBuf>,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// `signatures suggest`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Suggest {
    /// Runs or trees of them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The group of failures; the most frequent one where none is named.
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Id of the new signature.
    #[arg(long, default_value = "NEW", value_name = "ID")]
    pub id: String,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to print it: a rule in TOML, or every group with its rule as a JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}
