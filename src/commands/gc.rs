//! `gc`, and what every sweep does when its first session runs: remove what sweeps that died left on the engine and on
//! this machine.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::backend::docker::{self, Leftover, LeftoverKind};
use crate::backend::leftovers;
use crate::commands::output;
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::spec::{BackendKind, Spec};
use crate::sweep::display::Reporter;
use crate::sweep::{Event, EventKind};
use crate::timings;

/// `gc`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky gc --dry-run\n\nNext: reproduce-flaky status")]
pub struct Args {
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Removes what is ours and what nobody waits for any more.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    // First, since they are there without an engine too.
    let directories = if args.dry_run {
        leftovers::left()
    } else {
        leftovers::remove()
    };
    let cached = if args.dry_run {
        leftovers::cached()
    } else {
        leftovers::forget_cached()
    };
    for directory in &cached {
        output::line(format_args!("{verb}: what can be found again, {}", directory.display()))?;
    }
    for directory in &directories {
        output::line(format_args!("{verb}: directory {}", directory.display()))?;
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let all = runtime.block_on(docker::leftovers())?;
    let removed: Vec<Leftover> = if args.dry_run {
        all.iter().filter(|leftover| leftover.is_due()).cloned().collect()
    } else {
        runtime.block_on(docker::reap())?
    };
    for leftover in &removed {
        output::line(format_args!("{verb}: {}", described(leftover)))?;
    }
    for left in all.iter().filter(|left| !removed.contains(left)) {
        if let (LeftoverKind::Container, Some(until)) = (left.kind, left.kept_until) {
            let until = until.format("%Y-%m-%d %H:%M:%S UTC");
            output::line(format_args!("kept until {until}: {}", described(left)))?;
        }
    }
    let kept = all.len() - removed.len().min(all.len());
    output::line(format_args!(
        "{} {verb}, {kept} in use or of other hosts left alone",
        removed.len() + directories.len() + cached.len()
    ))?;
    Ok(ExitCode::Passed)
}

fn described(leftover: &Leftover) -> String {
    let kind = match leftover.kind {
        LeftoverKind::Container => "container",
        LeftoverKind::Volume => "volume",
    };
    format!("{kind} {} of {}", leftover.name, leftover.sweep)
}

/// What dead sweeps left, removed beside a sweep.
pub(super) struct Leftovers {
    begin: Arc<Notify>,
    removal: JoinHandle<()>,
}

impl Leftovers {
    /// Removes nothing yet.
    pub(super) fn of(spec: &Spec) -> Leftovers {
        let begin = Arc::new(Notify::new());
        let (begun, backend) = (Arc::clone(&begin), spec.backend);
        let removal = tokio::spawn(async move {
            begun.notified().await;
            timings::of("leftovers of dead sweeps", remove_leftovers(backend)).await;
        });
        Leftovers { begin, removal }
    }

    /// Begins with the removal, which goes on beside whatever follows.
    pub(super) fn now(spec: &Spec) -> Leftovers {
        let leftovers = Leftovers::of(spec);
        leftovers.begin.notify_one();
        leftovers
    }

    /// A display that shows nothing and has the removal, and other work, begin when the first session runs: nothing waits
    /// for either then.
    pub(super) fn after_first_start(&self, work: impl FnOnce() + Send + 'static) -> Box<dyn Reporter> {
        Box::new(FirstStart(Arc::clone(&self.begin), Some(work)))
    }

    /// Waits until all is removed.
    pub(super) async fn end(self) {
        self.begin.notify_one();
        let _ = self.removal.await;
    }
}

struct FirstStart<F>(Arc<Notify>, Option<F>);

impl<F: FnOnce() + Send> Reporter for FirstStart<F> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event.kind, EventKind::IterationStarted { .. }) {
            self.0.notify_one();
            if let Some(work) = self.1.take() {
                work();
            }
        }
        Ok(())
    }
}

/// What cannot be removed is worth a line, not worth stopping for.
async fn remove_leftovers(backend: BackendKind) {
    let directories = tokio::task::spawn_blocking(leftovers::remove).await.unwrap_or_default();
    if let Some(first) = directories.first() {
        let others = directories.len() - 1;
        let others = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        tell(format_args!(
            "note: removed what a dead sweep left: directory {}{others}",
            first.display()
        ));
    }
    if backend != BackendKind::Docker {
        return;
    }
    match docker::reap().await {
        Ok(removed) => {
            for leftover in removed {
                tell(format_args!(
                    "note: removed what a dead sweep left: {}",
                    described(&leftover)
                ));
            }
        }
        Err(error) => tell(format_args!(
            "warning: leftovers of dead sweeps were not removed: {error}"
        )),
    }
}
