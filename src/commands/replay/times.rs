//! The whole list, several times.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Came;
use super::place::Place;
use crate::cli::replay::Args;
use crate::cli::sweep::Progress;
use crate::commands::judged;
use crate::message::hinted;
use crate::model::Verdict;
use crate::model::replay::{Replayed, Seen};
use crate::model::stop::StopRules;
use crate::reporter;
use crate::runner::{self, Arm, Plan, Reason};
use crate::stats::Count;
use crate::store::Keep;

/// How long runs may go on after the first signal.
pub(super) const CANCEL_GRACE: Duration = Duration::from_mins(1);

/// Runs what is missing of them.
pub(super) async fn run(args: &Args, place: &Place, signals: mpsc::UnboundedReceiver<()>) -> anyhow::Result<Came> {
    let tests = place.failure.tests.clone();
    let context = place.context(tests.clone(), args.times, Keep::All)?;
    let shown = context.sweep.shown().to_owned();
    let recorded = judged::sweep(&shown, &place.signatures)?.records;
    let asked = 1..=args.times;
    let arm = Arm {
        name: None,
        missing: asked
            .clone()
            .filter(|number| recorded.iter().all(|record| record.iteration != *number))
            .collect(),
        recorded: recorded
            .into_iter()
            .filter(|record| asked.contains(&record.iteration))
            .map(|record| (record.iteration, record.outcome))
            .collect(),
        context,
    };
    let plan = Plan {
        range: (1, args.times),
        arms: vec![arm],
        jobs: args.jobs,
        stop: StopRules::default(),
        stop_when_decided: false,
        seed: 0,
        cancel_grace: CANCEL_GRACE,
    };
    let end = runner::run(plan, reporter::open(Progress::Auto, false), signals).await?;
    if let Reason::Broken(cause) = &end.reason {
        return Err(hinted(
            format!("stopped: attempts broke the same way again and again: {cause}"),
            "the same command goes on from here",
        ));
    }
    let records = judged::sweep(&shown, &place.signatures)?.records;
    let (mut failed, mut of, mut others, mut errored) = (0, 0, 0, 0);
    for record in records.iter().filter(|record| asked.contains(&record.iteration)) {
        match place.failure.target.seen(&record.outcome) {
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
    Ok(Came {
        replayed: Replayed::new(tests, count, errored, &place.failure.target),
        others,
        is_interrupted: end.reason == Reason::Interrupted,
    })
}
