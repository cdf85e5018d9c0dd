//! Which of several conditions ("knobs", each on or off) make a class of failure more frequent: what the runs of a
//! search say about each of them, and with which probability each is on in the next block.
//!
//! The model steers the search and proves nothing: what it finds is confirmed on fresh runs ([`confirm`]). All of it is
//! recomputed from the recorded runs. The order of the steps is that of [`Course`].

use std::ops::RangeInclusive;

use serde::Serialize;

use super::draw::draw;
use super::fisher::fisher_greater;
use super::rate::Count;

pub mod confirm;
pub mod course;
mod factor;
mod replay;

pub use confirm::{Bounds, Confirmation, Verdict, bounds, confirm};
pub use course::{Course, Planned, Recorded, Report, Role, Stage, Step, Stop};
pub use factor::{Effect, Factor, factors};

/// Numbers of knobs for which the procedure was simulated.
pub const KNOBS: RangeInclusive<usize> = 3..=12;

/// A knob is on in at least this share of the runs of a block, and off in at least as many.
const CLIP: f64 = 0.25;
/// Failures below which no knob is on in more than half of a block.
const FEW: u64 = 4;
/// Family-wise level at which a knob is dropped because it brings other failures.
const HOLD: f64 = 0.01;
/// Posterior probability of helping above which a knob is part of the winner.
const WINNER: f64 = 0.6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Bit `i` is set where the knob number `i` was on.
    pub on: u32,
    /// Whether the target failed; `None` where there was no answer.
    pub target: Option<bool>,
    /// Whether another class failed, or there was no answer.
    pub other: bool,
}

impl Run {
    fn has_on(self, knob: usize) -> bool {
        self.on >> knob & 1 == 1
    }
}

/// The recorded runs with every knob off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub target: Count,
    /// Runs in which another class failed.
    pub other: u64,
}

/// What all runs so far say about the knobs; vectors are by knob.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct State {
    /// Failures of the target in the runs, without the base's.
    pub failures: u64,
    /// Knobs that bring failures of other classes or unanswered runs; ascending. They are off from now on.
    pub dropped: Vec<usize>,
    /// Posterior probability that the knob makes the target more frequent.
    pub p_helps: Vec<f64>,
    /// Share of the next block's runs in which the knob is on.
    pub q: Vec<f64>,
    /// Knobs to confirm together if the search ended here; ascending.
    pub winner: Vec<usize>,
}

impl State {
    /// The state of a search over so many knobs after some runs.
    pub fn of(knobs: usize, base: Base, runs: &[Run]) -> State {
        let dropped = dropped(knobs, base, runs);
        let fit = Fit::of(knobs, base, runs);
        let failures = runs.iter().filter(|run| run.target == Some(true)).count() as u64;
        let p_helps: Vec<f64> = (0..knobs)
            .map(|knob| gamma_above_one(fit.failed[knob], fit.expected[knob]))
            .collect();
        let most = if failures < FEW { 0.5 } else { 1.0 - CLIP };
        let q = (0..knobs)
            .map(|knob| {
                if dropped.contains(&knob) {
                    0.0
                } else if runs.is_empty() {
                    0.5
                } else {
                    p_helps[knob].max(CLIP).min(most)
                }
            })
            .collect();
        let winner = (0..knobs)
            .filter(|knob| !dropped.contains(knob) && p_helps[*knob] > WINNER)
            .collect();
        State {
            failures,
            dropped,
            p_helps,
            q,
            winner,
        }
    }

    pub fn winner_mask(&self) -> u32 {
        self.winner.iter().fold(0, |mask, knob| mask | 1 << knob)
    }
}

/// The knobs of the iterations `first` to `first + size - 1`, as bit masks. A knob whose share is exactly one half is on
/// in exactly half of them.
#[expect(clippy::float_cmp, reason = "one half is assigned, never computed")]
pub fn block(seed: u64, first: u64, q: &[f64], size: usize) -> Vec<u32> {
    let mut masks = vec![0; size];
    for (knob, &share) in q.iter().enumerate() {
        let drawn: Vec<f64> = (0..size as u64)
            .map(|run| draw(seed, first + run, knob as u64))
            .collect();
        let mut runs: Vec<usize> = (0..size).collect();
        if share == 0.5 {
            runs.sort_by(|a, b| drawn[*a].total_cmp(&drawn[*b]));
            runs.truncate(size / 2);
        } else {
            runs.retain(|run| drawn[*run] < share);
        }
        for run in runs {
            masks[run] |= 1 << knob;
        }
    }
    masks
}

/// Factors of the failure rate: expected failures of a run are β times the factors of the knobs that are on. Priors
/// Gamma(1, 1) on factors and Gamma(½, 5) on β; the mode, of which there is one.
struct Fit {
    beta: f64,
    factors: Vec<f64>,
    /// By knob: failures with it on.
    failed: Vec<u64>,
    /// By knob: failures that would be expected of the runs with it on if its factor were 1.
    expected: Vec<f64>,
}

impl Fit {
    fn of(knobs: usize, base: Base, runs: &[Run]) -> Fit {
        let answered: Vec<(Run, bool)> = runs.iter().filter_map(|run| Some((*run, run.target?))).collect();
        let on: Vec<Vec<usize>> = (0..knobs)
            .map(|knob| {
                (0..answered.len())
                    .filter(|run| answered[*run].0.has_on(knob))
                    .collect()
            })
            .collect();
        let failed: Vec<u64> = on
            .iter()
            .map(|runs| runs.iter().filter(|run| answered[**run].1).count() as u64)
            .collect();
        let all_failed = answered.iter().filter(|(_, failed)| *failed).count() as u64 + base.target.failed();
        let mut fit = Fit {
            beta: 0.0,
            factors: vec![1.0; knobs],
            failed,
            expected: vec![0.0; knobs],
        };
        // Of each run: the product of the factors of its knobs.
        let mut products = vec![1.0; answered.len()];
        // Each turn moves one coordinate after another to its mode. A few dozen turns are the rule.
        for _ in 0..10_000 {
            let exposure = base.target.of() as f64 + products.iter().sum::<f64>() + 5.0;
            fit.beta = (all_failed as f64 + 0.5) / exposure;
            let mut change = 0.0_f64;
            for (knob, on) in on.iter().enumerate() {
                let sum: f64 = on.iter().map(|run| products[*run]).sum();
                fit.expected[knob] = fit.beta * sum / fit.factors[knob];
                let factor = (1.0 + fit.failed[knob] as f64) / (1.0 + fit.expected[knob]);
                let ratio = factor / fit.factors[knob];
                for run in on {
                    products[*run] *= ratio;
                }
                change = change.max(ratio.ln().abs());
                fit.factors[knob] = factor;
            }
            if change < 1e-12 {
                break;
            }
        }
        fit
    }
}

/// P(Gamma(1 + failed, rate 1 + expected) > 1), which is that of at most `failed` events where `1 + expected` are
/// expected.
fn gamma_above_one(failed: u64, expected: f64) -> f64 {
    let mean = 1.0 + expected;
    let mut ln_term = -mean;
    let mut sum = ln_term.exp();
    for event in 1..=failed {
        ln_term += (mean / event as f64).ln();
        sum += ln_term.exp();
    }
    sum.min(1.0)
}

/// Knobs that bring failures of other classes, or no answer. The worst one is dropped and its runs are set aside, then
/// again: otherwise the innocent knobs that were on beside a breaker would fall with it.
fn dropped(knobs: usize, base: Base, runs: &[Run]) -> Vec<usize> {
    let mut dropped: Vec<usize> = Vec::new();
    let mut left: Vec<Run> = runs.to_vec();
    let base = Count::new(base.other, base.target.of()).unwrap_or_default();
    loop {
        let mut worst: Option<(f64, usize)> = None;
        for knob in (0..knobs).filter(|knob| !dropped.contains(knob)) {
            let of = |is_on: bool| -> Count {
                let runs = left.iter().filter(|run| run.has_on(knob) == is_on);
                runs.map(|run| run.other).collect()
            };
            let (on, off) = (of(true), base.plus(of(false)));
            let p = fisher_greater(off, on);
            if on.of() > 0 && p < worst.map_or(1.0, |(p, _)| p) {
                worst = Some((p, knob));
            }
        }
        match worst {
            Some((p, knob)) if p < HOLD / knobs as f64 => {
                dropped.push(knob);
                left.retain(|run| !run.has_on(knob));
            }
            _ => break,
        }
    }
    dropped.sort_unstable();
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(failed: u64, of: u64, other: u64) -> Base {
        Base {
            target: Count::new(failed, of).unwrap(),
            other,
        }
    }

    fn run(on: u32, failed: bool) -> Run {
        Run {
            on,
            target: Some(failed),
            other: false,
        }
    }

    #[test]
    fn before_any_run_every_knob_is_on_half_the_time() {
        let state = State::of(3, base(2, 75, 0), &[]);
        assert_eq!((state.failures, state.dropped.len(), state.winner.len()), (0, 0, 0));
        assert_eq!(state.q, [0.5; 3]);
        // Nothing is known: a factor is above 1 as often as its prior says.
        assert!(state.p_helps.iter().all(|p| (p - (-1.0_f64).exp()).abs() < 1e-12));
    }

    #[test]
    fn a_knob_that_was_on_in_every_failure_is_on_more_often_and_wins() {
        let runs: Vec<Run> = (0..24)
            .map(|i| run(if i % 2 == 0 { 0b001 } else { 0b110 }, i % 4 == 0))
            .collect();
        let state = State::of(3, base(1, 75, 0), &runs);
        assert_eq!(
            (state.failures, state.winner.as_slice(), state.winner_mask()),
            (6, [0].as_slice(), 1)
        );
        assert!(
            state.q[0] > 0.5 && state.q[0] <= 0.75 && state.q[1] >= 0.25,
            "{:?}",
            state.q
        );
    }

    #[test]
    fn with_few_failures_no_knob_is_on_in_more_than_half() {
        let runs: Vec<Run> = (0..8).map(|i| run(i & 1, i < 6 && i & 1 == 1)).collect();
        let state = State::of(3, base(0, 75, 0), &runs);
        assert_eq!(state.failures, 3);
        assert!(state.q.iter().all(|q| *q <= 0.5), "{:?}", state.q);
    }

    #[test]
    fn unanswered_runs_say_nothing_of_the_target_and_speak_against_their_knobs() {
        let silent = Run {
            on: 0b10,
            target: None,
            other: true,
        };
        let with = State::of(3, base(2, 75, 0), &[run(1, true), silent, silent]);
        let without = State::of(3, base(2, 75, 0), &[run(1, true)]);
        assert_eq!(with.p_helps, without.p_helps);
        assert_eq!((with.dropped, without.dropped), (vec![1], vec![]));
    }

    #[test]
    fn an_innocent_knob_beside_a_breaker_is_kept() {
        // Knob 0 breaks every run that has it; knob 1 is on in three of four of these, and in others.
        let runs: Vec<Run> = (0..32)
            .map(|i| Run {
                on: u32::from(i % 2 == 0) | if i % 8 < 6 { 2 } else { 0 },
                target: Some(false),
                other: i % 2 == 0,
            })
            .collect();
        assert_eq!(State::of(3, base(0, 20, 0), &runs).dropped, [0]);
    }

    #[test]
    fn in_a_block_a_knob_at_one_half_is_on_in_exactly_half() {
        for size in [8, 16, 24] {
            let masks = block(3, 17, &[0.5, 0.0, 1.0, 0.3], size);
            let on = |knob: u32| masks.iter().filter(|mask| *mask >> knob & 1 == 1).count();
            assert_eq!((masks.len(), on(0), on(1), on(2)), (size, size / 2, 0, size));
        }
        assert_eq!(block(3, 17, &[], 8), [0; 8]);
    }

    #[test]
    fn a_factor_without_a_run_that_had_the_knob_on_has_no_upper_end() {
        let found = factors(3, base(2, 75, 0), &[run(1, true), run(1, false)]);
        assert_eq!((found[1].low, found[1].high), (0.0, None));
        assert_eq!(found[1].effect(), Effect::NotToldApart);
        assert!(found[0].low > 0.0 && found[0].factor > 1.0);
    }

    #[test]
    fn the_tail_of_a_gamma_is_a_number_also_where_hundreds_are_expected() {
        let p = gamma_above_one(1000, 999.0);
        assert!((p - 0.5).abs() < 0.02, "{p}");
        assert!(gamma_above_one(0, 5000.0) < 1e-300);
        assert!((gamma_above_one(0, 0.0) - (-1.0_f64).exp()).abs() < 1e-15);
    }
}
