//! Whether a fix removed a class of failure, shown against a base that was recorded before: at which runs to look, when
//! to stop, and what follows.
//!
//! All looks of a plan together are wrong in at most 5 % of fixes that fix nothing: the level of one look falls with the
//! number of failures that the plan allows.

use std::f64::consts::PI;

use serde::Serialize;

use super::binomial::ln_pmf;
use super::block::{Answer, Conclusion};
use super::fisher::{fisher_greater, fisher_less};
use super::rate::Count;
use super::runs_needed::smallest_above;

/// Level of each look, by the failures that the fix may have: together 5 % (exact enumeration).
const LEVELS: [f64; 9] = [0.05, 0.0323, 0.0255, 0.0217, 0.0193, 0.0175, 0.0162, 0.0152, 0.0143];

/// Level of the claim that the fix fails more often.
pub(crate) const LEVEL_OF_MORE: f64 = 0.025;

/// Runs of a plan beyond which nobody would wait.
pub(crate) const MOST: u64 = 100_000;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoPlan {
    /// The base did not fail: nothing to prove.
    NeverFailed,
    /// More than 100,000 runs or blocks would be needed.
    TooLong,
    /// Even the plan that allows the most failures shows such a fix with this probability only. A longer base, or the
    /// base run again beside the fix, would do.
    TooWeak { assurance: f64 },
}

/// The runs of the fix after which its failures are compared with those of a recorded base.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Failures of the class in the base's answered runs.
    pub base: Count,
    /// Ascending: after `looks[j]` answered runs the fix is shown to fail less often if at most `j` of them failed. The
    /// last index is the number of failures that the plan allows, the last number the most runs it takes.
    pub looks: Vec<u64>,
    /// Probability of showing the fix that was asked about; over what the base leaves open of its own rate.
    pub assurance: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What follows; `None` while the plan goes on.
    pub conclusion: Option<Conclusion>,
    /// Failures among the answered runs that were looked at: up to the one that decided.
    pub fix: Count,
}

impl Plan {
    /// The plan that allows the fewest failures and still shows, with probability `power`, a fix that leaves the share
    /// `remaining` of the base's rate (0: a complete fix).
    pub fn choose(base: Count, remaining: f64, power: f64) -> Result<Plan, NoPlan> {
        let mut assurance = 0.0;
        for allowed in 0..LEVELS.len() {
            let plan = Plan::allowing(base, allowed, remaining)?;
            if plan.assurance >= power {
                return Ok(plan);
            }
            assurance = plan.assurance;
        }
        Err(NoPlan::TooWeak { assurance })
    }

    /// The plan that allows this many failures, at most 8.
    pub fn allowing(base: Count, failures: usize, remaining: f64) -> Result<Plan, NoPlan> {
        if base.failed() == 0 {
            return Err(NoPlan::NeverFailed);
        }
        let looks = looks(base, failures)
            .into_iter()
            .collect::<Option<Vec<u64>>>()
            .ok_or(NoPlan::TooLong)?;
        let assurance = if remaining <= 0.0 {
            1.0
        } else {
            posterior(base)
                .map(|(rate, weight)| weight * pass_probability(&looks, remaining * rate))
                .sum()
        };
        Ok(Plan { base, looks, assurance })
    }

    /// Failures that the fix may have.
    pub fn allowed(&self) -> u64 {
        self.looks.len().saturating_sub(1) as u64
    }

    /// Looks at the recorded runs of the fix, in the order of their numbers. A run is looked at when every earlier one
    /// is recorded; only where no failure is allowed, a failure decides at once.
    ///
    /// Runs after the one that decided change nothing, so that the answer is the same whenever one asks.
    pub fn decide(&self, runs: &[Answer]) -> Decision {
        let (mut failed, mut answered) = (0, 0);
        let decision = |conclusion, failed, answered| Decision {
            conclusion,
            fix: Count::new(failed, answered).unwrap_or_default(),
        };
        let recorded = runs.iter().take_while(|run| **run != Answer::Awaited);
        for has_failed in recorded.filter_map(|run| run.failed()) {
            answered += 1;
            failed += u64::from(has_failed);
            if failed > self.allowed() {
                return decision(Some(self.refutation(failed, answered)), failed, answered);
            }
            if self.looks_from(failed).any(|look| look == answered) {
                return decision(Some(Conclusion::Fewer), failed, answered);
            }
        }
        let first_failure = runs.iter().position(|run| *run == Answer::Failed);
        if self.allowed() == 0
            && let Some(at) = first_failure
        {
            // The runs that are still awaited count as passed here: more of them make "more" harder to conclude.
            let awaited = runs[..at].iter().filter(|run| **run == Answer::Awaited).count() as u64;
            let fix = Answer::count(&runs[..=at]);
            return decision(Some(self.refutation(1, fix.of() + awaited)), 1, fix.of());
        }
        decision(None, failed, answered)
    }

    /// How many runs may be in flight now: those that are missing to the next look, so that no run is started that an
    /// undecided look may make needless. 0 once the plan is decided.
    pub fn wanted(&self, runs: &[Answer]) -> u64 {
        let decision = self.decide(runs);
        if decision.conclusion.is_some() {
            return 0;
        }
        let recorded = Answer::count(runs);
        let next = self
            .looks_from(recorded.failed())
            .find(|look| *look > decision.fix.of());
        // A look may wait for a run that was lost on the way while later ones have answered.
        next.map_or(1, |look| look.saturating_sub(recorded.of()).max(1))
    }

    /// The looks that so many failures can still pass.
    fn looks_from(&self, failed: u64) -> impl Iterator<Item = u64> {
        let failed = usize::try_from(failed).unwrap_or(usize::MAX);
        self.looks.iter().skip(failed).copied()
    }

    /// What too many failures mean.
    fn refutation(&self, failed: u64, answered: u64) -> Conclusion {
        let fix = Count::new(failed, answered).unwrap_or_default();
        if fisher_greater(self.base, fix) <= LEVEL_OF_MORE {
            Conclusion::More
        } else {
            Conclusion::NotShown
        }
    }
}

/// For each number of failures from 0 to `allowed` (at most 8) the smallest number of runs of the fix that shows an
/// improvement on the base with so many; `None` beyond 100,000.
pub fn looks(base: Count, allowed: usize) -> Vec<Option<u64>> {
    let allowed = allowed.min(LEVELS.len() - 1);
    // A p that is the level but for rounding counts as reached: 1/50 against 0/950 is 0.05 exactly.
    let level = LEVELS[allowed] * (1.0 + 1e-9);
    (0..=allowed as u64)
        .map(|failed| {
            smallest_above(failed, MOST, |of| {
                Count::new(failed, of).is_none_or(|fix| fisher_less(base, fix) <= level)
            })
        })
        .collect()
}

/// Probability that a series of runs that fail at the rate `p` passes one of the looks.
fn pass_probability(looks: &[u64], p: f64) -> f64 {
    // By the failures so far: the probability that there are so many and no look was passed.
    let mut open = vec![0.0; looks.len()];
    open[0] = 1.0;
    let (mut before, mut passed) = (0, 0.0);
    for (allowed, &look) in looks.iter().enumerate() {
        let step: Vec<f64> = (0..looks.len() as u64)
            .map(|failed| ln_pmf(failed, look.saturating_sub(before), p).exp())
            .collect();
        open = (0..looks.len())
            .map(|failed| (0..=failed).map(|earlier| open[earlier] * step[failed - earlier]).sum())
            .collect();
        passed += open[..=allowed].iter().sum::<f64>();
        open[..=allowed].fill(0.0);
        before = look;
    }
    passed
}

/// Points of the posterior of the base's rate.
const POINTS: u32 = 400;

/// Jeffreys' posterior of a rate after `k` failures in `n` runs, as rates with their weights (their sum is 1): points in
/// equal distances of θ, p = sin²θ, weighted by p^k (1-p)^(n-k). Points that cannot count are left out.
pub(crate) fn posterior(count: Count) -> impl Iterator<Item = (f64, f64)> {
    let (failed, passed) = (count.failed() as f64, (count.of() - count.failed()) as f64);
    let rates: Vec<f64> = (0..POINTS)
        .map(|point| ((f64::from(point) + 0.5) * PI / f64::from(2 * POINTS)).sin().powi(2))
        .collect();
    let logs: Vec<f64> = rates
        .iter()
        .map(|rate| failed * rate.ln() + passed * (-rate).ln_1p())
        .collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    rates
        .into_iter()
        .zip(weights)
        .map(move |(rate, weight)| (rate, weight / sum))
        .filter(|(_, weight)| *weight > 1e-15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::count;

    fn plan(failed: u64, of: u64, allowed: usize) -> Plan {
        Plan::allowing(count(failed, of), allowed, 0.0).unwrap()
    }

    #[track_caller]
    fn check(plan: &Plan, series: &str, conclusion: Option<Conclusion>, fix: (u64, u64)) {
        let decision = plan.decide(&Answer::series(series));
        assert_eq!(
            (decision.conclusion, decision.fix),
            (conclusion, count(fix.0, fix.1)),
            "{series}"
        );
    }

    #[test]
    fn a_base_that_never_failed_leaves_nothing_to_prove() {
        assert_eq!(Plan::choose(count(0, 50), 0.0, 0.8), Err(NoPlan::NeverFailed));
        assert_eq!(Plan::choose(count(0, 0), 0.0, 0.8), Err(NoPlan::NeverFailed));
    }

    #[test]
    fn a_plan_that_nobody_would_wait_for_is_none() {
        assert_eq!(Plan::allowing(count(1, 1_000_000), 0, 0.0), Err(NoPlan::TooLong));
    }

    #[test]
    fn a_fix_too_partial_to_be_shown_says_how_weak_the_best_plan_is() {
        let Err(NoPlan::TooWeak { assurance }) = Plan::choose(count(2, 75), 0.25, 0.8) else {
            panic!("a plan of 2 failures in 75")
        };
        assert!(assurance > 0.1 && assurance < 0.2, "{assurance}");
    }

    #[test]
    fn a_base_that_always_fails_is_improved_on_by_one_clean_run() {
        let plan = plan(12, 12, 0);
        assert_eq!(plan.looks, [2]);
        check(&plan, "..", Some(Conclusion::Fewer), (0, 2));
        assert_eq!(self::plan(50, 50, 0).looks, [1]);
    }

    #[test]
    fn a_clean_series_passes_at_the_look_and_not_one_run_earlier() {
        let plan = plan(13, 50, 0);
        check(&plan, "...........", None, (0, 11));
        check(&plan, "............", Some(Conclusion::Fewer), (0, 12));
        check(&plan, "............FFF", Some(Conclusion::Fewer), (0, 12));
        check(&plan, ".......x.....", Some(Conclusion::Fewer), (0, 12));
        check(&plan, "", None, (0, 0));
    }

    #[test]
    fn a_run_is_looked_at_when_every_earlier_one_is_recorded() {
        let plan = plan(13, 50, 1);
        assert_eq!(plan.looks, [14, 22]);
        check(&plan, ".?............", None, (0, 1));
        check(&plan, "..............", Some(Conclusion::Fewer), (0, 14));
        // Two failures refute, but an earlier run may still come in before them.
        check(&plan, "?FF", None, (0, 0));
        check(&plan, ".FF", Some(Conclusion::NotShown), (2, 3));
    }

    #[test]
    fn where_no_failure_is_allowed_one_decides_at_once_even_out_of_order() {
        let plan = plan(13, 50, 0);
        check(&plan, "..F", Some(Conclusion::NotShown), (1, 3));
        check(&plan, ".?.F", Some(Conclusion::NotShown), (1, 3));
        check(&plan, "?F", Some(Conclusion::NotShown), (1, 1));
    }

    #[test]
    fn runs_in_flight_do_not_help_to_conclude_that_it_got_worse() {
        // 3/400, then 1/1 is p = 0.01; had the five before it passed, 1/6 would be p = 0.06.
        let plan = plan(3, 400, 0);
        check(&plan, "F", Some(Conclusion::More), (1, 1));
        check(&plan, "?????F", Some(Conclusion::NotShown), (1, 1));
    }

    #[test]
    fn no_more_runs_are_wanted_than_are_missing_to_the_next_look() {
        let plan = plan(13, 50, 4);
        assert_eq!(plan.looks, [16, 25, 33, 41, 48]);
        assert_eq!(plan.wanted(&[]), 16);
        assert_eq!(plan.wanted(&Answer::series("....x")), 12);
        // After a failure the first look cannot be passed any more.
        assert_eq!(plan.wanted(&Answer::series("...F")), 21);
        assert_eq!(plan.wanted(&Answer::series("FF")), 31);
        // Failures and passes that came in early are among those that the look counts.
        assert_eq!(plan.wanted(&Answer::series("?..F")), 22);
        assert_eq!(plan.wanted(&Answer::series("................")), 0);
        assert_eq!(plan.wanted(&Answer::series("FFFFF")), 0);
        // A run that was lost on the way is still wanted.
        assert_eq!(plan.wanted(&Answer::series("?................")), 1);
    }

    #[test]
    fn a_complete_fix_cannot_miss_its_look() {
        let plan = Plan::choose(count(2, 75), 0.0, 0.99).unwrap();
        assert_eq!((plan.allowed(), plan.looks.as_slice()), (0, [259].as_slice()));
        assert!((pass_probability(&plan.looks, 0.0) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn the_chance_to_pass_is_that_of_all_series() {
        // Looks after 2 runs without, after 4 with at most one failure.
        let (looks, p): (_, f64) = ([2, 4], 0.3);
        let q = 1.0 - p;
        let by_hand = q * q + 2.0 * p * q * q * q;
        assert!((pass_probability(&looks, p) - by_hand).abs() < 1e-15);
    }
}
