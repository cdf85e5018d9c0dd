//! One file for each subcommand: they fetch values, hand them to the pure parts, and print what those return.

use std::ffi::OsString;

use anyhow::Context;

use crate::cli::settings::Settings;
use crate::cli::{self, Command};
use crate::exit_code::ExitCode;

mod by_hand;
pub mod cancel;
pub mod classify;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod gc;
pub mod history;
pub mod import;
pub mod judged;
pub mod merge;
pub mod output;
pub mod place;
pub mod plan;
pub mod reached;
pub mod replay;
pub mod report;
pub mod secrets;
pub mod show;
pub mod signatures;
pub mod source;
pub mod status;
pub mod summary;
pub mod sweep;
pub mod words;
pub mod worker;

/// Reads the command line and does what it says.
///
/// # Errors
/// [`cli::ParseError`] for a command line or a settings file that cannot be used, else whatever kept the command
/// from doing its work. A test that failed is no error.
pub fn dispatch(argv: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("failed to find the current directory")?;
    let settings = Settings::find(&here).map_err(cli::ParseError::from)?;
    let cli = cli::parse(argv, settings.as_ref())?;
    match cli.command {
        None => sweep::run(&cli.sweep, settings.as_ref()),
        Some(Command::Demo(demo)) => demo::run(&demo),
        Some(Command::Doctor(doctor)) => doctor::run(&doctor),
        Some(Command::Gc(gc)) => gc::run(&gc),
        Some(Command::Completions(shell)) => words::completions(&shell),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Cancel(args)) => cancel::run(&args),
        Some(Command::Summary(args)) => summary::run(&args),
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Plan(args)) => plan::run(&args),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Classify(args)) => classify::run(&args),
        Some(Command::Show(args)) => show::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Signatures(args)) => signatures::run(&args),
        Some(Command::Worker(args)) => Ok(worker::run(&args)),
        Some(Command::Man) => words::man(),
    }
}
