//! The command line, and one file for each subcommand: they fetch values, hand them to the pure parts, and print what
//! those return.

use std::ffi::OsString;

use anyhow::Context as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::settings::{self, Settings};
use crate::exit_code::ExitCode;
use crate::spec::tool;

pub mod amplify;
pub mod cancel;
pub mod classify;
pub mod compare;
pub mod culprit;
pub(crate) mod decided;
pub mod demo;
mod docker_run;
pub mod doctor;
pub mod export;
pub mod gc;
pub mod help;
pub mod history;
pub mod import;
pub mod judged_sweep;
pub mod judging;
pub mod merge;
pub mod operand;
pub mod output;
pub mod plan;
pub mod prove;
pub mod replay;
pub mod schema;
pub mod secrets;
pub mod show;
pub mod signatures;
mod starvation;
pub mod status;
pub mod summary;
pub mod sweep;
mod sweep_name;
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
        reproduce-flaky -i host -p 4 -e 50 -t fix8 tests/router\n  \
        reproduce-flaky -i host -p 4 -e 50 -t fix8 tests/router -- -x -k sync\n\n\
        The same command again resumes. Every flag: --help. Pages to read: reproduce-flaky help.\n\
        Next: reproduce-flaky summary"
)]
pub struct Cli {
    /// What to do instead of a sweep.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The sweep.
    #[command(flatten)]
    pub sweep: sweep::args::Args,
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
    /// Show that a fix removed a failure: says what it takes, runs the fix, stops as soon as it is certain (runs tests).
    Prove(Box<prove::Args>),
    /// Look for the conditions under which a failure comes often, and say how often (runs tests).
    Amplify(Box<amplify::Args>),
    /// Search for the image, commit or setting that brought a failure in (runs tests): what it will take first, then the
    /// fewest runs that tell.
    Culprit(Box<culprit::Args>),
    /// Copy sweeps of one thing that were made in different places into one.
    Merge(merge::Args),
    /// Say whether a sweep can run here, and what to do where it cannot.
    Doctor(doctor::Args),
    /// Run the tests before a failure again, in one process, and find which of them it needs (runs tests).
    Replay(replay::Args),
    /// Remove what sweeps that were killed left behind: only containers and directories of ours, only those nobody uses.
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
    /// Print the JSON schema of a file or an output, for editors and for programs that read it.
    Schema(schema::Args),
    /// Run one iteration of a sweep and record it (runs tests); what engines on other machines call.
    #[command(hide = true)]
    Worker(worker::Args),
    /// Print a page of the documentation: judging, rates, hangs, ci and others.
    Help(help::Args),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the manual page.
    Man,
}

/// Flags that a first week needs: those of `-h`. The others are in `--help`.
const FIRST_WEEK: [&str; 15] = [
    "parallelism",
    "start",
    "end",
    "tag",
    "image",
    "jobs",
    "timeout",
    "silence",
    "until",
    "max-failures",
    "retry",
    "env",
    "dry-run",
    "help",
    "version",
];

/// `completions`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  reproduce-flaky completions bash > ~/.local/share/bash-completion/completions/reproduce-flaky\n\nNext: reproduce-flaky demo"
)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// Reads the command line and does what it says.
pub fn dispatch(argv: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("failed to find the current directory")?;
    let settings = Settings::find(&here, &sweep::args::command())?;
    let settings = settings.as_ref();
    let Cli { command, sweep } = parse(argv, settings)?;
    match command {
        None => sweep::run(&sweep, settings),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Gc(args)) => gc::run(&args),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Cancel(args)) => cancel::run(&args),
        Some(Command::Summary(args)) => summary::run(&args),
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Plan(args)) => plan::run(&args),
        Some(Command::Prove(args)) => prove::run(&args, settings),
        Some(Command::Amplify(args)) => amplify::run(&args, settings),
        Some(Command::Culprit(args)) => culprit::run(&args, settings),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Classify(args)) => classify::run(&args),
        Some(Command::Show(args)) => show::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Signatures(args)) => signatures::run(&args),
        Some(Command::Schema(args)) => schema::run(&args),
        Some(Command::Worker(args)) => Ok(worker::run(&args)),
        Some(Command::Help(args)) => help::run(&args),
        Some(Command::Completions(args)) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut self::command(), "reproduce-flaky", &mut script);
            output::bytes(&script).map(|()| ExitCode::Passed)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(self::command()).render(&mut page)?;
            output::bytes(&page).map(|()| ExitCode::Passed)
        }
    }
}

/// The whole command line.
pub fn command() -> clap::Command {
    let is_rare = |arg: &clap::Arg| arg.get_long().is_some_and(|long| !FIRST_WEEK.contains(&long));
    let of_sweep = |arg: clap::Arg| {
        let is_rare = is_rare(&arg);
        arg.hide_short_help(is_rare)
    };
    // A sweep's flags are also those of a proof's fix and of a search, where they have their variables too; those that
    // these refuse are in no help.
    let of_search = |arg: clap::Arg| {
        let own = [Some(prove::HEADING), Some(amplify::HEADING), Some(culprit::HEADING)];
        let is_rare = is_rare(&arg) && !own.contains(&arg.get_help_heading());
        let is_refused = decided::DECIDED.iter().any(|(id, _)| arg.get_id() == *id);
        arg.hide_short_help(is_rare).hide(is_refused)
    };
    let with_variables = |command: clap::Command| match command.get_name() {
        "prove" | "amplify" => settings::with_variables(command).mut_args(of_search),
        // `culprit probe` runs sweeps too.
        "culprit" => settings::with_variables(command)
            .mut_args(of_search)
            .mut_subcommands(|probe| settings::with_variables(probe).mut_args(of_search)),
        _ => command,
    };
    settings::with_variables(Cli::command().version(tool()))
        .mut_args(of_sweep)
        .mut_subcommands(with_variables)
}

/// Arguments of pytest that people type before `--`, and what to type instead of two of them.
const OF_PYTEST: [(&str, &str); 17] = [
    ("-n", "-p N starts N xdist workers"),
    ("--numprocesses", "-p N starts N xdist workers"),
    ("--count", "-e N runs N iterations"),
    ("-k", ""),
    ("-m", ""),
    ("-x", ""),
    ("--capture", ""),
    ("--dist", ""),
    ("--durations", ""),
    ("--ff", ""),
    ("--forked", ""),
    ("--lf", ""),
    ("--maxfail", ""),
    ("--pdb", ""),
    ("--reruns", ""),
    ("--tb", ""),
    ("-r", ""),
];

/// An error about an argument that is pytest's own says where it belongs.
fn naming_pytest(error: clap::Error, argv: &[OsString]) -> clap::Error {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(named)) if error.kind() == ErrorKind::UnknownArgument => named.clone(),
        Some(_) | None => return error,
    };
    let of_a_command = argv
        .get(1)
        .is_some_and(|word| Cli::command().find_subcommand(word).is_some());
    let known = OF_PYTEST.iter().find(|(name, _)| *name == named);
    let (Some((_, instead)), false) = (known, of_a_command) else {
        return error;
    };
    let place = format!("arguments of pytest follow `--`: reproduce-flaky tests -- {named} …");
    let hint = if instead.is_empty() { place.as_str() } else { instead };
    clap::Error::raw(
        error.kind(),
        format!("`{named}` is an argument of pytest\nhint: {hint}\n"),
    )
}

/// Reads the command line; what it leaves open comes from the environment, then from the settings file.
pub fn parse(argv: Vec<OsString>, file: Option<&Settings>) -> Result<Cli, clap::Error> {
    let mut command = command();
    if let Some(file) = file {
        command = file.as_defaults(command);
    }
    let matches = command
        .try_get_matches_from(&argv)
        .map_err(|error| settings::naming_variable(error, &argv))
        .map_err(|error| naming_pytest(error, &argv))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Some(Command::Prove(args)), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        args.sweep = args.sweep.clone().as_said(matches, argv.clone());
    }
    if let (Some(Command::Amplify(args)), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        args.sweep = args.sweep.clone().as_said(matches, argv.clone());
    }
    if let (Some(Command::Culprit(args)), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        args.sweep = args.sweep.clone().as_said(matches, argv.clone());
        if let (Some(culprit::Command::Probe(args)), Some((_, matches))) = (&mut args.command, matches.subcommand()) {
            args.sweep = args.sweep.clone().as_said(matches, argv.clone());
        }
    }
    cli.sweep = cli.sweep.as_said(&matches, argv);
    let redact = match &mut cli.command {
        Some(Command::Export(args)) => Some(&mut args.redact),
        Some(Command::Summary(args)) => Some(&mut args.redact),
        Some(Command::History(args)) => Some(&mut args.redact),
        Some(_) | None => None,
    };
    if let (Some(redact), Some(file)) = (redact, file) {
        redact.splice(0..0, file.redact.iter().cloned());
    }
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    fn sweep(words: &[&str]) -> sweep::args::Args {
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
