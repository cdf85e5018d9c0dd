//! `replay`: the tests that ran before a failure in the same process, run again in that order.

use crate::cli::replay::Args;
use crate::exit_code::ExitCode;
use crate::message::hinted;

/// Replays a run.
///
/// # Errors
/// A run that cannot be read, or that names no test to replay.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let run = args
        .run
        .iter()
        .map(|part| part.display().to_string())
        .collect::<Vec<_>>()
        .join(" ");
    Err(hinted(
        format!("`{run}` names no test to replay"),
        "name it with --test ID",
    ))
}
