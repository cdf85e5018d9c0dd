//! `completions` and `man`: what is known about the command line, in other forms.

use std::io::{self, Write};

use crate::cli::words::{self, Completions};
use crate::exit_code::ExitCode;

/// Prints a completion script.
///
/// # Errors
/// Nobody reads it.
pub fn completions(args: &Completions) -> anyhow::Result<ExitCode> {
    io::stdout().write_all(&args.script())?;
    Ok(ExitCode::Passed)
}

/// Prints the manual page.
///
/// # Errors
/// Nobody reads it.
pub fn man() -> anyhow::Result<ExitCode> {
    io::stdout().write_all(&words::man_page()?)?;
    Ok(ExitCode::Passed)
}
