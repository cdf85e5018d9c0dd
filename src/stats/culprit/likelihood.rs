//! The probability of runs under a hypothesis: a rate before the change and one from the change on, over a grid of rates.

use std::ops::{Add, Sub};

use crate::stats::rate::Count;

/// The rate from the change on: log-odds from -5.5 to 5.5 in steps of one half, all alike.
pub(super) const RATES: usize = 23;
/// The rate before as a share of it, with its prior probability: a class that appeared, or rose at least threefold.
pub(super) const RATIOS: [(f64, f64); 3] = [(0.0, 0.5), (0.1, 0.25), (1.0 / 3.0, 0.25)];

#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) failed: u64,
    pub(super) passed: u64,
}

impl From<Count> for Tally {
    fn from(count: Count) -> Tally {
        Tally {
            failed: count.failed(),
            passed: count.of() - count.failed(),
        }
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            failed: self.failed + other.failed,
            passed: self.passed + other.passed,
        }
    }
}

impl Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        Tally {
            failed: self.failed - other.failed,
            passed: self.passed - other.passed,
        }
    }
}

/// A rate with the logarithms that its likelihoods need.
pub(super) struct Logs {
    pub(super) p: f64,
    pub(super) ln_failed: f64,
    pub(super) ln_passed: f64,
}

impl Logs {
    pub(super) fn new(p: f64) -> Logs {
        Logs {
            p,
            ln_failed: p.ln(),
            ln_passed: (-p).ln_1p(),
        }
    }

    /// Logarithm of the probability of a series. What did not happen adds nothing, also where it cannot happen.
    pub(super) fn ln_likelihood(&self, runs: Tally) -> f64 {
        let of = |n: u64, ln: f64| if n > 0 { n as f64 * ln } else { 0.0 };
        of(runs.failed, self.ln_failed) + of(runs.passed, self.ln_passed)
    }
}

/// A rate from the change on, with the rates before it in the order of [`RATIOS`].
pub(super) struct Rate {
    pub(super) after: Logs,
    pub(super) before: [Logs; 3],
}

pub(super) fn rates() -> impl Iterator<Item = Rate> {
    (0..RATES).map(|index| {
        let log_odds = (index as f64 - 11.0) / 2.0;
        let p = 1.0 / (1.0 + (-log_odds).exp());
        Rate {
            after: Logs::new(p),
            before: RATIOS.map(|(ratio, _)| Logs::new(ratio * p)),
        }
    })
}

/// A hypothesis with a pair of rates, or many of them with their mean rates.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) ln_weight: f64,
    pub(super) before: f64,
    pub(super) after: f64,
}

impl Cell {
    pub(super) const IMPOSSIBLE: Cell = Cell {
        ln_weight: f64::NEG_INFINITY,
        before: 0.0,
        after: 0.0,
    };

    pub(super) fn sum(cells: impl Iterator<Item = Cell>) -> Cell {
        let cells: Vec<Cell> = cells.collect();
        let top = cells
            .iter()
            .map(|cell| cell.ln_weight)
            .fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut before, mut after) = (0.0, 0.0, 0.0);
        // A cell that is e^50 times less likely than the likeliest changes no digit.
        for cell in cells.into_iter().filter(|cell| cell.ln_weight > top - 50.0) {
            let weight = (cell.ln_weight - top).exp();
            sum += weight;
            before += weight * cell.before;
            after += weight * cell.after;
        }
        Cell {
            ln_weight: top + sum.ln(),
            before: before / sum,
            after: after / sum,
        }
    }
}
