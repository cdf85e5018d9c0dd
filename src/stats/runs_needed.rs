//! How many iterations are still needed before something can be said.

use super::binomial::ln_choose;
use super::fisher::fisher;
use super::rate::{Count, whole};

/// Beyond this many iterations nobody would wait, and the answer is `None`.
const MOST: u64 = 1_000_000_000_000;

/// Iterations until at least one failure is seen with probability `prob`, if each fails with probability `rate`.
/// `None` where that never happens, or is no probability.
pub fn runs_to_see_one(rate: f64, prob: f64) -> Option<u64> {
    if !(rate > 0.0 && rate <= 1.0 && prob > 0.0 && prob < 1.0) {
        return None;
    }
    // The tiny number keeps a ratio that is whole but for rounding from being rounded up to the next one.
    let runs = ((-prob).ln_1p() / (-rate).ln_1p() - 1e-12).ceil().max(1.0);
    whole(runs)
}

/// The smallest number of clean iterations that shows an improvement over `k` failures in `n`: the one-sided p of
/// Fisher's exact test of `k/n` against `0/m` is below `alpha`. `None` where the base did not fail, which no number of
/// clean iterations improves on, or nobody would wait that long.
pub fn clean_runs_needed(base: Count, alpha: f64) -> Option<u64> {
    if base.failed() == 0 || alpha.is_nan() || alpha <= 0.0 {
        return None;
    }
    smallest(|clean| ln_p_of_clean(base, clean) < alpha.ln())
}

/// The smallest number of clean iterations that, added to what the new one has, shows an improvement over the base.
pub fn more_clean_runs_needed(base: Count, new: Count, alpha: f64) -> Option<u64> {
    if base.failed() == 0 || alpha.is_nan() || alpha <= 0.0 {
        return None;
    }
    if new.failed() == 0 {
        return Some(clean_runs_needed(base, alpha)?.saturating_sub(new.of()));
    }
    let more = smallest(|clean| {
        // Counts beyond the largest one stand for "never": the search ends there.
        Count::new(new.failed(), new.of() + clean).is_none_or(|new| fisher(base, new).less < alpha)
    })?;
    (new.of() + more <= Count::MAX).then_some(more)
}

/// Logarithm of the p-value of no failure in `clean` iterations after the base.
fn ln_p_of_clean(base: Count, clean: u64) -> f64 {
    let (k, n) = (base.failed(), base.of());
    let exact = |n| ln_choose(n, k);
    // 1/50 against 0/950 is exactly 1/20: whether such a tie is below a level of 0.05 is decided by rounding. So that
    // the answer is the one that others get, numbers that fit are computed as they do, from log-factorials.
    if n + clean < 10_000_000 {
        ln_factorial(n) - ln_factorial(n - k) + ln_factorial(n + clean - k) - ln_factorial(n + clean)
    } else {
        exact(n) - exact(n + clean)
    }
}

/// `ln(n!)` by Stirling's series.
fn ln_factorial(n: u64) -> f64 {
    if n < 12 {
        return (2..=n).map(|factor| factor as f64).rev().product::<f64>().ln();
    }
    let x = (n + 1) as f64;
    let square = 1.0 / (x * x);
    let series =
        (((square / 1188.0 - 1.0 / 1680.0) * square + 1.0 / 1260.0) * square - 1.0 / 360.0) * square + 1.0 / 12.0;
    (x - 0.5) * x.ln() - x + 0.918_938_533_204_672_8 + series / x
}

/// The smallest number for which something holds that holds for every larger one.
pub(crate) fn smallest(holds: impl Fn(u64) -> bool) -> Option<u64> {
    if holds(0) {
        return Some(0);
    }
    smallest_above(0, MOST, holds)
}

/// The smallest number above `low` for which something holds that holds for every larger one; `None` where that number
/// is larger than `most`.
pub(crate) fn smallest_above(low: u64, most: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = (low, low + 1);
    while !holds(high) {
        if high > most {
            return None;
        }
        (low, high) = (high, high * 2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    (high <= most).then_some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::count;

    #[test]
    fn a_base_without_a_failure_cannot_be_improved_on() {
        assert_eq!(clean_runs_needed(count(0, 50), 0.05), None);
        assert_eq!(clean_runs_needed(count(0, 0), 0.05), None);
        assert_eq!(more_clean_runs_needed(count(0, 50), count(1, 3), 0.05), None);
    }

    #[test]
    fn what_was_clean_already_counts() {
        assert_eq!(more_clean_runs_needed(count(2, 75), count(0, 50), 0.05), Some(209));
        assert_eq!(more_clean_runs_needed(count(13, 50), count(0, 50), 0.05), Some(0));
        let more = more_clean_runs_needed(count(13, 50), count(1, 5), 0.05).unwrap();
        assert!(fisher(count(13, 50), count(1, 5 + more)).less < 0.05);
        assert!(fisher(count(13, 50), count(1, 4 + more)).less >= 0.05);
    }

    #[test]
    fn levels_that_are_none_and_bases_beyond_reason_have_no_answer() {
        assert_eq!(clean_runs_needed(count(1, 50), 0.0), None);
        assert_eq!(clean_runs_needed(count(1, 50), f64::NAN), None);
        assert_eq!(clean_runs_needed(count(1, 1_000_000_000), 1e-9), None);
        assert_eq!(clean_runs_needed(count(1, 50), 1.0), Some(1));
    }

    #[test]
    fn waiting_for_a_failure_that_never_comes_has_no_length() {
        assert_eq!(runs_to_see_one(0.0, 0.95), None);
        assert_eq!(runs_to_see_one(1.0, 0.95), Some(1));
        assert_eq!(runs_to_see_one(f64::NAN, 0.95), None);
        assert_eq!(runs_to_see_one(1e-18, 0.95), None);
    }
}
