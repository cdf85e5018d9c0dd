//! Binomial and hypergeometric probabilities, exact to about 13 digits also where counts are in the millions.
//!
//! Factorials are never formed: `ln(n!)` of large numbers cancels and takes the digits of small probabilities with
//! it. Source: C. Loader, "Fast and accurate computation of binomial probabilities" (2000). Tails are a continued
//! fraction for the regularized incomplete beta function (NIST DLMF 8.17.22), evaluated by Lentz's method.

#![expect(clippy::many_single_char_names, reason = "the names of the sources")]

use std::f64::consts::PI;

/// `ln(n!) - ln(sqrt(2πn) (n/e)^n)`, the error of Stirling's formula.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (1..=15).map(f64::from).take_while(|factor| *factor <= n).product();
        return factorial.ln() - (0.5 * (2.0 * PI * n).ln() + n * n.ln() - n);
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / n
}

/// Deviance `x ln(x/mean) + mean - x`, without cancellation where the two are close.
fn deviance(x: f64, mean: f64) -> f64 {
    if (x - mean).abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let ratio = (x - mean) / (x + mean);
    let mut sum = (x - mean) * ratio;
    let mut term = 2.0 * x * ratio;
    for odd in (3..2000).step_by(2) {
        term *= ratio * ratio;
        let next = sum + term / f64::from(odd);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

/// Logarithm of the probability of `k` successes in `n` trials that each succeed with probability `p`;
/// minus infinity for what cannot happen.
pub fn ln_pmf(k: u64, n: u64, p: f64) -> f64 {
    if k > n || !(0.0..=1.0).contains(&p) {
        return f64::NEG_INFINITY;
    }
    let (successes, failures, trials) = (k as f64, (n - k) as f64, n as f64);
    if k == 0 {
        return if n == 0 { 0.0 } else { trials * (-p).ln_1p() };
    }
    if k == n {
        return trials * p.ln();
    }
    if p == 0.0 || p >= 1.0 {
        return f64::NEG_INFINITY;
    }
    stirling_error(trials)
        - stirling_error(successes)
        - stirling_error(failures)
        - deviance(successes, trials * p)
        - deviance(failures, trials * (1.0 - p))
        + 0.5 * (trials / (2.0 * PI * successes * failures)).ln()
}

/// Logarithm of the number of ways to choose `k` of `n`, whose absolute error does not grow with `n`.
pub fn ln_choose(n: u64, k: u64) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    if k == 0 || k == n {
        return 0.0;
    }
    let share = k as f64 / n as f64;
    ln_pmf(k, n, share) - k as f64 * share.ln() - (n - k) as f64 * (-share).ln_1p()
}

/// Probability of `k` marked items in a sample of `drawn` from `marked + unmarked`, as its logarithm.
pub fn ln_hypergeometric(k: u64, drawn: u64, marked: u64, unmarked: u64) -> f64 {
    let all = marked + unmarked;
    if k > drawn || k > marked || drawn > all || drawn - k > unmarked {
        return f64::NEG_INFINITY;
    }
    if drawn == 0 || drawn == all {
        return 0.0;
    }
    let share = drawn as f64 / all as f64;
    ln_pmf(k, marked, share) + ln_pmf(drawn - k, unmarked, share) - ln_pmf(drawn, all, share)
}

pub fn at_least(k: u64, n: u64, p: f64) -> f64 {
    ln_at_least(k, n, p).exp().min(1.0)
}

pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { at_least(n - k, n, 1.0 - p) }
}

/// Logarithm of the probability of `k` or more successes in `n` trials; minus infinity for what cannot happen.
pub fn ln_at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 || p >= 1.0 && k <= n {
        return 0.0;
    }
    if k > n || p.is_nan() || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let (a, b) = (k as f64, (n - k + 1) as f64);
    if p < (a + 1.0) / (a + b + 2.0) {
        ln_pmf(k, n, p) + (-p).ln_1p() + beta_fraction(a, b, p).ln()
    } else {
        // The fraction converges fast on this side only, so the tail is what the other one leaves.
        let other = (ln_pmf(k - 1, n, p) + p.ln() + beta_fraction(b, a, 1.0 - p).ln()).exp();
        (-other).ln_1p()
    }
}

/// Continued fraction of the regularized incomplete beta function, without its leading factor.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    // About sqrt(max(a, b)) terms are needed; the bound is far above that of any count a sweep can reach.
    const MAX_TERMS: u32 = 1_000_000;
    const TINY: f64 = 1e-300;
    let guarded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for index in 1..=MAX_TERMS {
        let m = f64::from(index);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guarded(1.0 + even * d);
        c = guarded(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guarded(1.0 + odd * d);
        c = guarded(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// The `p` at which a function that rises with `p` from below zero to above it is zero; `p` is searched on the scale
/// of log-odds, so that rates of one in a million keep their digits.
pub(crate) fn root(rising: impl Fn(f64) -> f64) -> f64 {
    let probability = |log_odds: f64| 1.0 / (1.0 + (-log_odds).exp());
    let (mut low, mut high) = (-60.0_f64, 60.0_f64);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if rising(probability(middle)) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    probability(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_all_counts_add_up_to_one() {
        for (n, p) in [(1, 0.5), (17, 0.03), (200, 0.9), (5000, 0.26)] {
            let sum: f64 = (0..=n).map(|k| ln_pmf(k, n, p).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{n} {p}: {sum}");
        }
    }

    #[test]
    fn a_tail_is_the_sum_of_its_probabilities() {
        for (k, n, p) in [(3, 20, 0.1), (15, 20, 0.1), (40, 100, 0.5), (1, 1000, 1e-6)] {
            let sum: f64 = (k..=n).map(|k| ln_pmf(k, n, p).exp()).sum();
            assert!((at_least(k, n, p) / sum - 1.0).abs() < 1e-12, "{k} of {n} at {p}");
            assert!(
                (at_least(k, n, p) + at_most(k - 1, n, p) - 1.0).abs() < 1e-12,
                "{k} of {n} at {p}"
            );
        }
    }

    #[test]
    fn what_cannot_happen_has_probability_zero_and_is_never_not_a_number() {
        assert_eq!(at_least(3, 2, 0.5).to_bits(), 0.0_f64.to_bits());
        assert!(ln_pmf(1, 5, 0.0).is_infinite());
        assert_eq!(ln_pmf(0, 0, 0.5).to_bits(), 0.0_f64.to_bits());
        assert!(ln_pmf(1, 2, f64::NAN).exp() < 1e-300);
    }

    #[test]
    fn the_number_of_ways_to_choose_is_right_for_small_and_huge_numbers() {
        assert!((ln_choose(10, 3).exp() - 120.0).abs() < 1e-10);
        assert!((ln_choose(1_000_000_000, 1) - 1e9_f64.ln()).abs() < 1e-12);
    }
}
