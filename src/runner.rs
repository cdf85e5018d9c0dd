//! The only scheduler: one task owns the queue, the tally and the displays, and hears of everything that happens.
//!
//! An iteration is published before it is announced. A store that cannot record stops the sweep; a display that
//! fails is switched off. Several arms are one schedule: blocks of one iteration of each, in an order drawn anew for
//! every block, so that the drift of the host hits all arms alike.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::iteration::{self, Answer, Cancel, Context};
use crate::model::stop::{StopReason, StopRules};
use crate::model::{EventKind, Outcome, Tally};
use crate::reporter::Reporter;
use crate::store::StoreError;

mod follow;
mod losses;
mod queue;
mod state;
mod turns;

pub use follow::{FollowError, Placed, follow};
use state::State;
use turns::Turns;

/// What a process sets out to do.
pub struct Plan {
    /// First and last iteration asked for, of every arm.
    pub range: (u32, u32),
    /// The sweeps: one, or several arms run side by side.
    pub arms: Vec<Arm>,
    /// Iterations in flight, of all arms together.
    pub jobs: u32,
    /// When to stop early.
    pub stop: StopRules,
    /// Whether to stop as soon as every later arm is shown to differ from the first one.
    pub stop_when_decided: bool,
    /// Draws the order of arms in each block.
    pub seed: u64,
    /// How long running iterations may go on after the first signal.
    pub cancel_grace: Duration,
}

/// One sweep of a plan.
pub struct Arm {
    /// Its name; `None` where there is only one.
    pub name: Option<String>,
    /// Everything its iterations need.
    pub context: Arc<Context>,
    /// Its iterations that have no answer.
    pub missing: Vec<u32>,
    /// Outcomes of those of the range that were recorded before.
    pub recorded: Vec<(u32, Outcome)>,
}

/// How a process's part of the sweep ended.
#[derive(Debug)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Counts of the range, as this process knows them, all arms together.
    pub tally: Tally,
    /// How many iterations other processes were running at the end.
    pub elsewhere: usize,
    /// Evidence that each later arm differs from the first one, as e-values; empty where there is one arm.
    pub e_values: Vec<f64>,
}

/// Why a process stopped running iterations.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Nothing was left to run.
    Complete,
    /// A stop rule.
    Stopped(StopReason),
    /// A signal.
    Interrupted,
    /// What was placed elsewhere was taken back.
    Cancelled,
    /// The world broke the same way again and again.
    Broken(String),
}

impl Reason {
    /// As `SweepFinished` says it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Reason::Complete => "complete".to_owned(),
            Reason::Stopped(rule) => rule.to_string(),
            Reason::Interrupted => "interrupted".to_owned(),
            Reason::Cancelled => "cancelled".to_owned(),
            Reason::Broken(cause) => format!("broken: {cause}"),
        }
    }
}

/// An iteration of an arm; arms are counted from 0.
type Slot = (usize, u32);

/// Runs the iterations of a plan.
///
/// # Errors
/// The store could not record a result, or a claim could not be made.
///
/// # Panics
/// When an iteration panicked, which would be a mistake in it.
pub async fn run(
    plan: Plan,
    reporters: Vec<Box<dyn Reporter>>,
    mut signals: mpsc::UnboundedReceiver<()>,
) -> Result<End, StoreError> {
    let contexts: Vec<Arc<Context>> = plan.arms.iter().map(|arm| Arc::clone(&arm.context)).collect();
    let cancel_grace = plan.cancel_grace;
    let (progress, mut heard) = mpsc::unbounded_channel();
    let (cancel, cancelled) = watch::channel(Cancel::No);
    let mut turns = Turns::new(plan.jobs);
    let mut sweep = State::new(plan, reporters);
    sweep.announce_start();
    let mut flights: JoinSet<(Slot, Result<Answer, StoreError>)> = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut give_up_waiting: Option<Instant> = None;
    let mut fatal = None;
    loop {
        let start = |slot: Slot, turn, in_flight: &mut JoinSet<_>| {
            let (progress, cancelled) = (progress.clone(), cancelled.clone());
            let context = Arc::clone(&contexts[slot.0]);
            in_flight.spawn(async move {
                let answer = iteration::run(context, slot.0, slot.1, turn, progress, cancelled).await;
                (slot, answer)
            });
        };
        if sweep.is_stopping() {
            turns.dismiss();
        }
        while turns.has_room() && !turns.next() {
            let Some(slot) = sweep.next(flights.len()) else { break };
            let turn = contexts[slot.0].backend.is_ahead().then(|| turns.stand_by(slot));
            if turn.is_some() {
                turns.next();
            } else {
                turns.run(slot);
            }
            start(slot, turn, &mut flights);
        }
        while turns.has_room_ahead()
            && let Some(slot) = sweep.next_ahead(flights.len())
        {
            start(slot, Some(turns.stand_by(slot)), &mut flights);
        }
        sweep.set_standing_by(turns.standing_by());
        if flights.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            Some(news) = heard.recv() => sweep.hear(news),
            Some(landed) = flights.join_next() => {
                let (slot, answer) = landed.expect("an iteration never panics");
                turns.land(slot);
                // What it reported before it landed comes first.
                while let Ok(news) = heard.try_recv() {
                    sweep.hear(news);
                }
                if let Err(error) = sweep.land(slot, answer) {
                    sweep.stop(Reason::Broken(error.to_string()));
                    let _ = cancel.send(Cancel::Now);
                    fatal.get_or_insert(error);
                }
            }
            Some(()) = signals.recv() => {
                let level = if *cancel.borrow() == Cancel::No { Cancel::Drain } else { Cancel::Now };
                sweep.stop(Reason::Interrupted);
                sweep.emit_to_all(&EventKind::CancelRequested { now: level == Cancel::Now });
                give_up_waiting = Some(Instant::now() + cancel_grace);
                let _ = cancel.send(level);
            }
            () = at(give_up_waiting), if *cancel.borrow() == Cancel::Drain => {
                sweep.emit_to_all(&EventKind::CancelRequested { now: true });
                let _ = cancel.send(Cancel::Now);
            }
            _ = tick.tick() => sweep.tick(),
        }
    }
    match fatal {
        Some(error) => Err(error),
        None => Ok(sweep.end()),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
