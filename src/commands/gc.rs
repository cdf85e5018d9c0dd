//! `gc`, and what every sweep does before it starts: remove what sweeps that died left on the engine.

use anyhow::Context as _;

use crate::backend::{self, Leftover};
use crate::cli::gc::Args;
use crate::exit_code::ExitCode;
use crate::model::{BackendKind, Spec};

/// Removes containers of ours whose creator is gone.
///
/// # Errors
/// No engine answers, or it refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let leftovers = runtime.block_on(backend::leftovers())?;
    for leftover in &leftovers {
        if !args.dry_run {
            runtime.block_on(backend::remove_leftover(leftover))?;
        }
        anstream::println!("{}", described(leftover));
    }
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    anstream::println!("{} containers {verb}", leftovers.len());
    Ok(ExitCode::Passed)
}

fn described(leftover: &Leftover) -> String {
    format!("{}  of {}", leftover.name, leftover.sweep)
}

/// Removes leftovers before a sweep; what cannot be removed is worth a line, not worth stopping for.
pub(super) async fn sweep_leftovers(spec: &Spec) {
    if spec.backend != BackendKind::Docker {
        return;
    }
    let leftovers = match backend::leftovers().await {
        Ok(leftovers) => leftovers,
        Err(error) => {
            anstream::eprintln!("warning: leftovers of earlier sweeps were not looked for: {error}");
            return;
        }
    };
    for leftover in leftovers {
        match backend::remove_leftover(&leftover).await {
            Ok(()) => anstream::eprintln!("note: removed a container whose sweep is gone: {}", described(&leftover)),
            Err(error) => anstream::eprintln!("warning: failed to remove `{}`: {error}", leftover.name),
        }
    }
}
