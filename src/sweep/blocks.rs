//! The work of a sweep: its missing iterations, in order, until a stop rule holds.
//!
//! Several arms are one work, in blocks of one iteration of each, in an order drawn anew for every block, so that the
//! drift of the host hits all arms alike.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::arms::{ArmsState, block_order};
use super::iteration::IterationEnd;
use super::scheduler::{Arm, Next, Reason, Task, Work};
use super::stop::{StopReason, StopRules, StopState};
use crate::judge::{Outcome, OutcomeKind};

/// An iteration, by the number of its arm and its own.
type Slot = (usize, u32);

pub struct Blocks {
    arms: Vec<Arc<Arm>>,
    waiting: VecDeque<Slot>,
    in_flight: BTreeSet<Slot>,
    /// Iterations that other processes have claimed.
    claimed_by_others: BTreeSet<Slot>,
    has_looked_again: bool,
    stop_rules: StopState,
    evidence: ArmsState,
    stops_when_decided: bool,
    /// Whether any iteration came to something else than no test.
    has_run: bool,
    /// What pytest said in an iteration of this process in which it ran no test, where none did before.
    nothing_runs: Option<String>,
    began: Instant,
}

/// When a sweep ends before its last iteration.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    pub rules: StopRules,
    /// Whether to stop as soon as every later arm is shown to differ from the first one.
    pub when_decided: bool,
}

impl Blocks {
    /// The missing iterations of arms with one range. `seed` draws the order of the arms in each block.
    pub fn new(arms: Vec<Arc<Arm>>, seed: u64, stops: Stops) -> Blocks {
        let missing: Vec<BTreeSet<u32>> = arms.iter().map(|arm| arm.missing.iter().copied().collect()).collect();
        let blocks: BTreeSet<u32> = missing.iter().flatten().copied().collect();
        let waiting = blocks.into_iter().flat_map(|block| {
            let order = block_order(seed, block, arms.len()).into_iter();
            order.map(move |arm| (arm, block))
        });
        let mut blocks = Blocks {
            waiting: waiting.filter(|(arm, block)| missing[*arm].contains(block)).collect(),
            in_flight: BTreeSet::new(),
            claimed_by_others: BTreeSet::new(),
            has_looked_again: false,
            stop_rules: StopState::new(stops.rules),
            evidence: ArmsState::new(arms.len(), arms.first().map_or(1, |arm| arm.range.0)),
            stops_when_decided: stops.when_decided && arms.len() > 1,
            has_run: false,
            nothing_runs: None,
            began: Instant::now(),
            arms,
        };
        for (number, arm) in blocks.arms.clone().iter().enumerate() {
            for (iteration, outcome) in &arm.replaced {
                blocks.stop_rules.observe_replaced(outcome);
                blocks.evidence.observe(*iteration, number, outcome.verdict.into());
            }
            for (iteration, outcome) in &arm.recorded {
                blocks.count((number, *iteration), outcome);
            }
        }
        blocks
    }

    /// Takes an outcome into everything that may stop the sweep.
    fn count(&mut self, (arm, iteration): Slot, outcome: &Outcome) {
        self.stop_rules.observe(outcome);
        self.evidence.observe(iteration, arm, outcome.verdict.into());
        self.has_run |= !is_no_test(outcome.outcome);
    }

    /// Why nothing more is to be started, if there is a reason: a stop rule that holds, or arguments that name no test.
    pub(super) fn reason_to_stop(&mut self) -> Option<Reason> {
        if let Some(words) = &self.nothing_runs {
            return Some(Reason::NothingRuns(words.clone()));
        }
        self.stop_rule().map(Reason::Stopped)
    }

    /// The stop rule that holds, if one does.
    fn stop_rule(&mut self) -> Option<StopReason> {
        if let Some(rule) = self.stop_rules.elapsed(self.began.elapsed()) {
            return Some(rule.clone());
        }
        (self.stops_when_decided && self.evidence.is_decided()).then_some(StopReason::Decided)
    }

    /// How many iterations other processes have.
    pub fn claimed_by_others(&self) -> usize {
        self.claimed_by_others.len()
    }

    /// Evidence that each later arm differs from the first one, as e-values; empty where there is one arm.
    pub fn e_values(&self) -> Vec<f64> {
        match self.arms.len() {
            0 | 1 => Vec::new(),
            _ => self.evidence.e_values(),
        }
    }

    fn slot(&self, task: &Task) -> Slot {
        let arm = self.arms.iter().position(|arm| Arc::ptr_eq(arm, &task.arm));
        (arm.unwrap_or_default(), task.iteration)
    }
}

/// Whether a session ran no test because of how it was called.
fn is_no_test(outcome: OutcomeKind) -> bool {
    matches!(outcome, OutcomeKind::UsageError | OutcomeKind::NoTests)
}

impl Work for Blocks {
    fn arms(&self) -> Vec<Arc<Arm>> {
        self.arms.clone()
    }

    fn next(&mut self) -> anyhow::Result<Next> {
        if let Some(reason) = self.reason_to_stop() {
            return Ok(Next::Done(reason));
        }
        // A process that died has let go of its claims: what others had claimed is tried once more when nothing else is left.
        if self.waiting.is_empty() && self.in_flight.is_empty() && !self.has_looked_again {
            self.has_looked_again = true;
            self.waiting = std::mem::take(&mut self.claimed_by_others).into_iter().collect();
        }
        Ok(match self.waiting.pop_front() {
            Some((arm, iteration)) => {
                self.in_flight.insert((arm, iteration));
                let arm = Arc::clone(&self.arms[arm]);
                Next::Run(Task { arm, iteration })
            }
            None if self.in_flight.is_empty() => Next::Done(Reason::Complete),
            None => Next::Wait,
        })
    }

    fn ended(&mut self, task: &Task, end: &IterationEnd) {
        let slot = self.slot(task);
        self.in_flight.remove(&slot);
        match end {
            IterationEnd::ByAnother => drop(self.claimed_by_others.insert(slot)),
            IterationEnd::NotStarted => self.waiting.push_front(slot),
            IterationEnd::Recorded(_)
            | IterationEnd::RecordedBefore(_)
            | IterationEnd::Cancelled
            | IterationEnd::Lost(_) => {}
        }
        if let Some(outcome) = end.outcome() {
            self.count(slot, outcome);
        }
        // What was recorded before may have been mended since: the next iteration shows it.
        if let IterationEnd::Recorded(record) = end
            && is_no_test(record.outcome.outcome)
            && !self.has_run
        {
            let told = record.outcome.evidence.first().map(|evidence| evidence.text.clone());
            self.nothing_runs = Some(told.unwrap_or_else(|| "no tests ran".to_owned()));
        }
    }

    fn is_wanted(&mut self, _task: &Task, has_begun: bool) -> bool {
        has_begun || self.reason_to_stop().is_none()
    }

    fn left(&self) -> usize {
        self.waiting.len()
    }

    fn standing(&self) -> String {
        self.stop_rules.standing().to_string()
    }
}
