//! Whether two counts differ by more than chance: Fisher's exact test, and Holm's correction where several are asked.

use super::Count;
use super::binomial::ln_hypergeometric;

/// The three p-values of Fisher's exact test of a base against a new count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fisher {
    /// Chance of at most as many failures in the new one as were seen, if both fail alike.
    pub less: f64,
    /// Chance of at least as many.
    pub greater: f64,
    /// Chance of a table at most as likely as the one seen, in either direction.
    pub two_sided: f64,
}

/// Fisher's exact test. Where one of the two is empty nothing can be told, and every p is 1.
///
/// Source: R. A. Fisher (1922); the two-sided p adds up the tables at most as likely as the one seen, as R and scipy do.
pub fn fisher(base: Count, new: Count) -> Fisher {
    let table = Table::with_margins_of(base, new);
    let seen = new.failed();
    let (less, greater) = (table.at_most(seen), table.at_least(seen));
    Fisher {
        less,
        greater,
        two_sided: table.at_most_as_likely_as(seen),
    }
}

/// The one-sided p of [`fisher`] that the new one fails less often, by itself: rules that search for a size ask it often.
pub fn fisher_less(base: Count, new: Count) -> f64 {
    Table::with_margins_of(base, new).at_most(new.failed())
}

/// Whether [`fisher_less`] is at most a limit; most tables are told without adding up the whole tail.
pub(super) fn is_fisher_less_at_most(limit: f64, base: Count, new: Count) -> bool {
    Table::with_margins_of(base, new).is_at_most(limit, new.failed())
}

/// The one-sided p of [`fisher`] that the new one fails more often, by itself.
pub fn fisher_greater(base: Count, new: Count) -> f64 {
    Table::with_margins_of(base, new).at_least(new.failed())
}

/// All tables with the same margins: `drawn` iterations taken from `failed` and `passed` ones.
struct Table {
    failed: u64,
    passed: u64,
    drawn: u64,
}

/// A term this small against the sum cannot change it, nor can all terms after it, which fall faster and faster.
const NEGLIGIBLE: f64 = 1e-22;

impl Table {
    fn with_margins_of(base: Count, new: Count) -> Table {
        let failed = base.failed() + new.failed();
        Table {
            failed,
            passed: base.of() + new.of() - failed,
            drawn: new.of(),
        }
    }

    fn least(&self) -> u64 {
        self.drawn.saturating_sub(self.passed)
    }

    fn most(&self) -> u64 {
        self.failed.min(self.drawn)
    }

    fn mode(&self) -> u64 {
        let product = u128::from(self.drawn + 1) * u128::from(self.failed + 1);
        let mode = product / u128::from(self.failed + self.passed + 2);
        u64::try_from(mode).unwrap_or(u64::MAX).clamp(self.least(), self.most())
    }

    fn probability(&self, k: u64) -> f64 {
        ln_hypergeometric(k, self.drawn, self.failed, self.passed).exp()
    }

    /// How much likelier `k + 1` is than `k`.
    fn step_up(&self, k: u64) -> f64 {
        let (k, drawn) = (k as f64, self.drawn as f64);
        (self.failed as f64 - k) / (k + 1.0) * (drawn - k) / (self.passed as f64 - drawn + k + 1.0)
    }

    /// Probability of `k` or fewer. The tail that holds the bulk of the distribution is what the other one leaves.
    fn at_most(&self, k: u64) -> f64 {
        let p = if k <= self.mode() {
            self.sum_down(k)
        } else if k >= self.most() {
            1.0
        } else {
            1.0 - self.sum_up(k + 1)
        };
        p.clamp(0.0, 1.0)
    }

    fn at_least(&self, k: u64) -> f64 {
        let p = if k >= self.mode() {
            self.sum_up(k)
        } else if k <= self.least() {
            1.0
        } else {
            1.0 - self.sum_down(k - 1)
        };
        p.clamp(0.0, 1.0)
    }

    /// Probability of `k` or fewer, for a `k` at or below the mode.
    fn sum_down(&self, k: u64) -> f64 {
        let mut term = self.probability(k);
        let mut sum = term;
        let mut k = k;
        while k > self.least() && term > sum * NEGLIGIBLE {
            k -= 1;
            term /= self.step_up(k);
            sum += term;
        }
        sum
    }

    /// Whether the probability of `k` or fewer is at most a limit.
    fn is_at_most(&self, limit: f64, k: u64) -> bool {
        if k > self.mode() {
            return self.at_most(k) <= limit;
        }
        let (mut term, mut k) = (self.probability(k), k);
        let mut sum = term;
        while k > self.least() && sum <= limit && term > sum * NEGLIGIBLE {
            k -= 1;
            let ratio = 1.0 / self.step_up(k);
            // Each further ratio is smaller: what is left is below a geometric series.
            if ratio < 1.0 && sum + term * ratio / (1.0 - ratio) <= limit {
                return true;
            }
            term *= ratio;
            sum += term;
        }
        sum <= limit
    }

    /// Probability of `k` or more, for a `k` at or above the mode.
    fn sum_up(&self, k: u64) -> f64 {
        let mut term = self.probability(k);
        let mut sum = term;
        let mut k = k;
        while k < self.most() && term > sum * NEGLIGIBLE {
            term *= self.step_up(k);
            k += 1;
            sum += term;
        }
        sum
    }

    /// Probability of the tables that are at most as likely as the one seen, on both sides of the mode.
    fn at_most_as_likely_as(&self, seen: u64) -> f64 {
        // Tables that are exactly as likely differ by rounding; distinct ones by far more than this.
        let limit = ln_hypergeometric(seen, self.drawn, self.failed, self.passed) + 1e-9;
        let is_unlikely = |k: u64| ln_hypergeometric(k, self.drawn, self.failed, self.passed) <= limit;
        let mode = self.mode();
        if is_unlikely(mode) {
            return 1.0;
        }
        // From each end to the mode the probability rises: the last of the unlikely ones is found by halving.
        let below = is_unlikely(self.least()).then(|| {
            let (mut low, mut high) = (self.least(), mode);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                *(if is_unlikely(middle) { &mut low } else { &mut high }) = middle;
            }
            self.sum_down(low)
        });
        let above = is_unlikely(self.most()).then(|| {
            let (mut low, mut high) = (mode, self.most());
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                *(if is_unlikely(middle) { &mut high } else { &mut low }) = middle;
            }
            self.sum_up(high)
        });
        (below.unwrap_or(0.0) + above.unwrap_or(0.0)).min(1.0)
    }
}

/// P-values adjusted so that the chance of even one false finding among all stays below the level; in the order given.
///
/// Source: S. Holm (1979), step down.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::count;

    #[test]
    fn the_two_directions_overlap_in_the_table_seen() {
        for n in [1, 7, 20] {
            for (a, b) in [(0, n), (n / 2, n / 3), (n, n), (n, 0), (0, 0), (1, 1)] {
                let (base, new) = (count(a, n), count(b, n));
                let (p, swapped) = (fisher(base, new), fisher(new, base));
                assert!(
                    (p.less - swapped.greater).abs() < 1e-12,
                    "{base} {new}: {p:?} {swapped:?}"
                );
                assert!(
                    (p.two_sided - swapped.two_sided).abs() < 1e-12,
                    "{base} {new}: {p:?} {swapped:?}"
                );
                assert!(p.less + p.greater >= 1.0 - 1e-12, "{base} {new}: {p:?}");
            }
        }
    }

    #[test]
    fn nothing_can_be_told_from_an_empty_count() {
        for (base, new) in [
            (count(0, 0), count(3, 5)),
            (count(3, 5), count(0, 0)),
            (count(0, 0), count(0, 0)),
        ] {
            let p = fisher(base, new);
            assert!(
                [p.less, p.greater, p.two_sided].iter().all(|p| (p - 1.0).abs() < 1e-12),
                "{p:?}"
            );
        }
    }

    #[test]
    fn a_limit_is_told_as_by_the_p_value() {
        for n in [1, 9, 40] {
            for (a, b) in (0..=n).flat_map(|a| (0..=n + 3).map(move |b| (a, b))) {
                let (base, new) = (count(a, n), count(b, n + 3));
                let p = fisher_less(base, new);
                for limit in [0.001, 0.05, 0.5, p * (1.0 + 1e-9), p * (1.0 - 1e-9)] {
                    assert_eq!(
                        is_fisher_less_at_most(limit, base, new),
                        p <= limit,
                        "{base} {new} {limit}"
                    );
                }
            }
        }
    }

    #[test]
    fn huge_counts_are_compared_in_no_time() {
        let p = fisher(count(400_000_000, 1_000_000_000), count(400_030_000, 1_000_000_000));
        assert!(
            p.greater > 0.05 && p.greater < 0.1 && (p.two_sided / p.greater - 2.0).abs() < 1e-3,
            "{p:?}"
        );
    }

    #[test]
    fn no_p_values_are_adjusted_to_none() {
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }
}
