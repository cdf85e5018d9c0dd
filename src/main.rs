//! The command line's entrance: reads it, hands over, turns what comes back into an exit code.

use std::io::IsTerminal as _;
use std::process::ExitCode as ProcessExitCode;

use reproduce_flaky::exit_code::ExitCode;
use reproduce_flaky::{commands, message};

fn main() -> ProcessExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    // git takes nearly every code for an answer about the commit.
    let is_asked_by_git = argv.windows(2).any(|words| words == ["culprit", "probe"]);
    commands::dispatch(argv)
        .unwrap_or_else(|error| match failed(&error) {
            ExitCode::Usage | ExitCode::ToolFailed if is_asked_by_git => ExitCode::Aborted,
            code => code,
        })
        .into()
}

/// Says what went wrong, if anybody still reads; the code for it.
fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        // Also `--help` and `--version`; a reader that closed the pipe has seen what it wanted.
        let _ = error.print();
        return if error.use_stderr() {
            ExitCode::Usage
        } else {
            ExitCode::Passed
        };
    }
    if message::is_broken_pipe(error) {
        return ExitCode::Passed;
    }
    message::tell(message::render(error));
    if std::io::stderr().is_terminal() {
        message::tell("more: reproduce-flaky help troubleshooting");
    }
    if message::is_usage(error) {
        ExitCode::Usage
    } else {
        ExitCode::ToolFailed
    }
}
