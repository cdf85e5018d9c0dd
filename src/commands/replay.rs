//! `replay`: the tests that ran before a failure in the same process, run again in that order.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::{output, signatures};
use crate::cli::replay::{Args, Format};
use crate::exit_code::ExitCode;
use crate::model::replay::Replayed;
use crate::render;

mod listed;
mod place;
mod search;
mod shell;
mod source;
mod times;

use place::Place;
use source::Source;

/// Replays a run.
///
/// # Errors
/// A run that cannot be read or names no test to replay, and whatever would break every run of it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = Arc::new(signatures::load(args.signatures.as_deref())?);
    let source = Source::find(args, &signatures)?;
    // Volumes and files that were given relative to it are found again.
    std::env::set_current_dir(&source.spec.directory).with_context(|| {
        format!(
            "failed to enter `{}`, where the run was started",
            source.spec.directory.display()
        )
    })?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    if args.shell {
        let command = runtime.block_on(shell::command(&source, args.test.as_deref()))?;
        drop(runtime);
        return Err(shell::become_it(command));
    }
    let failure = source.failure(args.test.as_deref())?;
    anstream::eprintln!("{}", failure.described(&source));
    let came = runtime.block_on(async {
        let signals = super::sweep::signals()?;
        super::gc::sweep_leftovers(&source.spec).await;
        let place = Place::open(source.clone(), failure, signatures).await?;
        let came = if args.shrink {
            search::run(args, &place, signals).await
        } else {
            times::run(args, &place, signals).await
        };
        // Also after an error: nothing that was made stays.
        place.close().await;
        anstream::eprintln!("kept in {}", place.home().display());
        came
    })?;
    show(args, &came, &source)?;
    Ok(came.code())
}

/// What a replay came to.
struct Came {
    replayed: Replayed,
    /// Runs that failed in another way.
    others: u64,
    is_interrupted: bool,
}

impl Came {
    fn code(&self) -> ExitCode {
        if self.is_interrupted {
            ExitCode::Interrupted
        } else if self.replayed.failed > 0 {
            ExitCode::Reproduced
        } else if self.replayed.of == 0 {
            ExitCode::Errored
        } else {
            ExitCode::Passed
        }
    }
}

fn show(args: &Args, came: &Came, source: &Source) -> anyhow::Result<()> {
    match args.format {
        Format::Text => output::text(&render::replay::text(
            &came.replayed,
            came.others,
            &again(args, &source.shown),
        )),
        Format::Json => {
            let line = serde_json::to_string(&came.replayed).context("failed to make JSON")?;
            writeln!(io::stdout().lock(), "{line}").context("failed to write the output")
        }
    }
}

/// How the user would name the run once more.
fn again(args: &Args, shown: &Path) -> String {
    let test = args
        .test
        .as_ref()
        .map(|test| format!(" --test {}", shell_words::quote(test)));
    format!(
        "{}{}",
        shell_words::quote(&shown.display().to_string()),
        test.unwrap_or_default()
    )
}
