//! What the scheduling task knows, and what it makes of what it hears.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use tokio::time::Instant;

use super::losses::Losses;
use super::queue::Queue;
use super::{Arm, End, Plan, Reason, Slot};
use crate::iteration::{Answer, Context, Live, Progress, Record};
use crate::model::arms::{self, ArmsState};
use crate::model::stop::{StopReason, StopState};
use crate::model::{Event, EventKind, Kept, Outcome, Tally, Verdict};
use crate::reporter::{self, Reporter};
use crate::store::StoreError;

mod elsewhere;
mod look;

/// A container is started ahead of its turn only in the last seconds that the shortest session so far would have:
/// starting one takes a fraction of one, on a busy engine a few.
const LEAD_S: f64 = 5.0;

/// The state of a schedule.
pub(super) struct State {
    sweeps: Vec<Sweep>,
    reporters: Vec<Box<dyn Reporter>>,
    range: (u32, u32),
    jobs: u32,
    queue: Queue,
    running: BTreeMap<Slot, Flight>,
    standing_by: usize,
    tally: Tally,
    durations: Vec<f64>,
    stop_rules: StopState,
    arms: ArmsState,
    stop_when_decided: bool,
    losses: Losses,
    began: Instant,
    reason: Option<Reason>,
}

/// One arm, or the only sweep there is.
struct Sweep {
    name: Option<String>,
    context: Arc<Context>,
    planned: u32,
    recorded: u32,
    is_log_broken: bool,
}

/// An iteration in flight.
struct Flight {
    live: Arc<Live>,
    is_slow: bool,
}

impl State {
    pub(super) fn new(plan: Plan, reporters: Vec<Box<dyn Reporter>>) -> State {
        let queue = Queue::new(&plan.arms, plan.range, plan.seed);
        let mut state = State {
            sweeps: Vec::new(),
            reporters,
            range: plan.range,
            jobs: plan.jobs,
            running: BTreeMap::new(),
            standing_by: 0,
            tally: Tally::default(),
            durations: Vec::new(),
            stop_rules: StopState::new(plan.stop),
            arms: ArmsState::new(plan.arms.len(), plan.range.0),
            stop_when_decided: plan.stop_when_decided,
            losses: Losses::default(),
            began: Instant::now(),
            reason: None,
            queue,
        };
        for (number, arm) in plan.arms.into_iter().enumerate() {
            for (iteration, outcome) in &arm.recorded {
                state.count((number, *iteration), outcome);
            }
            state.sweeps.push(Sweep::new(&arm));
        }
        state.tally.pending = count(state.queue.len());
        state
    }

    pub(super) fn announce_start(&mut self) {
        for arm in 0..self.sweeps.len() {
            let Sweep {
                context,
                planned,
                recorded,
                ..
            } = &self.sweeps[arm];
            let kind = EventKind::SweepStarted {
                sweep: context.sweep.shown().display().to_string(),
                first: self.range.0,
                last: self.range.1,
                jobs: self.jobs,
                planned: *planned,
                recorded: *recorded,
                image_id: context.spec.image_id.clone(),
                versions: context.spec.versions.clone(),
            };
            self.emit(arm, kind);
        }
        self.check_stop_rules();
    }

    /// Takes an outcome into everything that counts.
    fn count(&mut self, (arm, iteration): Slot, outcome: &Outcome) {
        self.tally.add(outcome);
        self.stop_rules.observe(outcome);
        let answer = match outcome.verdict {
            Verdict::Failed => arms::Answer::Failed,
            Verdict::Passed => arms::Answer::Clean,
            Verdict::Errored => arms::Answer::Nothing,
        };
        self.arms.observe(iteration, arm, answer);
    }

    /// Stamps an event, writes it down, shows it.
    fn emit(&mut self, arm: usize, kind: EventKind) {
        let sweep = &mut self.sweeps[arm];
        let event = Event {
            kind,
            arm: sweep.name.clone(),
            at: Utc::now(),
            elapsed_s: self.began.elapsed().as_secs_f64(),
            tally: self.tally.clone(),
        };
        sweep.write_down(&event);
        self.show(|reporter| reporter.event(&event));
    }

    /// The same for what concerns every arm; it is shown once.
    pub(super) fn emit_to_all(&mut self, kind: &EventKind) {
        for arm in 1..self.sweeps.len() {
            let event = Event {
                kind: kind.clone(),
                arm: self.sweeps[arm].name.clone(),
                at: Utc::now(),
                elapsed_s: self.began.elapsed().as_secs_f64(),
                tally: self.tally.clone(),
            };
            self.sweeps[arm].write_down(&event);
        }
        self.emit(0, kind.clone());
    }

    /// Hands something to every display; one that fails is switched off with one warning.
    fn show(&mut self, mut what: impl FnMut(&mut dyn Reporter) -> std::io::Result<()>) {
        self.reporters.retain_mut(|reporter| match what(&mut **reporter) {
            Ok(()) => true,
            Err(error) => {
                reporter::warn(&format!("a display failed and is switched off: {error}"));
                false
            }
        });
    }

    /// Whether nothing new is started.
    pub(super) fn is_stopping(&self) -> bool {
        self.reason.is_some()
    }

    /// The next iteration to start, if one may start now.
    pub(super) fn next(&mut self, in_flight: usize) -> Option<Slot> {
        if self.is_stopping() {
            return None;
        }
        self.queue.pop(in_flight)
    }

    /// The next iteration to make ready ahead of its turn, if that is worth it now: a container that will be idle for
    /// minutes, and keeps other processes from its iteration, is not.
    pub(super) fn next_ahead(&mut self, in_flight: usize) -> Option<Slot> {
        let (arm, _) = self.queue.front()?;
        let shortest = self.durations.iter().copied().reduce(f64::min);
        let is_due = shortest.is_none_or(|shortest| {
            let mut running = self.running.values();
            running.any(|flight| flight.live.since.elapsed().as_secs_f64() + LEAD_S >= shortest)
        });
        if !is_due || !self.sweeps[arm].context.backend.is_ahead() {
            return None;
        }
        self.next(in_flight)
    }

    /// How many have left the queue without running yet.
    pub(super) fn set_standing_by(&mut self, standing_by: usize) {
        self.standing_by = standing_by;
        self.update_tally();
    }

    /// Starts nothing new; the first reason is the one that is told.
    pub(super) fn stop(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// Takes in what a running iteration reports.
    pub(super) fn hear(&mut self, news: Progress) {
        match news {
            Progress::Started {
                arm,
                iteration,
                attempt,
                live,
            } => {
                self.running.insert((arm, iteration), Flight { live, is_slow: false });
                self.update_tally();
                self.emit(arm, EventKind::IterationStarted { iteration, attempt });
            }
            Progress::Kept {
                arm,
                iteration,
                kept:
                    Ok(Kept {
                        container,
                        until,
                        enter,
                    }),
            } => self.emit(
                arm,
                EventKind::IterationKept {
                    iteration,
                    container,
                    until,
                    enter,
                },
            ),
            Progress::Kept {
                iteration,
                kept: Err(cause),
                ..
            } => reporter::warn(&format!(
                "run{iteration:03} hung and could not be kept running: {cause}"
            )),
            Progress::Lost {
                arm,
                iteration,
                attempt,
                reason,
            } => {
                let since = self.running.get(&(arm, iteration)).map(|flight| flight.live.since);
                self.losses.add(&reason, since);
                self.emit(
                    arm,
                    EventKind::AttemptLost {
                        iteration,
                        attempt,
                        reason: reason.clone(),
                    },
                );
                if self.losses.is_hopeless() {
                    self.stop(Reason::Broken(reason));
                }
            }
        }
    }

    /// Takes in how an iteration came out.
    pub(super) fn land(&mut self, slot: Slot, answer: Result<Answer, StoreError>) -> Result<(), StoreError> {
        self.running.remove(&slot);
        self.update_tally();
        match answer? {
            Answer::Recorded(record) => self.recorded(slot, *record),
            Answer::RecordedBefore => {
                if let Some(outcome) = self.sweeps[slot.0].context.sweep.outcome(slot.1)? {
                    self.count(slot, &outcome);
                }
            }
            Answer::Elsewhere => self.queue.leave(slot),
            Answer::NotStarted => self.queue.give_back(slot),
            Answer::Cancelled | Answer::Lost(_) => {}
        }
        self.check_stop_rules();
        Ok(())
    }

    fn recorded(&mut self, (arm, iteration): Slot, record: Record) {
        let Record {
            exit,
            outcome,
            dir,
            lost,
        } = record;
        self.count((arm, iteration), &outcome);
        if lost.is_none() {
            self.losses = Losses::default();
            self.durations.extend(exit.duration_s);
        }
        let reason = outcome.evidence.first().map(|evidence| evidence.text.clone());
        let kind = EventKind::IterationFinished {
            iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories,
            failing_tests: outcome.failing_tests,
            exit_code: exit.code,
            duration_s: exit.duration_s.unwrap_or(0.0),
            dir: dir.display().to_string(),
            reason: reason.or_else(|| outcome.notes.first().cloned()),
        };
        self.emit(arm, kind);
    }

    fn update_tally(&mut self) {
        self.tally.running = count(self.running.len());
        self.tally.pending = count(self.queue.len() + self.standing_by);
    }

    fn check_stop_rules(&mut self) {
        if let Some(reason) = self.stop_rules.elapsed(self.began.elapsed()).cloned() {
            self.stop(Reason::Stopped(reason));
        }
        if self.stop_when_decided && self.sweeps.len() > 1 && self.arms.is_decided() {
            self.stop(Reason::Stopped(StopReason::Decided));
        }
    }

    pub(super) fn end(mut self) -> End {
        let reason = self.reason.clone().unwrap_or(Reason::Complete);
        let planned = (self.range.1 - self.range.0 + 1).saturating_mul(count(self.sweeps.len()));
        let missing = planned.saturating_sub(self.tally.recorded());
        self.update_tally();
        self.emit_to_all(&EventKind::SweepFinished {
            reason: reason.text(),
            missing,
        });
        self.show(|reporter| reporter.finish());
        let e_values = if self.sweeps.len() > 1 {
            self.arms.e_values()
        } else {
            Vec::new()
        };
        End {
            reason,
            tally: self.tally,
            elsewhere: self.queue.elsewhere(),
            e_values,
        }
    }
}

impl Sweep {
    fn new(arm: &Arm) -> Sweep {
        Sweep {
            name: arm.name.clone(),
            context: Arc::clone(&arm.context),
            planned: count(arm.missing.len()),
            recorded: count(arm.recorded.len()),
            is_log_broken: false,
        }
    }

    /// The event log is a convenience: results do not depend on it, and its failure stops nothing.
    fn write_down(&mut self, event: &Event) {
        if self.is_log_broken {
            return;
        }
        if let Err(error) = self.context.sweep.append_event(event) {
            self.is_log_broken = true;
            reporter::warn(&format!("{error}; events are no longer written"));
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
