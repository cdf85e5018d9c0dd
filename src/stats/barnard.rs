//! Exact tests of two rates whose sizes were fixed beforehand: Barnard's and Boschloo's, and when to take which test.
//!
//! Fisher's test holds its level whatever was seen of the two counts together, and pays for that with power. Where the
//! sizes did not depend on anything seen, the p-value may be the largest probability, over a common rate, of the tables
//! that speak at least as strongly as the one seen. The two tests differ in what "as strongly" means.
//!
//! Sources: G. A. Barnard (1945), with the pooled z statistic; R. D. Boschloo (1970).

use super::fisher::{fisher_greater, fisher_less, is_fisher_less_at_most};
use super::rate::Count;
use crate::spec::words::words;

mod size;

use size::largest_size;

words! {
    /// An exact test of a base against a new count.
    #[derive(Hash)]
    pub enum ExactTest {
        /// Conditional on the number of failures: right also where a size was chosen after the other count was seen.
        Fisher = "fisher",
        /// Largest size over a common rate, tables ordered by pooled z: the most powerful where sizes are alike.
        Barnard = "barnard",
        /// Largest size over a common rate, tables ordered by Fisher's p.
        Boschloo = "boschloo",
    }
}

/// How the sizes of the two counts came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sizes {
    /// Both were planned alike before anything was seen, and no stop rule or selection ended either.
    FixedBeforehand,
    /// Anything else: counts without a history, a size chosen after the base was seen.
    Chosen,
}

/// The p-values of the two questions that can be asked before the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneSided {
    pub less: f64,
    pub greater: f64,
}

impl ExactTest {
    /// Iterations of both sides together up to which the largest size is computed; Fisher's test above.
    pub const MOST: u64 = 20_000;

    /// The test that fits: Barnard's where the sizes were fixed beforehand and the smaller one has answered at least
    /// 0.8 of the larger one, Fisher's otherwise and above [`ExactTest::MOST`].
    pub fn fitting(sizes: Sizes, base: Count, new: Count) -> ExactTest {
        let (smaller, larger) = (base.of().min(new.of()), base.of().max(new.of()));
        match sizes {
            Sizes::FixedBeforehand if 10 * smaller >= 8 * larger => ExactTest::Barnard.computable(base, new),
            Sizes::FixedBeforehand | Sizes::Chosen => ExactTest::Fisher,
        }
    }

    /// The test itself, or Fisher's where the two sides are too large for it.
    #[must_use]
    pub fn computable(self, base: Count, new: Count) -> ExactTest {
        if base.of() + new.of() > ExactTest::MOST {
            ExactTest::Fisher
        } else {
            self
        }
    }

    /// Both one-sided p-values by this test, or by Fisher's where the two sides are too large for it. 1 where one of
    /// the two is empty.
    pub fn p_values(self, base: Count, new: Count) -> OneSided {
        match self.computable(base, new) {
            ExactTest::Fisher => OneSided {
                less: fisher_less(base, new),
                greater: fisher_greater(base, new),
            },
            ExactTest::Barnard => OneSided {
                less: barnard_less(base, new),
                greater: barnard_less(new, base),
            },
            ExactTest::Boschloo => OneSided {
                less: boschloo_less(base, new),
                greater: boschloo_less(new, base),
            },
        }
    }
}

/// Tables that are equally strong differ by rounding, distinct ones by far more than this share.
const TIE: f64 = 1e-9;

/// Barnard's p that the new one fails less often. The counts have to be within [`ExactTest::MOST`].
fn barnard_less(base: Count, new: Count) -> f64 {
    let seen = pooled_z(base, new);
    if base.of() == 0 || new.of() == 0 || seen <= 0.0 {
        return 1.0;
    }
    largest_size(base.of(), new.of(), |base, new| {
        pooled_z(base, new) >= seen * (1.0 - TIE)
    })
}

/// Boschloo's p that the new one fails less often. The counts have to be within [`ExactTest::MOST`].
fn boschloo_less(base: Count, new: Count) -> f64 {
    let seen = fisher_less(base, new);
    if base.of() == 0 || new.of() == 0 || seen >= 1.0 {
        return 1.0;
    }
    largest_size(base.of(), new.of(), |base, new| {
        is_fisher_less_at_most(seen * (1.0 + TIE), base, new)
    })
}

/// By how many standard errors the base's rate is above the new one's; 0 where nothing failed or everything did.
fn pooled_z(base: Count, new: Count) -> f64 {
    let (n0, n1) = (base.of() as f64, new.of() as f64);
    let (x0, x1) = (base.failed() as f64, new.failed() as f64);
    let pooled = (x0 + x1) / (n0 + n1);
    let variance = pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1);
    if variance > 0.0 {
        (x0 / n0 - x1 / n1) / variance.sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::binomial::ln_pmf;
    use crate::stats::rate::count;

    const UNCONDITIONAL: [ExactTest; 2] = [ExactTest::Barnard, ExactTest::Boschloo];

    /// The size by its definition: every table of the set at each of many rates.
    fn size_by_hand(base_of: u64, new_of: u64, inside: impl Fn(Count, Count) -> bool) -> f64 {
        (1..4000)
            .map(|point| {
                let p = f64::from(point) / 4000.0;
                (0..=base_of)
                    .flat_map(|x0| (0..=new_of).map(move |x1| (x0, x1)))
                    .filter(|&(x0, x1)| inside(count(x0, base_of), count(x1, new_of)))
                    .map(|(x0, x1)| (ln_pmf(x0, base_of, p) + ln_pmf(x1, new_of, p)).exp())
                    .sum()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn nothing_can_be_told_from_an_empty_side() {
        for test in UNCONDITIONAL {
            for (base, new) in [((0, 0), (3, 5)), ((3, 5), (0, 0)), ((0, 0), (0, 0))] {
                let p = test.p_values(count(base.0, base.1), count(new.0, new.1));
                assert_eq!(
                    p,
                    OneSided {
                        less: 1.0,
                        greater: 1.0
                    },
                    "{test:?}"
                );
            }
        }
    }

    #[test]
    fn equal_rates_and_rates_of_zero_and_one_are_no_evidence_in_either_direction() {
        for test in UNCONDITIONAL {
            for (base, new) in [((0, 1), (0, 1)), ((1, 1), (1, 1)), ((0, 30), (0, 7)), ((9, 9), (4, 4))] {
                let p = test.p_values(count(base.0, base.1), count(new.0, new.1));
                assert_eq!(
                    p,
                    OneSided {
                        less: 1.0,
                        greater: 1.0
                    },
                    "{test:?} {base:?} {new:?}"
                );
            }
        }
        let p = ExactTest::Barnard.p_values(count(12, 100), count(12, 100));
        assert_eq!(
            p,
            OneSided {
                less: 1.0,
                greater: 1.0
            }
        );
    }

    #[test]
    fn one_run_a_side_is_the_largest_of_p_times_one_minus_p() {
        for test in UNCONDITIONAL {
            let p = test.p_values(count(1, 1), count(0, 1));
            assert!((p.less - 0.25).abs() < 1e-12, "{test:?}: {p:?}");
            assert!((p.greater - 1.0).abs() < 1e-12, "{test:?}: {p:?}");
        }
    }

    #[test]
    fn the_largest_size_is_that_of_the_definition() {
        for (base, new) in [
            ((5, 9), (1, 11)),
            ((7, 7), (3, 9)),
            ((2, 12), (0, 4)),
            ((1, 3), (0, 20)),
        ] {
            let (base, new) = (count(base.0, base.1), count(new.0, new.1));
            let z = pooled_z(base, new);
            let by_hand = size_by_hand(base.of(), new.of(), |x0, x1| pooled_z(x0, x1) >= z - 1e-9);
            let found = ExactTest::Barnard.p_values(base, new).less;
            assert!(
                (found / by_hand - 1.0).abs() < 1e-5 && found >= by_hand - 1e-9,
                "{base} {new}: {found} {by_hand}"
            );
            let p = fisher_less(base, new);
            let by_hand = size_by_hand(base.of(), new.of(), |x0, x1| fisher_less(x0, x1) <= p + 1e-9);
            let found = ExactTest::Boschloo.p_values(base, new).less;
            assert!(
                (found / by_hand - 1.0).abs() < 1e-5 && found >= by_hand - 1e-9,
                "{base} {new}: {found} {by_hand}"
            );
        }
    }

    #[test]
    fn boschloo_is_never_above_fisher() {
        for (base, new) in [
            ((3, 50), (0, 50)),
            ((16, 49), (0, 48)),
            ((40, 200), (25, 180)),
            ((2, 75), (0, 150)),
        ] {
            let (base, new) = (count(base.0, base.1), count(new.0, new.1));
            let (boschloo, fisher) = (
                ExactTest::Boschloo.p_values(base, new),
                ExactTest::Fisher.p_values(base, new),
            );
            assert!(boschloo.less < fisher.less && boschloo.greater <= fisher.greater + 1e-12);
        }
    }

    #[test]
    fn tiny_p_values_keep_their_digits() {
        // The one extreme table: at most the largest of p^n (1-p)^n, which is 4^-n.
        let p = ExactTest::Barnard.p_values(count(300, 300), count(0, 300)).less;
        assert!((p.ln() / (300.0 * 0.25_f64.ln()) - 1.0).abs() < 1e-9, "{p}");
        let p = ExactTest::Barnard.p_values(count(500, 1000), count(40, 1000)).less;
        assert!(p > 0.0 && p < 1e-100, "{p}");
    }

    #[test]
    fn the_test_follows_from_how_the_sizes_came_about() {
        let fitting = |sizes, base, new| ExactTest::fitting(sizes, count(1, base), count(0, new));
        assert_eq!(fitting(Sizes::FixedBeforehand, 50, 50), ExactTest::Barnard);
        assert_eq!(fitting(Sizes::FixedBeforehand, 50, 40), ExactTest::Barnard);
        assert_eq!(fitting(Sizes::FixedBeforehand, 40, 50), ExactTest::Barnard);
        assert_eq!(fitting(Sizes::FixedBeforehand, 50, 39), ExactTest::Fisher);
        assert_eq!(fitting(Sizes::Chosen, 50, 50), ExactTest::Fisher);
        assert_eq!(fitting(Sizes::FixedBeforehand, 10_000, 10_000), ExactTest::Barnard);
        assert_eq!(fitting(Sizes::FixedBeforehand, 10_000, 10_001), ExactTest::Fisher);
    }

    #[test]
    fn counts_too_large_for_a_largest_size_are_compared_by_fisher() {
        let (base, new) = (count(500_000_000, 1_000_000_000), count(499_000_000, 1_000_000_000));
        for test in UNCONDITIONAL {
            assert_eq!(test.computable(base, new), ExactTest::Fisher);
            assert_eq!(test.p_values(base, new), ExactTest::Fisher.p_values(base, new));
        }
    }
}
