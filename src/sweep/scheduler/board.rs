//! The board: what everyone is told while iterations run. It owns the tally, writes events down, shows them, and knows
//! why nothing new is started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::breakage::{self, Breakage};
use super::{Arm, End, Reason, Task};
use crate::judge::{Kept, Outcome, OutcomeKind};
use crate::run::StoreError;
use crate::stats::durations::Spread;
use crate::sweep::display::{self, Reporter, Running};
use crate::sweep::iteration::{IterationEnd, Live, News, Record};
use crate::sweep::{Event, EventKind, Tally};
use crate::timings;

/// How many seconds before the shortest session so far would end a container is started ahead: starting takes a fraction
/// of a second, on a busy engine a few.
const LEAD_S: f64 = 5.0;

/// An iteration is called slow at this many times the median of the finished ones, and never before `SLOW_LEAST`.
const SLOW_FACTOR: u32 = 3;
const SLOW_LEAST: Duration = Duration::from_secs(30);

/// Iterations in a row after which a deadline that is too short is spoken of.
const OUT_OF_TIME: usize = 2;

/// An iteration, by the number of its arm and its own.
type Slot = (usize, u32);

pub(super) struct Board {
    arms: Vec<Known>,
    displays: Vec<Box<dyn Reporter>>,
    jobs: u32,
    running: BTreeMap<Slot, InFlight>,
    tally: Tally,
    durations: Vec<f64>,
    shortest: Option<f64>,
    breakage: Breakage,
    /// What full sessions seem to take, in seconds, of iterations in a row that were out of time.
    out_of_time: Vec<Option<u64>>,
    began: Instant,
    reason: Option<Reason>,
}

/// An arm that was announced.
struct Known {
    arm: Arc<Arm>,
    is_log_broken: bool,
}

struct InFlight {
    live: Arc<Live>,
    is_slow: bool,
}

impl Board {
    pub(super) fn new(displays: Vec<Box<dyn Reporter>>, jobs: u32) -> Board {
        Board {
            arms: Vec::new(),
            displays,
            jobs,
            running: BTreeMap::new(),
            tally: Tally::default(),
            durations: Vec::new(),
            shortest: None,
            breakage: Breakage::default(),
            out_of_time: Vec::new(),
            began: Instant::now(),
            reason: None,
        }
    }

    /// Announces those of the arms that are new, and counts what they had recorded.
    pub(super) fn announce(&mut self, arms: &[Arc<Arm>]) {
        let first = self.arms.len();
        for arm in arms {
            if self.position(arm).is_none() {
                arm.recorded.iter().for_each(|(_, outcome)| self.tally.add(outcome));
                self.arms.push(Known {
                    arm: Arc::clone(arm),
                    is_log_broken: false,
                });
            }
        }
        for number in first..self.arms.len() {
            let arm = &self.arms[number].arm;
            let kind = EventKind::SweepStarted {
                sweep: arm.context.sweep.shown().display().to_string(),
                first: arm.range.0,
                last: arm.range.1,
                jobs: self.jobs,
                planned: count(arm.missing.len()),
                recorded: count(arm.recorded.len()),
                image_id: arm.context.spec.image_id.clone(),
                versions: arm.context.spec.versions.clone(),
            };
            self.emit(number, kind);
        }
    }

    fn position(&self, arm: &Arc<Arm>) -> Option<usize> {
        // A search runs iterations of one sweep under conditions of their own: still the same sweep.
        let dir = arm.context.sweep.dir();
        let mut known = self.arms.iter();
        known.position(|known| Arc::ptr_eq(&known.arm, arm) || known.arm.context.sweep.dir() == dir)
    }

    fn slot(&self, task: &Task) -> Slot {
        (self.position(&task.arm).unwrap_or_default(), task.iteration)
    }

    /// Stamps an event, writes it down, shows it.
    fn emit(&mut self, arm: usize, kind: EventKind) {
        let event = self.stamped(arm, kind);
        self.write_down(arm, &event);
        self.show(|display| display.event(&event));
    }

    /// As `announce`, for an event of every arm; shown once.
    pub(super) fn emit_to_all(&mut self, kind: &EventKind) {
        for arm in 0..self.arms.len() {
            let event = self.stamped(arm, kind.clone());
            self.write_down(arm, &event);
        }
        let event = self.stamped(0, kind.clone());
        self.show(|display| display.event(&event));
    }

    fn stamped(&self, arm: usize, kind: EventKind) -> Event {
        Event {
            kind,
            arm: self.arms.get(arm).and_then(|known| known.arm.name.clone()),
            at: Utc::now(),
            elapsed_s: self.began.elapsed().as_secs_f64(),
            tally: self.tally.clone(),
        }
    }

    /// The event log is a convenience: results do not depend on it, and its failure stops nothing.
    fn write_down(&mut self, arm: usize, event: &Event) {
        let known = &mut self.arms[arm];
        if known.is_log_broken {
            return;
        }
        if let Err(error) = known.arm.context.sweep.append_event(event) {
            known.is_log_broken = true;
            display::warn(&format!("{error}; events are no longer written"));
        }
    }

    /// Hands something to every display; one that fails is switched off with one warning.
    fn show(&mut self, mut what: impl FnMut(&mut dyn Reporter) -> std::io::Result<()>) {
        self.displays.retain_mut(|display| match what(&mut **display) {
            Ok(()) => true,
            Err(error) => {
                display::warn(&format!("a display failed and is switched off: {error}"));
                false
            }
        });
    }

    /// Starts nothing new; the first reason is the one that is told.
    pub(super) fn stop(&mut self, reason: Reason) {
        if self.reason.is_some() {
            return;
        }
        let is_rule = matches!(reason, Reason::Stopped(_));
        self.reason = Some(reason);
        // Written at once: the rule has been looked at, whatever becomes of this process while the rest runs to its end.
        if is_rule && let Err(error) = self.record_reason() {
            display::warn(&error.to_string());
        }
    }

    /// Keeps why this process stopped with every sweep it worked on.
    pub(super) fn record_reason(&self) -> Result<(), StoreError> {
        let text = self.reason.as_ref().unwrap_or(&Reason::Complete).text();
        let mut sweeps = self.arms.iter().map(|known| &known.arm.context.sweep);
        sweeps.try_for_each(|sweep| sweep.add_end(&text))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.reason.is_some()
    }

    /// Sets how many iterations have not begun.
    pub(super) fn set_pending(&mut self, pending: usize) {
        self.tally.pending = count(pending);
    }

    /// Whether making an iteration ready ahead of its turn is worth it now: a container that will be idle for minutes,
    /// and keeps other processes from its iteration, is not.
    pub(super) fn is_time_to_prepare(&self) -> bool {
        self.shortest.is_none_or(|shortest| {
            let mut running = self.running.values();
            running.any(|flight| flight.live.since.elapsed().as_secs_f64() + LEAD_S >= shortest)
        })
    }

    /// Takes in what a running iteration tells.
    pub(super) fn hear(&mut self, task: &Task, news: News) {
        let ((arm, iteration), slot) = (self.slot(task), self.slot(task));
        match news {
            News::Started { attempt, live } => self.started(slot, attempt, live),
            News::Kept(Ok(Kept {
                container,
                until,
                enter,
            })) => self.emit(
                arm,
                EventKind::IterationKept {
                    iteration,
                    container,
                    until,
                    enter,
                },
            ),
            News::Kept(Err(cause)) => display::warn(&format!(
                "run{iteration:03} hung and could not be kept running: {cause}"
            )),
            News::Lost { attempt, error } => {
                self.lost(slot, attempt, error.to_string(), Some(breakage::kind(&error)));
            }
        }
    }

    pub(super) fn started(&mut self, slot: Slot, attempt: u32, live: Arc<Live>) {
        self.running.insert(slot, InFlight { live, is_slow: false });
        self.count_running();
        let iteration = slot.1;
        self.emit(slot.0, EventKind::IterationStarted { iteration, attempt });
    }

    /// Takes in an attempt that gave no answer. With a `kind` it counts among those that break in a row.
    pub(super) fn lost(&mut self, slot: Slot, attempt: u32, reason: String, kind: Option<String>) {
        let (arm, iteration) = slot;
        if let Some(kind) = kind {
            let since = self.running.get(&slot).map(|flight| flight.live.since);
            self.breakage.add(&kind, since);
        }
        let event = EventKind::AttemptLost {
            iteration,
            attempt,
            reason: reason.clone(),
        };
        self.emit(arm, event);
        if self.breakage.is_hopeless() {
            self.stop(Reason::Broken(reason));
        }
    }

    /// Takes in what an iteration came to.
    pub(super) fn landed(&mut self, task: &Task, end: &IterationEnd) {
        let slot = self.slot(task);
        self.left(slot);
        if let Some(outcome) = end.outcome() {
            self.tally.add(outcome);
        }
        if let IterationEnd::Recorded(record) = end {
            self.recorded(slot, record);
        }
    }

    /// Takes an iteration off the running ones.
    pub(super) fn left(&mut self, slot: Slot) {
        self.running.remove(&slot);
        self.count_running();
    }

    fn recorded(&mut self, (arm, iteration): Slot, record: &Record) {
        let Record {
            exit,
            outcome,
            dir,
            lost,
        } = record;
        if lost.is_none() {
            self.breakage = Breakage::default();
            self.durations.extend(exit.duration_s);
            self.shortest = self.shortest.into_iter().chain(exit.duration_s).reduce(f64::min);
        }
        let reason = outcome.evidence.first().map(|evidence| evidence.text.clone());
        let kind = EventKind::IterationFinished {
            iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories.clone(),
            failing_tests: outcome.failing_tests.clone(),
            reran: outcome.reran.clone(),
            exit_code: exit.code,
            duration_s: exit.duration_s.unwrap_or(0.0),
            dir: dir.display().to_string(),
            reason: reason.or_else(|| outcome.notes.first().cloned()),
        };
        self.emit(arm, kind);
        timings::moment(iteration, "shown");
        self.ask_for_time(outcome);
    }

    /// After two iterations in a row that were out of time: how much a full session seems to need. Said once.
    fn ask_for_time(&mut self, outcome: &Outcome) {
        if outcome.outcome != OutcomeKind::OutOfTime {
            self.out_of_time.clear();
            return;
        }
        self.out_of_time.push(outcome.full_session_s);
        if self.out_of_time.len() == OUT_OF_TIME {
            display::note(&needed_time(self.out_of_time.iter().flatten().max().copied()));
        }
    }

    fn count_running(&mut self) {
        self.tally.running = count(self.running.len());
    }

    /// What can be seen of an iteration that runs.
    pub(super) fn live(&self, slot: Slot) -> Option<&Live> {
        Some(&self.running.get(&slot)?.live)
    }

    /// Called a few times a second: shows what runs, and says what takes long. `standing` is what the answers so far
    /// carry.
    pub(super) fn tick(&mut self, standing: &str) {
        self.announce_slow();
        let running = self.running.iter().map(|((arm, iteration), flight)| Running {
            arm: self.arms[*arm].arm.name.clone(),
            iteration: *iteration,
            elapsed: flight.live.since.elapsed(),
            last_line: flight.live.last_line(),
        });
        let running: Vec<Running> = running.collect();
        self.show(|display| display.tick(&running, standing));
    }

    fn announce_slow(&mut self) {
        let is_new = |flight: &InFlight| !flight.is_slow && flight.live.since.elapsed() > SLOW_LEAST;
        if !self.running.values().any(is_new) {
            return;
        }
        let usual = Spread::of(self.durations.clone()).filter(|spread| spread.n >= 3);
        let Some(usual_s) = usual.map(|spread| spread.median) else {
            return;
        };
        let limit = Duration::from_secs_f64(usual_s) * SLOW_FACTOR;
        let mut slow = Vec::new();
        for (slot, flight) in &mut self.running {
            let running = flight.live.since.elapsed();
            if is_new(flight) && running > limit {
                flight.is_slow = true;
                slow.push((*slot, running.as_secs_f64()));
            }
        }
        for ((arm, iteration), running_s) in slow {
            let kind = EventKind::IterationSlow {
                iteration,
                running_s,
                usual_s,
            };
            self.emit(arm, kind);
        }
    }

    pub(super) fn end(mut self) -> End {
        let reason = self.reason.clone().unwrap_or(Reason::Complete);
        let asked = |known: &Known| known.arm.range.1 - known.arm.range.0 + 1;
        let asked = self.arms.iter().map(asked).fold(0, u32::saturating_add);
        self.emit_to_all(&EventKind::SweepFinished {
            reason: reason.text(),
            missing: asked.saturating_sub(self.tally.recorded()),
        });
        self.show(|display| display.finish());
        End {
            reason,
            tally: self.tally,
        }
    }
}

/// What is said of a deadline that full sessions, which take about so many seconds, do not meet. Half as much again
/// leaves room for a slow one.
fn needed_time(full_session_s: Option<u64>) -> String {
    let said = format!("{OUT_OF_TIME} iterations in a row were out of time while their tests were still finishing");
    match full_session_s {
        Some(full) => {
            let minutes = (full + full / 2).div_ceil(60).max(1);
            let full = humantime::format_duration(Duration::from_secs(full));
            format!("{said}: a full session seems to take about {full}\nhint: --timeout {minutes}m")
        }
        None => format!("{said}\nhint: a longer --timeout"),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
