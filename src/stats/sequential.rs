//! Figures that stay valid however often one looks at them, and so may end a sweep.
//!
//! An e-value above 1/alpha is evidence at level alpha at whatever moment it is seen (Ville's inequality); an interval
//! that holds at all times at once is a confidence sequence.

use serde::{Deserialize, Serialize};

use super::binomial::{ln_at_least, ln_pmf, root};
use super::rate::Count;
use super::runs_needed::smallest;

/// The rates that are compatible with what was seen, at every moment of a sweep at once: all p with
/// `p^k (1-p)^(n-k) / B(k+1, n-k+1) > alpha`. All rates where nothing was seen.
///
/// Source: the mixture martingale with a uniform prior (H. Robbins, 1970).
pub fn confidence_sequence(count: Count, alpha: f64) -> (f64, f64) {
    let (k, n) = (count.failed(), count.of());
    if n == 0 || !(alpha > 0.0 && alpha < 1.0) {
        return (0.0, 1.0);
    }
    // 1 / B(k+1, n-k+1) is (n + 1) times the binomial coefficient.
    let excess = |p: f64| ln_pmf(k, n, p) + ((n + 1) as f64).ln() - alpha.ln();
    let rate = k as f64 / n as f64;
    let low = root(|p| if p >= rate { 1.0 } else { excess(p) });
    let high = root(|p| if p <= rate { -1.0 } else { -excess(p) });
    (if k == 0 { 0.0 } else { low }, if k == n { 1.0 } else { high })
}

/// Logarithm of the e-value that the failure rate is below `limit`:
/// `½ [k=0] (1-p0)^-n + ½ (1/p0) ∫₀^p0 (q/p0)^k ((1-q)/(1-p0))^(n-k) dq`. `None` where the limit is no rate between
/// 0 and 1.
///
/// Source: a test martingale (Shafer et al., 2011), half of it bet on a rate of zero, half spread over all rates below.
pub fn log_e_below(count: Count, limit: f64) -> Option<f64> {
    if !(limit > 0.0 && limit < 1.0) {
        return None;
    }
    let (k, n) = (count.failed(), count.of());
    let half = 0.5_f64.ln();
    let spread = half - limit.ln() + ln_at_least(k + 1, n + 1, limit) - ((n + 1) as f64).ln() - ln_pmf(k, n, limit);
    if k > 0 {
        return Some(spread);
    }
    let on_zero = half - n as f64 * (-limit).ln_1p();
    let larger = spread.max(on_zero);
    Some(larger + ((spread - larger).exp() + (on_zero - larger).exp()).ln())
}

/// The smallest limit that the failure rate is shown to be below, by [`log_e_below`] at `1 / alpha`; it may be watched.
/// 1 where none is.
pub fn proven_below(count: Count, alpha: f64) -> f64 {
    if !(alpha > 0.0 && alpha < 1.0) {
        return 1.0;
    }
    let rate = count.rate().unwrap_or(0.0);
    // Below the rate that was seen there is no evidence; above it the evidence grows with the limit.
    let excess = |limit: f64| match log_e_below(count, limit) {
        Some(log_e) if limit > rate => log_e + alpha.ln(),
        Some(_) => -1.0,
        None => {
            if limit <= 0.0 {
                -1.0
            } else {
                1.0
            }
        }
    };
    if count.of() == 0 || count.failed() == count.of() {
        return 1.0;
    }
    // The limit itself is proved, so that the bound has to be on the side of the evidence.
    let found = root(excess);
    let mut limit = found;
    for _ in 0..4 {
        if excess(limit) >= 0.0 {
            break;
        }
        limit = (limit * (1.0 + 1e-12)).min(1.0);
    }
    limit
}

/// Clean iterations that are still needed until [`log_e_below`] reaches `1 / alpha`; 0 when it has. `None` where the
/// limit or the level are none, or nobody would wait that long.
pub fn clean_runs_to_prove_below(count: Count, limit: f64, alpha: f64) -> Option<u64> {
    if !(limit > 0.0 && limit < 1.0 && alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    let more = smallest(|clean| {
        Count::new(count.failed(), count.of() + clean)
            .and_then(|count| log_e_below(count, limit))
            .is_none_or(|log_e| log_e >= -alpha.ln())
    })?;
    (count.of() + more <= Count::MAX).then_some(more)
}

/// Pseudo-failures with which an arm's rate is estimated before its first block.
const PRIOR: f64 = 0.18;

/// Evidence that two interleaved arms fail at different rates, block by block; a block is one iteration of each.
///
/// Source: R. Turner, A. Ly and P. Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for
/// optional stopping" (2022), with their prior for blocks of one and one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmsTest {
    blocks: u64,
    failed: [u64; 2],
    log_e: f64,
}

impl ArmsTest {
    /// Takes in one block: whether the base's iteration failed, and whether the new one's did.
    pub fn observe(&mut self, base_failed: bool, new_failed: bool) {
        let estimate = |failed: u64| (failed as f64 + PRIOR) / (self.blocks as f64 + 2.0 * PRIOR);
        let rates = self.failed.map(estimate);
        let common = f64::midpoint(rates[0], rates[1]);
        let outcomes = [base_failed, new_failed];
        for (rate, failed) in rates.into_iter().zip(outcomes) {
            let chance = |rate: f64| if failed { rate } else { 1.0 - rate };
            self.log_e += chance(rate).ln() - chance(common).ln();
        }
        self.blocks += 1;
        for (total, failed) in self.failed.iter_mut().zip(outcomes) {
            *total += u64::from(failed);
        }
    }

    /// The e-value so far; 1 before the first block.
    pub fn e_value(&self) -> f64 {
        self.log_e.exp().min(f64::MAX)
    }

    /// Complete blocks so far.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether the arms are shown to differ at this level.
    pub fn is_decided(&self, alpha: f64) -> bool {
        self.log_e >= -alpha.ln()
    }
}

impl FromIterator<(bool, bool)> for ArmsTest {
    fn from_iter<T: IntoIterator<Item = (bool, bool)>>(blocks: T) -> ArmsTest {
        let mut test = ArmsTest::default();
        for (base_failed, new_failed) in blocks {
            test.observe(base_failed, new_failed);
        }
        test
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::count;

    #[test]
    fn all_rates_are_possible_before_the_first_iteration() {
        assert_eq!(confidence_sequence(count(0, 0), 0.05), (0.0, 1.0));
        assert_eq!(
            log_e_below(count(0, 0), 0.03).map(f64::abs).filter(|e| *e > 1e-12),
            None
        );
        assert!((ArmsTest::default().e_value() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn limits_that_are_no_rates_give_no_evidence() {
        for limit in [0.0, 1.0, -0.1, 2.0, f64::NAN] {
            assert_eq!(log_e_below(count(0, 5), limit), None);
            assert_eq!(clean_runs_to_prove_below(count(0, 5), limit, 0.05), None);
        }
    }

    #[test]
    fn the_clean_iterations_to_a_verdict_are_those_of_the_published_table() {
        for (limit, runs) in [(0.03, 113), (0.05, 68), (0.26, 12)] {
            assert_eq!(clean_runs_to_prove_below(count(0, 0), limit, 0.05), Some(runs));
        }
        assert_eq!(clean_runs_to_prove_below(count(0, 200), 0.03, 0.05), Some(0));
    }

    #[test]
    fn the_bound_that_is_shown_is_the_limit_that_the_rule_stops_at() {
        for limit in [0.03, 0.05, 0.26, 0.3] {
            let runs = clean_runs_to_prove_below(count(0, 0), limit, 0.05).unwrap();
            let bound = |of| proven_below(count(0, of), 0.05);
            assert!(
                bound(runs) <= limit && bound(runs - 1) > limit,
                "{limit}: {}",
                bound(runs)
            );
        }
        assert!((proven_below(count(0, 0), 0.05) - 1.0).abs() < 1e-12);
        assert!((proven_below(count(5, 5), 0.05) - 1.0).abs() < 1e-12);
        let with_failures = proven_below(count(1, 200), 0.05);
        assert!(with_failures > 0.005 && log_e_below(count(1, 200), with_failures).unwrap() >= 20.0_f64.ln() - 1e-9);
    }

    #[test]
    fn a_failure_makes_more_clean_iterations_necessary() {
        let needed = clean_runs_to_prove_below(count(1, 60), 0.03, 0.05).unwrap();
        assert!(needed > 113 - 60, "{needed}");
        assert!(log_e_below(count(1, 60 + needed), 0.03).unwrap() >= 20.0_f64.ln());
        assert!(log_e_below(count(1, 59 + needed), 0.03).unwrap() < 20.0_f64.ln());
    }

    #[test]
    fn figures_of_a_hundred_thousand_iterations_are_finite() {
        for k in [0, 1, 50_000, 100_000] {
            let (low, high) = confidence_sequence(count(k, 100_000), 0.05);
            assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
            assert!(log_e_below(count(k, 100_000), 0.01).unwrap().is_finite());
        }
        let mut test = ArmsTest::default();
        for _ in 0..100_000 {
            test.observe(true, false);
        }
        assert!(test.e_value().is_finite() && test.is_decided(0.05));
    }
}
