//! `completions` and `man`: what clap knows about the command line, in other forms.

use std::io;

use anyhow::Context;

use crate::cli;
use crate::exit_code::ExitCode;

/// Prints a completion script.
pub fn completions(args: &cli::words::Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "reproduce-flaky", &mut script);
    io::Write::write_all(&mut io::stdout(), &script).context("failed to write the completion script")?;
    Ok(ExitCode::Passed)
}

/// Prints the manual page.
pub fn man() -> anyhow::Result<ExitCode> {
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::command())
        .render(&mut page)
        .context("failed to make the manual page")?;
    io::Write::write_all(&mut io::stdout(), &page).context("failed to write the manual page")?;
    Ok(ExitCode::Passed)
}
