//! Following what an engine runs on other machines, with the displays, the tally and the stop rules of a sweep that
//! runs here.
//!
//! Results are what is on disk; the engine is only asked what is still queued or running. An iteration in neither has
//! ended without an answer, and is placed again when nothing else is left in the queue, so that no more than the jobs
//! asked for run at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::board::Board;
use super::breakage::kind_of_words;
use super::{Arm, End, Pace, Reason, Task, Work as _};
use crate::engine::ticket::Ticket;
use crate::engine::{Batch, Engine, EngineError, TaskState, Which};
use crate::judge::{Exit, Outcome, OutcomeKind};
use crate::run::{self, StoreError};
use crate::sweep::blocks::Blocks;
use crate::sweep::display::{self, Reporter};
use crate::sweep::iteration::{IterationEnd, Live, Record};

/// Time between two looks at the disk.
const LOOK: Duration = Duration::from_secs(1);

/// Shortest time between two questions to the engine, and how many times as long as the last answer took.
const ASK: (Duration, u32) = (Duration::from_secs(2), 20);

/// Longest time between two questions.
const MOST: Duration = Duration::from_secs(30);

/// The iterations that an engine was given.
pub struct Placement {
    pub engine: Arc<dyn Engine>,
    /// What the engine was given so far.
    pub tickets: Vec<Ticket>,
    /// Executions of an iteration before it is given up.
    pub max_attempts: u32,
}

/// What an engine answers: what is queued or running, and how long it took to say so.
type Asked = JoinHandle<(Result<BTreeMap<u32, TaskState>, EngineError>, Duration)>;

/// Follows the iterations of a sweep, which has one arm, until all of them have an answer or are given up.
///
/// # Errors
/// The directory cannot be read, or the engine refuses what is to run again.
pub async fn follow(
    blocks: &mut Blocks,
    pace: Pace,
    displays: Vec<Box<dyn Reporter>>,
    mut signals: mpsc::UnboundedReceiver<()>,
    placed: Placement,
) -> anyhow::Result<End> {
    let arm = Arc::clone(&blocks.arms()[0]);
    let missing: BTreeSet<u32> = arm.missing.iter().copied().collect();
    let executions = missing.iter().map(|iteration| (*iteration, Execution::default()));
    let mut following = Following {
        known: arm.context.sweep.recorded()?,
        executions: executions.collect(),
        board: Board::new(displays, pace.jobs),
        jobs: pace.jobs,
        is_obeyed: false,
        is_silent: false,
        missing,
        blocks,
        arm,
        placed,
    };
    following.board.set_pending(following.missing.len());
    following.board.announce(&[Arc::clone(&following.arm)]);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = following.ask(Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            Some(()) = signals.recv() => {
                // Placement iterations go on; the caller says how to come back to them and how to cancel them.
                following.board.stop(Reason::Interrupted);
                following.count_pending();
                return Ok(following.board.end());
            }
            answer = &mut asked => {
                let (states, took) = answer.expect("asking an engine does not panic");
                following.look()?;
                if following.take_in(states)? {
                    break;
                }
                asked = following.ask((took * ASK.1).clamp(ASK.0, MOST));
            }
            _ = look.tick() => following.look()?,
        }
        following.obey_stop_rules()?;
        following.count_pending();
        following.board.tick(&following.blocks.standing());
        // Whatever the engine still says about tasks that have answered.
        if following.missing.is_empty() {
            break;
        }
    }
    following.count_pending();
    following.board.record_reason()?;
    Ok(following.board.end())
}

/// What is known of the executions of one iteration.
#[derive(Default)]
struct Execution {
    /// How many have ended without an answer.
    lost: u32,
    /// How many have begun.
    begun: u32,
    /// Whether it was queued or running when the engine was asked last.
    is_live: bool,
    /// Whether it has been missing from the queue once; a result may take a moment to be seen on a network's disk.
    is_gone: bool,
}

struct Following<'a> {
    arm: Arc<Arm>,
    blocks: &'a mut Blocks,
    board: Board,
    placed: Placement,
    /// Iterations with an answer.
    known: BTreeSet<u32>,
    /// Iterations without one.
    missing: BTreeSet<u32>,
    executions: BTreeMap<u32, Execution>,
    jobs: u32,
    /// Whether a stop rule that holds has been obeyed.
    is_obeyed: bool,
    /// Whether the engine did not answer when it was asked last.
    is_silent: bool,
}

impl Following<'_> {
    /// Asks the engine, after a while.
    fn ask(&self, after: Duration) -> Asked {
        let (engine, tickets) = (Arc::clone(&self.placed.engine), self.placed.tickets.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let began = Instant::now();
            let states = tokio::task::spawn_blocking(move || engine.states(&tickets)).await;
            (states.expect("asking an engine does not panic"), began.elapsed())
        })
    }

    fn is_running(&self, iteration: u32) -> bool {
        self.board.live((0, iteration)).is_some()
    }

    fn count_pending(&mut self) {
        let waits = |iteration: &&u32| !self.is_running(**iteration);
        let pending = self.missing.iter().filter(waits).count();
        self.board.set_pending(pending);
    }

    /// Takes in what has been published.
    fn look(&mut self) -> Result<(), StoreError> {
        let arm = Arc::clone(&self.arm);
        for iteration in arm.context.sweep.news(&self.known)? {
            self.known.insert(iteration);
            if self.missing.remove(&iteration)
                && let Some((exit, outcome, dir)) = arm.context.sweep.answer(iteration)
            {
                let record = Record {
                    exit,
                    outcome,
                    dir,
                    lost: None,
                };
                let arm = Arc::clone(&arm);
                let (task, end) = (Task { arm, iteration }, IterationEnd::Recorded(Box::new(record)));
                self.count_pending();
                self.board.landed(&task, &end);
                self.blocks.ended(&task, &end);
            }
        }
        for running in run::in_flight(arm.context.sweep.dir())? {
            if let (Some(live), Some(line)) = (self.board.live((0, running.iteration)), running.last_line) {
                live.see(format!("{line}\n").as_bytes());
            }
        }
        Ok(())
    }

    /// Takes in what the engine says; whether there is nothing left to follow.
    fn take_in(&mut self, states: Result<BTreeMap<u32, TaskState>, EngineError>) -> anyhow::Result<bool> {
        let states = match states {
            Ok(states) => states,
            Err(error) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    display::warn(&format!("{error}; what runs goes on, and is asked for again"));
                }
                return Ok(self.missing.is_empty());
            }
        };
        self.is_silent = false;
        let missing: Vec<u32> = self.missing.iter().copied().collect();
        let mut ended = Vec::new();
        for iteration in missing {
            let was_running = self.is_running(iteration);
            let execution = self.executions.entry(iteration).or_default();
            match states.get(&iteration) {
                Some(TaskState::Running(_)) => {
                    (execution.is_live, execution.is_gone) = (true, false);
                    if !was_running {
                        execution.begun += 1;
                        let attempt = execution.begun;
                        self.board.started((0, iteration), attempt, Arc::new(Live::new()));
                    }
                }
                Some(TaskState::Queued(_)) => {
                    (execution.is_live, execution.is_gone) = (true, false);
                    if was_running {
                        let attempt = execution.begun;
                        let reason = "its node was lost, or the engine took it off there; it is queued again";
                        self.lost(iteration, attempt, reason.to_owned(), None);
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
            self.arm.context.sweep.tickets()?
        };
        for iteration in ended {
            self.ended(iteration, &tickets)?;
        }
        let mut executions = (self.missing.iter()).filter_map(|iteration| self.executions.get(iteration));
        if executions.any(|execution| execution.is_live) {
            return Ok(false);
        }
        if self.missing.is_empty() || self.board.is_stopping() {
            return Ok(true);
        }
        self.place_again()?;
        Ok(false)
    }

    /// An attempt on another machine gave no answer; the iteration waits again.
    fn lost(&mut self, iteration: u32, attempt: u32, reason: String, kind: Option<String>) {
        self.board.lost((0, iteration), attempt, reason, kind);
        self.board.left((0, iteration));
        self.count_pending();
    }

    /// An iteration that is neither live nor recorded.
    fn ended(&mut self, iteration: u32, tickets: &[Ticket]) -> Result<(), StoreError> {
        let last = tickets.iter().rev().find(|ticket| ticket.has(iteration));
        if last.is_some_and(|ticket| ticket.cancelled_at.is_some()) {
            self.board.stop(Reason::Cancelled);
        }
        let is_dequeued = self.board.is_stopping() && !self.is_running(iteration);
        let execution = self.executions.entry(iteration).or_default();
        (execution.is_live, execution.is_gone) = (false, false);
        // An iteration that was taken out of the queue is not lost.
        if is_dequeued {
            return Ok(());
        }
        execution.lost += 1;
        let (lost, attempt) = (execution.lost, execution.begun.max(execution.lost));
        let context = Arc::clone(&self.arm.context);
        let reason = context.sweep.lost(iteration)?.pop().map_or_else(
            || "the engine ended it without an answer, such as at its time limit".to_owned(),
            |(_, reason)| reason,
        );
        // Only what befalls iteration after iteration is a reason to stop: one that ends badly each time says nothing
        // about the others.
        let kind = (lost == 1).then(|| kind_of_words(&reason));
        self.lost(iteration, attempt, reason.clone(), kind);
        if lost < self.placed.max_attempts || self.board.is_stopping() {
            return Ok(());
        }
        let exit = Exit {
            error: Some(reason.clone()),
            attempts: lost,
            backend: Some(context.spec.backend.as_str().to_owned()),
            image: Some(context.spec.image.clone()).filter(|image| !image.is_empty()),
            ..Exit::default()
        };
        let mut outcome = Outcome::new(OutcomeKind::NoResult);
        outcome.iteration = Some(iteration);
        outcome
            .notes
            .push(format!("no answer after {lost} executions, the last one: {reason}"));
        context.sweep.give_up(iteration, &exit, &outcome)?;
        self.look()
    }

    /// Hands everything that is missing to the engine once more.
    fn place_again(&mut self) -> anyhow::Result<()> {
        let iterations: Vec<u32> = self.missing.iter().copied().collect();
        let context = Arc::clone(&self.arm.context);
        let _submitting = context.sweep.submitting()?;
        let batch = Batch {
            sweep: context.sweep.dir(),
            spec: &context.spec,
            iterations: &iterations,
            jobs: self.jobs,
            after: None,
        };
        let mut given = Vec::new();
        let placed = self.placed.engine.submit(&batch, &mut |ticket| {
            let kept = context.sweep.keep_ticket(&ticket);
            given.push(ticket);
            kept.map_err(|error| EngineError::Kept(error.to_string()))
        });
        // Only the iterations of this ticket can be live now.
        self.placed.tickets = given;
        placed?;
        for iteration in iterations {
            self.executions.entry(iteration).or_default().is_live = true;
        }
        Ok(())
    }

    /// Once a stop rule holds, what has not begun is taken out of the queue; what runs ends by itself.
    fn obey_stop_rules(&mut self) -> anyhow::Result<()> {
        if let Some(reason) = self.blocks.reason_to_stop() {
            self.board.stop(reason);
        }
        if self.is_obeyed || !self.board.is_stopping() {
            return Ok(());
        }
        self.is_obeyed = true;
        let mut tickets = self.placed.tickets.clone();
        self.placed.engine.cancel(&tickets, Which::Queued)?;
        for ticket in &mut tickets {
            ticket.cancelled_at = Some(chrono::Utc::now());
            self.arm.context.sweep.keep_ticket(ticket)?;
        }
        Ok(())
    }
}
