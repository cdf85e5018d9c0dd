//! The command line: what may be said, and nothing about what is then done.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub mod cancel;
pub mod classify;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod figures;
pub mod gc;
pub mod history;
pub mod import;
pub mod merge;
pub mod plan;
pub mod replay;
pub mod settings;
pub mod show;
pub mod signatures;
pub mod status;
pub mod summary;
pub mod sweep;
pub mod words;
pub mod worker;

/// Runs a pytest session N times, each in a fresh container: what failed, how often, and whether it is fixed.
#[derive(Debug, Parser)]
#[command(
    name = "reproduce-flaky",
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Examples:\n  \
        reproduce-flaky demo                                   see it work, one minute\n  \
        reproduce-flaky -i host -p 4 -s 1 -e 50 -t fix8 -- tests/router\n  \
        reproduce-flaky --parallelism 4 -s 1 -e 50             the same again resumes\n\n\
        Next: reproduce-flaky summary"
)]
pub struct Cli {
    /// What to do instead of a sweep.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The sweep.
    #[command(flatten)]
    pub sweep: sweep::Args,
}

/// Everything but the sweep itself. None of them runs a test unless it says so.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a small suite with every kind of failure, in a minute, and print what the tool makes of it.
    Demo(demo::Args),
    /// Show how far sweeps have come, whoever runs them: iterations in flight, failures so far, time left.
    Status(status::Args),
    /// Take back what was handed to an engine and has no answer yet.
    Cancel(cancel::Args),
    /// Say what sweeps came to: counts, rates, causes, each failure, each failing test.
    Summary(summary::Args),
    /// Compare two sweeps: which failures became fewer or more, and what the numbers do not carry.
    Compare(compare::Args),
    /// Show the nights in a row: rates, the first night of each failure, whether the rate stayed what it was.
    History(history::Args),
    /// Say what a sweep's counts carry, and how many clean runs would show a fix.
    Plan(plan::Args),
    /// Copy sweeps of one thing that were made in different places into one.
    Merge(merge::Args),
    /// Say whether a sweep can run here, and what to do where it cannot.
    Doctor(doctor::Args),
    /// Run the tests before a failure again, in one process, and find which of them it needs (runs tests).
    Replay(replay::Args),
    /// Remove what sweeps that were killed left behind: only containers of ours, only those nobody waits for.
    Gc(gc::Args),
    /// Judge logs: what happened, and which known cause it has, from the log's own evidence.
    Classify(classify::Args),
    /// Show one run: what happened, the lines that say so, what ran before, how to repeat it.
    Show(show::Args),
    /// Put runs into one file for somebody else, with their evidence and without secrets.
    Export(export::Args),
    /// Take the runs of such a file in.
    Import(import::Args),
    /// Check, list or begin the rules that name causes.
    Signatures(signatures::Args),
    /// Run one iteration of a sweep and record it (runs tests); what engines on other machines call.
    #[command(hide = true)]
    Worker(worker::Args),
    /// Print a completion script for a shell.
    Completions(words::Completions),
    /// Print the manual page.
    Man,
}

/// Version with the commit it was built from, as far as the build knew one.
#[must_use]
pub fn version() -> String {
    match option_env!("RF_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        Some(_) | None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The whole command line, with every sweep flag also readable from `REPRODUCE_FLAKY_<FLAG>`.
#[must_use]
pub fn command() -> clap::Command {
    let booleans = clap::builder::BoolishValueParser::new();
    Cli::command().version(version()).mut_args(move |arg| {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
            return arg;
        };
        let name = format!("REPRODUCE_FLAKY_{}", long.replace('-', "_").to_uppercase());
        let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
        let arg = arg.env(name).hide_env(true);
        if is_switch { arg.value_parser(booleans) } else { arg }
    })
}

/// Reads the command line; what it leaves open comes from the environment, then from `reproduce-flaky.toml`.
///
/// # Errors
/// clap's own, which also carries `--help` and `--version`; a settings file that cannot be used.
pub fn parse(argv: Vec<OsString>, file: Option<&settings::Settings>) -> Result<Cli, ParseError> {
    let matches = command().try_get_matches_from(&argv)?;
    let (argv, matches) = match file {
        Some(file) => {
            let argv = file.complete(&argv, &matches)?;
            let matches = command().try_get_matches_from(&argv)?;
            (argv, matches)
        }
        None => (argv, matches),
    };
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.sweep.said = argv;
    Ok(cli)
}

/// Why a command line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The arguments are wrong, or ask for help.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The settings file is wrong.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    fn sweep(words: &[&str]) -> sweep::Args {
        let argv = std::iter::once("reproduce-flaky")
            .chain(words.iter().copied())
            .map(OsString::from)
            .collect();
        parse(argv, None).unwrap().sweep
    }

    #[test]
    fn the_scripts_command_lines_keep_working() {
        let args = sweep(&["--parallelism", "4", "-s", "1", "-e", "50"]);
        assert_eq!(
            (args.parallelism.to_string().as_str(), args.start, args.end),
            ("n4", 1, 50)
        );
        let args = sweep(&[
            "-p",
            "serial",
            "--set",
            "fix8",
            "-i",
            "app:fix8",
            "--pytest-nodeid",
            "tests/a.py::test_x",
        ]);
        assert_eq!(args.tag.as_deref(), Some("fix8"));
        assert_eq!(args.pytest_nodeid, ["tests/a.py::test_x"]);
        let args = sweep(&["-s", "1", "-e", "50", "--chunk-size", "5"]);
        assert_eq!(args.jobs(), 10);
        let args = sweep(&["-s", "1", "-e", "50", "--chunk-size", "5", "--chunk-parallel", "3"]);
        assert_eq!(args.jobs(), 3);
    }

    #[test]
    fn what_follows_two_dashes_is_pytests() {
        let args = sweep(&["-e", "3", "--", "-k", "router", "-x"]);
        assert_eq!(args.pytest_args, ["-k", "router", "-x"]);
    }
}
