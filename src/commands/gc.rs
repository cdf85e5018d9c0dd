//! `gc`, and what every sweep does before it starts: remove what sweeps that died left on the engine.

use anyhow::Context as _;

use crate::backend::docker::{self, Leftover, LeftoverKind};
use crate::cli::gc::Args;
use crate::exit_code::ExitCode;
use crate::model::{BackendKind, Spec};

/// Removes what is ours and what nobody waits for any more.
///
/// # Errors
/// No engine answers, or it refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let all = runtime.block_on(docker::leftovers())?;
    let removed: Vec<Leftover> = if args.dry_run {
        all.iter().filter(|leftover| leftover.is_due()).cloned().collect()
    } else {
        runtime.block_on(docker::reap())?
    };
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    for leftover in &removed {
        anstream::println!("{verb}: {}", described(leftover));
    }
    for left in all.iter().filter(|left| !removed.contains(left)) {
        if let (LeftoverKind::Container, Some(until)) = (left.kind, left.kept_until) {
            let until = until.format("%Y-%m-%d %H:%M:%S UTC");
            anstream::println!("kept until {until}: {}", described(left));
        }
    }
    let kept = all.len() - removed.len().min(all.len());
    anstream::println!("{} {verb}, {kept} in use or of other hosts left alone", removed.len());
    Ok(ExitCode::Passed)
}

fn described(leftover: &Leftover) -> String {
    let kind = match leftover.kind {
        LeftoverKind::Container => "container",
        LeftoverKind::Volume => "volume",
    };
    format!("{kind} {} of {}", leftover.name, leftover.sweep)
}

/// Removes leftovers before a sweep; what cannot be removed is worth a line, not worth stopping for.
pub(super) async fn sweep_leftovers(spec: &Spec) {
    if spec.backend != BackendKind::Docker {
        return;
    }
    match docker::reap().await {
        Ok(removed) => {
            for leftover in removed {
                anstream::eprintln!("note: removed what a dead sweep left: {}", described(&leftover));
            }
        }
        Err(error) => anstream::eprintln!("warning: leftovers of dead sweeps were not removed: {error}"),
    }
}
