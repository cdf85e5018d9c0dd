//! `replay` without `--shrink`: the whole list is run several times.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::replays::Replays;
use super::{CANCEL_GRACE, check};
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::replay::target::Seen;
use crate::commands::replay::{Args, Replayed};
use crate::judge::Verdict;
use crate::run::Keep;
use crate::stats::Count;
use crate::sweep::blocks::{Blocks, Stops};
use crate::sweep::display::{self, DisplayKind};
use crate::sweep::scheduler::{self, Arm, Pace, Reason};

/// Runs the missing ones of `--times` runs, and counts how often the failure came back.
pub(super) async fn run(
    args: &Args,
    replays: &Replays,
    signals: mpsc::UnboundedReceiver<()>,
) -> anyhow::Result<Replayed> {
    let tests = replays.failure.tests.clone();
    let context = replays.context(tests.clone(), args.times, Keep::All)?;
    let shown = context.sweep.shown().to_owned();
    let recorded = JudgedSweep::read(&shown, &replays.signatures)?.records;
    let asked = 1..=args.times;
    let arm = Arm {
        missing: asked
            .clone()
            .filter(|number| recorded.iter().all(|record| record.iteration != *number))
            .collect(),
        recorded: recorded
            .into_iter()
            .filter(|record| asked.contains(&record.iteration))
            .map(|record| (record.iteration, record.outcome))
            .collect(),
        ..Arm::new(context, (1, args.times))
    };
    let pace = Pace {
        jobs: args.jobs,
        cancel_grace: CANCEL_GRACE,
    };
    let mut runs = Blocks::new(vec![Arc::new(arm)], 0, Stops::default());
    let end = scheduler::run(&mut runs, pace, display::open(DisplayKind::Auto, false), signals).await?;
    check(&end)?;
    let records = JudgedSweep::read(&shown, &replays.signatures)?.records;
    let (mut failed, mut of, mut others, mut errored) = (0, 0, 0, 0);
    for record in records.iter().filter(|record| asked.contains(&record.iteration)) {
        match replays.failure.target.seen(&record.outcome) {
            Seen::Errored => errored += 1,
            Seen::Failed => {
                of += 1;
                failed += 1;
            }
            Seen::Passed => {
                of += 1;
                others += u64::from(record.outcome.verdict == Verdict::Failed);
            }
        }
    }
    let count = Count::new(failed, of).unwrap_or_default();
    Ok(Replayed {
        others,
        is_interrupted: end.reason == Reason::Interrupted,
        ..Replayed::new(tests, count, errored, &replays.failure.target)
    })
}
