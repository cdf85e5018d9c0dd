//! The only scheduler: one task owns the queue, the tally and the displays, and hears of everything that happens.
//!
//! An iteration is published before it is announced. A store that cannot record stops the sweep; a display that
//! fails is switched off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::iteration::{self, Answer, Cancel, Context, Live, Progress, Record};
use crate::model::stop::{StopReason, StopRules, StopState};
use crate::model::{Event, EventKind, Outcome, Tally};
use crate::reporter::{Reporter, Running};
use crate::store::StoreError;

/// Lost attempts in a row, for one reason, after which going on is pointless.
const SAME_REASON_LIMIT: u32 = 3;

/// An iteration is called slow at this many times the median of the finished ones, and never before `SLOW_LEAST`.
const SLOW_FACTOR: u32 = 3;
const SLOW_LEAST: Duration = Duration::from_secs(30);

/// What a process sets out to do.
pub struct Plan {
    /// First and last iteration asked for.
    pub range: (u32, u32),
    /// Iterations to run, in order.
    pub iterations: Vec<u32>,
    /// Outcomes of those of the range that were recorded before.
    pub recorded: Vec<Outcome>,
    /// Iterations in flight.
    pub jobs: u32,
    /// When to stop early.
    pub stop: StopRules,
    /// How long running iterations may go on after the first signal.
    pub cancel_grace: Duration,
}

/// How a process's part of the sweep ended.
#[derive(Debug)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Counts of the range, as this process knows them.
    pub tally: Tally,
    /// Iterations that other processes were running at the end.
    pub elsewhere: Vec<u32>,
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
            Reason::Broken(cause) => format!("broken: {cause}"),
        }
    }
}

/// Runs the iterations of a plan.
///
/// # Errors
/// The store could not record a result, or a claim could not be made.
pub async fn run(
    context: Arc<Context>,
    plan: Plan,
    reporters: Vec<Box<dyn Reporter>>,
    mut signals: mpsc::UnboundedReceiver<()>,
) -> Result<End, StoreError> {
    let (progress, mut heard) = mpsc::unbounded_channel();
    let (cancel, cancelled) = watch::channel(Cancel::No);
    let mut sweep = State::new(Arc::clone(&context), plan, reporters);
    sweep.announce_start();
    let mut flights: JoinSet<(u32, Result<Answer, StoreError>)> = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut give_up_waiting: Option<Instant> = None;
    let mut fatal = None;
    loop {
        while sweep.may_start(flights.len())
            && let Some(iteration) = sweep.queue.pop_front()
        {
            let (context, progress, cancelled) = (Arc::clone(&context), progress.clone(), cancelled.clone());
            flights.spawn(async move { (iteration, iteration::run(context, iteration, progress, cancelled).await) });
        }
        if flights.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            Some(news) = heard.recv() => sweep.hear(news),
            Some(landed) = flights.join_next() => {
                let (iteration, answer) = landed.expect("an iteration never panics");
                // What it reported before it landed comes first.
                while let Ok(news) = heard.try_recv() {
                    sweep.hear(news);
                }
                if let Err(error) = sweep.land(iteration, answer) {
                    sweep.stop(Reason::Broken(error.to_string()));
                    let _ = cancel.send(Cancel::Now);
                    fatal.get_or_insert(error);
                }
            }
            Some(()) = signals.recv() => {
                let level = if *cancel.borrow() == Cancel::No { Cancel::Drain } else { Cancel::Now };
                sweep.stop(Reason::Interrupted);
                sweep.emit(EventKind::CancelRequested { now: level == Cancel::Now });
                give_up_waiting = Some(Instant::now() + sweep.cancel_grace);
                let _ = cancel.send(level);
            }
            () = at(give_up_waiting), if *cancel.borrow() == Cancel::Drain => {
                sweep.emit(EventKind::CancelRequested { now: true });
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

/// What the scheduling task knows.
struct State {
    context: Arc<Context>,
    reporters: Vec<Box<dyn Reporter>>,
    range: (u32, u32),
    jobs: u32,
    stop_rules: StopState,
    cancel_grace: Duration,
    queue: VecDeque<u32>,
    /// Claimed by other processes; looked at once more when the queue is empty, in case one of them died.
    elsewhere: BTreeSet<u32>,
    looked_again: bool,
    running: BTreeMap<u32, Flight>,
    tally: Tally,
    durations: Vec<f64>,
    began: Instant,
    reason: Option<Reason>,
    losses: Losses,
    events_broken: bool,
}

/// Attempts that the world broke one after the other.
#[derive(Default)]
struct Losses {
    reason: String,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Counts an attempt that began at `since`. Those that were in flight together count once: a daemon that is
    /// restarted takes them all at once, and that is one misfortune.
    fn add(&mut self, reason: &str, since: Option<Instant>) {
        let is_same_misfortune = since.zip(self.last).is_some_and(|(since, last)| since <= last);
        if self.reason != reason {
            self.in_a_row = 0;
            reason.clone_into(&mut self.reason);
        }
        if self.in_a_row == 0 || !is_same_misfortune {
            self.in_a_row += 1;
            self.last = Some(Instant::now());
        }
    }
}

/// An iteration in flight.
struct Flight {
    live: Arc<Live>,
    is_slow: bool,
}

impl State {
    fn new(context: Arc<Context>, plan: Plan, reporters: Vec<Box<dyn Reporter>>) -> State {
        let mut tally = Tally::default();
        let mut stop_rules = StopState::new(plan.stop);
        for outcome in &plan.recorded {
            tally.add(outcome);
            stop_rules.observe(outcome);
        }
        tally.pending = u32::try_from(plan.iterations.len()).unwrap_or(u32::MAX);
        State {
            context,
            reporters,
            range: plan.range,
            jobs: plan.jobs,
            stop_rules,
            cancel_grace: plan.cancel_grace,
            queue: plan.iterations.into(),
            elsewhere: BTreeSet::new(),
            looked_again: false,
            running: BTreeMap::new(),
            tally,
            durations: Vec::new(),
            began: Instant::now(),
            reason: None,
            losses: Losses::default(),
            events_broken: false,
        }
    }

    fn announce_start(&mut self) {
        let spec = &self.context.spec;
        self.emit(EventKind::SweepStarted {
            sweep: self.context.sweep.dir().display().to_string(),
            first: self.range.0,
            last: self.range.1,
            jobs: self.jobs,
            planned: self.tally.pending,
            recorded: self.tally.recorded(),
            image_id: spec.image_id.clone(),
            versions: spec.versions.clone(),
        });
        self.check_stop_rules();
    }

    /// Stamps an event, writes it down, shows it.
    fn emit(&mut self, kind: EventKind) {
        let event = Event {
            kind,
            at: Utc::now(),
            elapsed_s: self.began.elapsed().as_secs_f64(),
            tally: self.tally.clone(),
        };
        if !self.events_broken
            && let Err(error) = self.context.sweep.append_event(&event)
        {
            // The event log is a convenience; results do not depend on it.
            self.events_broken = true;
            anstream::eprintln!("warning: {error}; events are no longer written");
        }
        self.show(|reporter| reporter.event(&event));
    }

    /// Hands something to every display; one that fails is switched off with one warning.
    fn show(&mut self, mut what: impl FnMut(&mut dyn Reporter) -> std::io::Result<()>) {
        self.reporters.retain_mut(|reporter| match what(&mut **reporter) {
            Ok(()) => true,
            Err(error) => {
                anstream::eprintln!("warning: a display failed and is switched off: {error}");
                false
            }
        });
    }

    fn may_start(&mut self, in_flight: usize) -> bool {
        if self.reason.is_some() || in_flight >= self.jobs as usize {
            return false;
        }
        // A process that died has let go of its claims.
        if self.queue.is_empty() && in_flight == 0 && !self.looked_again {
            self.looked_again = true;
            self.queue = std::mem::take(&mut self.elsewhere).into_iter().collect();
            self.tally.pending += u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        }
        true
    }

    fn stop(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    fn hear(&mut self, news: Progress) {
        match news {
            Progress::Started {
                iteration,
                attempt,
                live,
            } => {
                if self
                    .running
                    .insert(iteration, Flight { live, is_slow: false })
                    .is_none()
                {
                    self.tally.pending = self.tally.pending.saturating_sub(1);
                    self.tally.running += 1;
                }
                self.emit(EventKind::IterationStarted { iteration, attempt });
            }
            Progress::Lost {
                iteration,
                attempt,
                reason,
            } => {
                let since = self.running.get(&iteration).map(|flight| flight.live.since);
                self.losses.add(&reason, since);
                self.emit(EventKind::AttemptLost {
                    iteration,
                    attempt,
                    reason: reason.clone(),
                });
                if self.losses.in_a_row >= SAME_REASON_LIMIT {
                    self.stop(Reason::Broken(reason));
                }
            }
        }
    }

    /// Takes in how an iteration came out.
    fn land(&mut self, iteration: u32, answer: Result<Answer, StoreError>) -> Result<(), StoreError> {
        if self.running.remove(&iteration).is_some() {
            self.tally.running -= 1;
        } else {
            self.tally.pending = self.tally.pending.saturating_sub(1);
        }
        match answer? {
            Answer::Recorded(record) => self.recorded(iteration, *record),
            Answer::RecordedBefore => {
                if let Some(outcome) = self.context.sweep.outcome(iteration)? {
                    self.tally.add(&outcome);
                    self.stop_rules.observe(&outcome);
                }
            }
            Answer::Elsewhere => {
                self.elsewhere.insert(iteration);
            }
            Answer::Cancelled => {}
        }
        self.check_stop_rules();
        Ok(())
    }

    fn recorded(&mut self, iteration: u32, record: Record) {
        let Record {
            exit,
            outcome,
            dir,
            lost,
        } = record;
        self.tally.add(&outcome);
        self.stop_rules.observe(&outcome);
        if lost.is_none() {
            self.losses = Losses::default();
            self.durations.extend(exit.duration_s);
        }
        self.emit(EventKind::IterationFinished {
            iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories,
            failing_tests: outcome.failing_tests,
            exit_code: exit.code,
            duration_s: exit.duration_s.unwrap_or(0.0),
            dir: dir.display().to_string(),
            reason: outcome
                .evidence
                .first()
                .map(|evidence| evidence.text.clone())
                .or_else(|| outcome.notes.first().cloned()),
        });
    }

    fn check_stop_rules(&mut self) {
        if let Some(reason) = self.stop_rules.elapsed(self.began.elapsed()).cloned() {
            self.stop(Reason::Stopped(reason));
        }
    }

    fn tick(&mut self) {
        self.check_stop_rules();
        self.announce_slow();
        let running: Vec<Running> = self
            .running
            .iter()
            .map(|(iteration, flight)| Running {
                iteration: *iteration,
                elapsed: flight.live.since.elapsed(),
                last_line: flight.live.last_line(),
            })
            .collect();
        self.show(|reporter| reporter.tick(&running));
    }

    fn announce_slow(&mut self) {
        let Some(usual) = median(&self.durations) else { return };
        let limit = (Duration::from_secs_f64(usual) * SLOW_FACTOR).max(SLOW_LEAST);
        let slow: Vec<(u32, f64)> = self
            .running
            .iter_mut()
            .filter(|(_, flight)| !flight.is_slow && flight.live.since.elapsed() > limit)
            .map(|(iteration, flight)| {
                flight.is_slow = true;
                (*iteration, flight.live.since.elapsed().as_secs_f64())
            })
            .collect();
        for (iteration, running_s) in slow {
            self.emit(EventKind::IterationSlow {
                iteration,
                running_s,
                usual_s: usual,
            });
        }
    }

    fn end(mut self) -> End {
        let reason = self.reason.clone().unwrap_or(Reason::Complete);
        let planned = self.range.1 - self.range.0 + 1;
        let missing = planned.saturating_sub(self.tally.recorded());
        self.emit(EventKind::SweepFinished {
            reason: reason.text(),
            missing,
        });
        self.show(|reporter| reporter.finish());
        End {
            reason,
            tally: self.tally,
            elsewhere: self.elsewhere.into_iter().collect(),
        }
    }
}

/// Middle of at least three wall times, in seconds.
fn median(durations: &[f64]) -> Option<f64> {
    if durations.len() < 3 {
        return None;
    }
    let mut sorted = durations.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(sorted[sorted.len() / 2])
}
