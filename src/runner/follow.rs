//! Following what an engine runs elsewhere, with the displays, the tally and the stop rules of a sweep that runs here.
//!
//! Results are what the store holds; the engine is only asked what is still queued or running. An iteration in neither
//! has ended without an answer, and is placed again when nothing else is left in the queue, so that no more than the
//! jobs asked for run at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::state::State;
use super::{End, Plan, Reason};
use crate::engine::{Engine, EngineError, Live as Place, Which, Work};
use crate::iteration::{Context, Live, Record};
use crate::model::ticket::Ticket;
use crate::model::{Exit, Outcome, OutcomeKind};
use crate::reporter::{self, Reporter};
use crate::store::{self, StoreError};

/// Time between two looks at the store.
const LOOK: Duration = Duration::from_secs(1);

/// Shortest time between two questions to the engine, and how many times as long as the last answer took.
const ASK: (Duration, u32) = (Duration::from_secs(2), 20);

/// Longest time between two questions.
const MOST: Duration = Duration::from_secs(30);

/// What keeps a sweep from being followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine, when more was to be placed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What was placed, and where.
pub struct Placed {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What it was given so far.
    pub tickets: Vec<Ticket>,
    /// Executions of an iteration before it is given up.
    pub max_attempts: u32,
}

/// What an engine answers: what is live, and how long it took to say so.
type Asked = JoinHandle<(Result<BTreeMap<u32, Place>, EngineError>, Duration)>;

/// Follows the iterations of a plan with one arm until all of them have an answer or are given up.
///
/// # Errors
/// The store cannot be read, or the engine refuses what is to run again.
///
/// # Panics
/// When asking the engine panicked, which would be a mistake in it.
pub async fn follow(
    plan: Plan,
    reporters: Vec<Box<dyn Reporter>>,
    mut signals: mpsc::UnboundedReceiver<()>,
    placed: Placed,
) -> Result<End, FollowError> {
    let context = Arc::clone(&plan.arms[0].context);
    let missing: BTreeSet<u32> = plan.arms[0].missing.iter().copied().collect();
    let mut following = Following {
        known: context.sweep.recorded()?,
        executions: missing
            .iter()
            .map(|iteration| (*iteration, Execution::default()))
            .collect(),
        missing,
        jobs: plan.jobs,
        state: State::new(plan, reporters),
        is_stopped: false,
        is_silent: false,
        context,
        placed,
    };
    following.state.announce_start();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = following.ask(Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            Some(()) = signals.recv() => {
                // What is placed goes on; the caller says how to come back and how to take it back.
                following.state.stop(Reason::Interrupted);
                break;
            }
            answer = &mut asked => {
                let (live, took) = answer.expect("asking an engine does not panic");
                following.look()?;
                if following.take_in(live)? {
                    break;
                }
                asked = following.ask((took * ASK.1).clamp(ASK.0, MOST));
            }
            _ = look.tick() => following.look()?,
        }
        following.obey_stop_rules()?;
        following.state.tick();
        // Whatever the engine still says about tasks that have answered.
        if following.missing.is_empty() {
            break;
        }
    }
    Ok(following.state.end())
}

/// What is known of the executions of one iteration.
#[derive(Default)]
struct Execution {
    /// How many have ended without an answer.
    lost: u32,
    /// How many have begun.
    begun: u32,
    /// Whether it was in the queue or running when the engine was asked last.
    is_live: bool,
    /// Whether it has been missing from the queue once; a result may take a moment to be seen on a network's disk.
    is_gone: bool,
}

struct Following {
    context: Arc<Context>,
    state: State,
    placed: Placed,
    /// Iterations with an answer.
    known: BTreeSet<u32>,
    /// Iterations without one.
    missing: BTreeSet<u32>,
    executions: BTreeMap<u32, Execution>,
    jobs: u32,
    is_stopped: bool,
    is_silent: bool,
}

impl Following {
    /// Asks the engine, after a while.
    fn ask(&self, after: Duration) -> Asked {
        let (engine, tickets) = (Arc::clone(&self.placed.engine), self.placed.tickets.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let began = Instant::now();
            let live = tokio::task::spawn_blocking(move || engine.live(&tickets)).await;
            (live.expect("asking an engine does not panic"), began.elapsed())
        })
    }

    /// Takes in what has been published.
    fn look(&mut self) -> Result<(), StoreError> {
        let context = Arc::clone(&self.context);
        for iteration in context.sweep.news(&self.known)? {
            self.known.insert(iteration);
            if self.missing.remove(&iteration)
                && let Some((exit, outcome, dir)) = context.sweep.answer(iteration)
            {
                let record = Record {
                    exit,
                    outcome,
                    dir,
                    lost: None,
                };
                self.state.recorded_elsewhere(iteration, record)?;
            }
        }
        for running in store::in_flight(context.sweep.dir())? {
            if let (Some(live), Some(line)) = (self.state.live(running.iteration), running.last_line) {
                live.see(format!("{line}\n").as_bytes());
            }
        }
        Ok(())
    }

    /// Takes in what the engine says; whether there is nothing left to follow.
    fn take_in(&mut self, live: Result<BTreeMap<u32, Place>, EngineError>) -> Result<bool, FollowError> {
        let live = match live {
            Ok(live) => live,
            Err(error) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    reporter::warn(&format!("{error}; what runs goes on, and is asked for again"));
                }
                return Ok(self.missing.is_empty());
            }
        };
        self.is_silent = false;
        let missing: Vec<u32> = self.missing.iter().copied().collect();
        let mut ended = Vec::new();
        for iteration in missing {
            let was_running = self.state.running().any(|running| running == iteration);
            let execution = self.executions.entry(iteration).or_default();
            match live.get(&iteration) {
                Some(Place::Running(_)) => {
                    (execution.is_live, execution.is_gone) = (true, false);
                    if !was_running {
                        execution.begun += 1;
                        let attempt = execution.begun;
                        self.state.began_elsewhere(iteration, attempt, Arc::new(Live::new()));
                    }
                }
                Some(Place::Queued(_)) => {
                    (execution.is_live, execution.is_gone) = (true, false);
                    if was_running {
                        let attempt = execution.begun;
                        let reason = "its node was lost, or the engine took it off there; it is queued again";
                        self.state.lost_elsewhere(iteration, attempt, reason.to_owned(), false);
                    }
                }
                None if execution.is_live && !execution.is_gone => execution.is_gone = true,
                None if execution.is_live => ended.push(iteration),
                None => {}
            }
        }
        let tickets = if ended.is_empty() {
            Vec::new()
        } else {
            self.context.sweep.tickets()?
        };
        for iteration in ended {
            self.ended(iteration, &tickets)?;
        }
        let is_dry = !self.missing.iter().any(|iteration| {
            self.executions
                .get(iteration)
                .is_some_and(|execution| execution.is_live)
        });
        if !is_dry {
            return Ok(false);
        }
        if self.missing.is_empty() || self.state.stopped().is_some() {
            return Ok(true);
        }
        self.place_again()?;
        Ok(false)
    }

    /// An iteration that is neither live nor recorded.
    fn ended(&mut self, iteration: u32, tickets: &[Ticket]) -> Result<(), StoreError> {
        let last = tickets.iter().rev().find(|ticket| ticket.has(iteration));
        let is_taken_back = last.is_some_and(|ticket| ticket.cancelled_at.is_some());
        let execution = self.executions.entry(iteration).or_default();
        (execution.is_live, execution.is_gone) = (false, false);
        if is_taken_back {
            self.state.stop(Reason::Cancelled);
        }
        let was_running = self.state.running().any(|running| running == iteration);
        // What was taken out of the queue has not been lost.
        if !was_running && self.state.stopped().is_some() {
            return Ok(());
        }
        let execution = self.executions.entry(iteration).or_default();
        execution.lost += 1;
        let (lost, attempt) = (execution.lost, execution.begun.max(execution.lost));
        let reason = self.context.sweep.lost(iteration)?.pop().map_or_else(
            || "the engine ended it without an answer, such as at its time limit".to_owned(),
            |(_, reason)| reason,
        );
        self.state.lost_elsewhere(iteration, attempt, reason.clone(), lost == 1);
        if lost < self.placed.max_attempts || self.state.stopped().is_some() {
            return Ok(());
        }
        let exit = Exit {
            error: Some(reason.clone()),
            attempts: lost,
            backend: Some(self.context.spec.backend.as_str().to_owned()),
            image: Some(self.context.spec.image.clone()).filter(|image| !image.is_empty()),
            ..Exit::default()
        };
        let mut outcome = Outcome::new(OutcomeKind::NoResult);
        outcome.iteration = Some(iteration);
        outcome
            .notes
            .push(format!("no answer after {lost} executions, the last one: {reason}"));
        self.context.sweep.give_up(iteration, &exit, &outcome)?;
        self.look()
    }

    /// Hands everything that is missing to the engine once more.
    fn place_again(&mut self) -> Result<(), FollowError> {
        let iterations: Vec<u32> = self.missing.iter().copied().collect();
        let context = Arc::clone(&self.context);
        let _submitting = context.sweep.submitting()?;
        let work = Work {
            sweep: context.sweep.dir(),
            spec: &context.spec,
            iterations: &iterations,
            jobs: self.jobs,
            after: None,
        };
        let mut given = Vec::new();
        let placed = self.placed.engine.submit(&work, &mut |ticket| {
            let kept = context.sweep.keep_ticket(&ticket);
            given.push(ticket);
            kept.map_err(|error| EngineError::Kept(error.to_string()))
        });
        // Only these can be live now.
        self.placed.tickets = given;
        placed?;
        for iteration in iterations {
            let execution = self.executions.entry(iteration).or_default();
            execution.is_live = true;
        }
        Ok(())
    }

    /// Once a stop rule holds, what has not begun is taken out of the queue; what runs ends by itself.
    fn obey_stop_rules(&mut self) -> Result<(), FollowError> {
        if self.is_stopped || self.state.stopped().is_none() {
            return Ok(());
        }
        self.is_stopped = true;
        let mut tickets = self.placed.tickets.clone();
        self.placed.engine.cancel(&tickets, Which::Queued)?;
        for ticket in &mut tickets {
            ticket.cancelled_at = Some(chrono::Utc::now());
            self.context.sweep.keep_ticket(ticket)?;
        }
        Ok(())
    }
}
