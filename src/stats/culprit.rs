//! At which of several candidates in order (images, commits, settings) a class of failure came in, with neither rate
//! known: what the runs so far say, and which candidate to run next.
//!
//! Candidate 0 is the good end, `n` the bad one. Hypotheses: the change came with candidate 1, 2 … n (from then on runs
//! fail at a rate p, before at a share of it), or there was none. The model steers; what it names is confirmed on fresh
//! runs ([`Search`]).

use serde::Serialize;

use super::rate::Count;

mod likelihood;
pub mod search;

use likelihood::{Cell, RATES, RATIOS, Rate, Tally, rates};

pub use search::{Attempt, End, Search, Step};

/// Prior probability that there is no change.
const NONE: f64 = 0.25;
/// Posterior probability at which a hypothesis is the answer.
pub const SURE: f64 = 0.95;
/// Failures at the bad end before anything else is run.
pub const CALIBRATION: u64 = 3;

/// The candidates 0 to `n` with the prior weights of a change at 1 to `n`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    weights: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Posterior {
    /// Probability that nothing changed.
    pub none: f64,
    /// Probability that the change came with candidate 1, 2 … n.
    pub change: Vec<f64>,
    /// By hypothesis, "no change" first: mean rate of the candidates before the change.
    #[serde(skip)]
    pub before: Vec<f64>,
    /// By hypothesis, as `before`: mean rate of the candidates from the change on.
    #[serde(skip)]
    pub after: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// One run of each of these candidates, ascending; then ask again.
    Probe(Vec<usize>),
    /// The change came with this candidate.
    Culprit {
        candidate: usize,
        p: f64,
    },
    NoCulprit {
        p: f64,
    },
}

impl Axis {
    /// An axis whose changes are equally likely beforehand: `n`, at least 1, is the number of the bad end.
    pub fn new(n: usize) -> Axis {
        Axis {
            weights: vec![1.0; n.max(1)],
        }
    }

    /// An axis with the weight of a change at candidate 1, 2 … n: 0 where it cannot be, more where the candidate stands
    /// for those before it that could not be run. `None` where no weight is above zero, or one is no such number.
    pub fn with_weights(weights: Vec<f64>) -> Option<Axis> {
        let sum: f64 = weights.iter().sum();
        let are_weights = weights.iter().all(|weight| *weight >= 0.0) && sum > 0.0 && sum.is_finite();
        are_weights.then_some(Axis { weights })
    }

    /// The number of the bad end.
    pub fn n(&self) -> usize {
        self.weights.len()
    }

    /// What the runs say, counted by candidate 0 to `n`; missing counts are of no runs. Takes O(n).
    pub fn posterior(&self, counts: &[Count]) -> Posterior {
        let tally = |candidate: usize| Tally::from(counts.get(candidate).copied().unwrap_or_default());
        let all = (0..=self.n()).fold(Tally::default(), |sum, candidate| sum + tally(candidate));
        let rates: Vec<Rate> = rates().collect();
        let none = rates.iter().map(|rate| Cell {
            ln_weight: (NONE / RATES as f64).ln() + rate.after.ln_likelihood(all),
            before: rate.after.p,
            after: rate.after.p,
        });
        let mut hypotheses = vec![Cell::sum(none)];
        let sum: f64 = self.weights.iter().sum();
        let mut below = Tally::default();
        for (index, &weight) in self.weights.iter().enumerate() {
            below = below + tally(index);
            let prior = ((1.0 - NONE) * weight / sum / RATES as f64).ln();
            let cells = rates.iter().flat_map(|rate| {
                let from_it_on = rate.after.ln_likelihood(all - below);
                rate.before.iter().zip(RATIOS).map(move |(before, (_, share))| Cell {
                    ln_weight: prior + share.ln() + before.ln_likelihood(below) + from_it_on,
                    before: before.p,
                    after: rate.after.p,
                })
            });
            hypotheses.push(if weight > 0.0 {
                Cell::sum(cells)
            } else {
                Cell::IMPOSSIBLE
            });
        }
        Posterior::of(&hypotheses)
    }

    /// What to do next with so many runs in flight at once. The runs have to be all that were asked for.
    pub fn next(&self, counts: &[Count], jobs: usize) -> Next {
        let n = self.n();
        let jobs = jobs.max(1);
        if counts.get(n).is_none_or(|bad| bad.failed() < CALIBRATION) {
            return Next::Probe(vec![n; jobs]);
        }
        let posterior = self.posterior(counts);
        let (candidate, p) = posterior.most_likely();
        if posterior.none >= SURE {
            Next::NoCulprit { p: posterior.none }
        } else if p >= SURE {
            Next::Culprit { candidate, p }
        } else {
            Next::Probe(shared(&posterior.information(), jobs))
        }
    }
}

impl Posterior {
    fn of(hypotheses: &[Cell]) -> Posterior {
        let top = hypotheses
            .iter()
            .map(|cell| cell.ln_weight)
            .fold(f64::NEG_INFINITY, f64::max);
        let weights = hypotheses.iter().map(|cell| (cell.ln_weight - top).exp());
        let sum: f64 = weights.clone().sum();
        let mut p = weights.map(|weight| weight / sum);
        Posterior {
            none: p.next().unwrap_or(0.0),
            change: p.collect(),
            before: hypotheses.iter().map(|cell| cell.before).collect(),
            after: hypotheses.iter().map(|cell| cell.after).collect(),
        }
    }

    /// The candidate of the likeliest change, from 1, with its probability; the lowest among equals.
    pub fn most_likely(&self) -> (usize, f64) {
        let mut best = (1, f64::NEG_INFINITY);
        for (index, &p) in self.change.iter().enumerate() {
            if p > best.1 {
                best = (index + 1, p);
            }
        }
        best
    }

    /// The fewest hypotheses that hold 95 % together, most likely first; 0 is "no change".
    pub fn credible(&self) -> Vec<usize> {
        let p: Vec<f64> = self.by_hypothesis().collect();
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
        let mut sum = 0.0;
        order.retain(|hypothesis| {
            let is_open = sum < SURE;
            sum += p[*hypothesis];
            is_open
        });
        order
    }

    fn by_hypothesis(&self) -> impl Iterator<Item = f64> {
        std::iter::once(self.none).chain(self.change.iter().copied())
    }

    /// What one more run of each candidate 0 to `n` tells about where the change is, in nats. Takes O(n).
    pub fn information(&self) -> Vec<f64> {
        let p: Vec<f64> = self.by_hypothesis().collect();
        // Chance that a run fails, and the entropy of that if the change is known; both weighted by the hypothesis.
        let term = |hypothesis: usize, rates: &[f64]| {
            let rate = rates[hypothesis];
            [p[hypothesis] * rate, p[hypothesis] * entropy(rate)]
        };
        let add = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        // A change after the candidate leaves it as before; summed up from the last one down.
        let mut later = vec![[0.0; 2]; p.len()];
        for candidate in (1..p.len()).rev() {
            later[candidate - 1] = add(later[candidate], term(candidate, &self.before));
        }
        let mut earlier = [0.0; 2];
        (0..p.len())
            .map(|candidate| {
                earlier = add(earlier, term(candidate, &self.after));
                let [fails, open] = add(earlier, later[candidate]);
                entropy(fails) - open
            })
            .collect()
    }
}

/// The candidates of the next runs: the most informative one, or several runs shared among those that tell at least half
/// as much, in proportion to what they tell.
fn shared(information: &[f64], jobs: usize) -> Vec<usize> {
    let best = information.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if jobs == 1 {
        return information
            .iter()
            .position(|told| *told >= best - 1e-12)
            .into_iter()
            .collect();
    }
    let kept = |told: f64| if told >= best / 2.0 { told } else { 0.0 };
    let total: f64 = information.iter().map(|told| kept(*told)).sum();
    let (mut chosen, mut sum) = (Vec::new(), 0.0);
    for (candidate, &told) in information.iter().enumerate() {
        sum += kept(told);
        while chosen.len() < jobs && (chosen.len() as f64 + 0.5) / jobs as f64 * total <= sum + 1e-15 {
            chosen.push(candidate);
        }
    }
    chosen
}

/// Entropy of an event of this probability, in nats.
fn entropy(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        0.0
    } else {
        -p * p.ln() - (1.0 - p) * (-p).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::counts;

    #[test]
    fn before_any_run_the_posterior_is_the_prior() {
        let posterior = Axis::new(3).posterior(&[]);
        assert!((posterior.none - 0.25).abs() < 1e-12, "{posterior:?}");
        assert!(
            posterior.change.iter().all(|p| (p - 0.25).abs() < 1e-12),
            "{posterior:?}"
        );
        let posterior = Axis::with_weights(vec![3.0, 0.0, 1.0]).unwrap().posterior(&[]);
        assert!(
            (posterior.change[0] - 0.5625).abs() < 1e-12 && posterior.change[1] == 0.0,
            "{posterior:?}"
        );
    }

    #[test]
    fn weights_that_are_none_make_no_axis() {
        for weights in [
            vec![],
            vec![0.0, 0.0],
            vec![1.0, -1.0],
            vec![f64::NAN],
            vec![f64::INFINITY],
        ] {
            assert_eq!(Axis::with_weights(weights.clone()), None, "{weights:?}");
        }
    }

    #[test]
    fn with_one_candidate_the_two_ends_decide() {
        let axis = Axis::new(1);
        assert_eq!(axis.next(&counts(&[(0, 0), (2, 9)]), 2), Next::Probe(vec![1, 1]));
        let Next::Culprit { candidate: 1, p } = axis.next(&counts(&[(0, 30), (9, 30)]), 1) else {
            panic!("not found")
        };
        assert!(p >= SURE);
        assert!(matches!(
            axis.next(&counts(&[(30, 90), (30, 90)]), 1),
            Next::NoCulprit { .. }
        ));
        assert_eq!(axis.next(&counts(&[(0, 0), (3, 3)]), 1), Next::Probe(vec![0]));
    }

    #[test]
    fn a_candidate_that_is_excluded_is_never_the_answer() {
        let axis = Axis::with_weights(vec![1.0, 0.0, 1.0]).unwrap();
        let posterior = axis.posterior(&counts(&[(0, 50), (0, 50), (20, 50), (20, 50)]));
        assert!(posterior.change[1] == 0.0 && posterior.change[0] + posterior.change[2] + posterior.none > 0.999);
    }

    #[test]
    fn the_order_of_runs_does_not_matter_and_neither_do_counts_that_are_missing() {
        let axis = Axis::new(4);
        assert_eq!(
            axis.posterior(&counts(&[(0, 5)])),
            axis.posterior(&counts(&[(0, 5), (0, 0), (0, 0), (0, 0), (0, 0)]))
        );
    }

    #[test]
    fn a_failure_before_the_change_is_weighed_and_not_forbidden() {
        // One failure at the good end of 50, 25 of 50 from candidate 2 on.
        let posterior = Axis::new(3).posterior(&counts(&[(1, 50), (0, 50), (25, 50), (24, 50)]));
        assert_eq!(posterior.most_likely().0, 2);
        assert!(posterior.most_likely().1 > 0.99, "{posterior:?}");
        assert!(posterior.before[2] < 0.06 && posterior.after[2] > 0.4, "{posterior:?}");
    }

    #[test]
    fn information_is_that_of_the_definition() {
        let axis = Axis::with_weights(vec![2.0, 0.0, 1.0, 1.0, 5.0]).unwrap();
        let posterior = axis.posterior(&counts(&[(0, 4), (0, 0), (1, 3), (0, 2), (2, 2), (3, 9)]));
        let p: Vec<f64> = posterior.by_hypothesis().collect();
        for (candidate, told) in posterior.information().into_iter().enumerate() {
            let rate = |h: usize| {
                if h > candidate {
                    posterior.before[h]
                } else {
                    posterior.after[h]
                }
            };
            let fails: f64 = (0..p.len()).map(|h| p[h] * rate(h)).sum();
            let open: f64 = (0..p.len()).map(|h| p[h] * entropy(rate(h))).sum();
            assert!((told - (entropy(fails) - open)).abs() < 1e-14, "{candidate}");
        }
    }

    #[test]
    fn several_runs_are_shared_in_proportion_to_what_they_tell() {
        assert_eq!(shared(&[0.1, 0.4, 0.4, 0.1], 1), [1]);
        assert_eq!(shared(&[0.1, 0.4, 0.4, 0.1], 4), [1, 1, 2, 2]);
        assert_eq!(shared(&[0.3, 0.3, 0.6], 4), [0, 1, 2, 2]);
        assert_eq!(shared(&[0.0, 0.0], 3), [0, 0, 0]);
    }

    #[test]
    fn the_fewest_hypotheses_that_hold_95_percent_are_credible() {
        let posterior = Posterior {
            none: 0.02,
            change: vec![0.5, 0.08, 0.4],
            before: vec![0.0; 4],
            after: vec![0.0; 4],
        };
        assert_eq!(posterior.credible(), [1, 3, 2]);
    }

    #[test]
    fn ten_thousand_candidates_with_a_million_runs_stay_finite() {
        let mut runs = vec![(0, 100); 5000];
        runs.extend(vec![(40, 100); 5001]);
        let posterior = Axis::new(10_000).posterior(&counts(&runs));
        assert_eq!(posterior.most_likely().0, 5000);
        assert!(posterior.none.is_finite() && posterior.information().iter().all(|told| told.is_finite()));
    }
}
