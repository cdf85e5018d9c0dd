//! The command line's entrance: reads it, hands over, turns what comes back into an exit code.

use std::process::ExitCode as ProcessExitCode;

use reproduce_flaky::exit_code::ExitCode;
use reproduce_flaky::{cli, commands, message};

fn main() -> ProcessExitCode {
    let error = match commands::dispatch(std::env::args_os().collect()) {
        Ok(code) => return code.into(),
        Err(error) => error,
    };
    match error.downcast::<cli::ParseError>() {
        Ok(cli::ParseError::Arguments(error)) => {
            // A reader that closed the pipe has seen the help it wanted.
            let _ = error.print();
            let code = if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Passed
            };
            code.into()
        }
        Ok(cli::ParseError::Settings(error)) => report(&error.into()),
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ProcessExitCode {
    if message::is_broken_pipe(error) {
        return ExitCode::Passed.into();
    }
    anstream::eprintln!("{}", message::render(error));
    if message::is_usage(error) {
        ExitCode::Usage.into()
    } else {
        ExitCode::ToolFailed.into()
    }
}
