//! Whether runs fail at about one rate or at a much lower one, decided with as few of them as possible.
//!
//! Source: A. Wald, "Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16 (1945), with his
//! bounds `ln((1 - beta) / alpha)` and `ln(beta / (1 - alpha))`.

/// A sequential probability ratio test between two failure rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sprt {
    /// Logarithm of the likelihood ratio that one failure adds.
    up: f64,
    /// What one pass takes away.
    down: f64,
    /// From here on the higher rate is taken to hold.
    upper: f64,
    /// From here down the lower one is.
    lower: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They fail at the higher rate.
    Fails,
    /// They fail at the lower rate, or not at all.
    DoesNotFail,
    /// Neither can be said yet.
    Open {
        /// Runs in a row that would have to fail to decide it.
        failures: u32,
        /// Runs in a row that would have to pass to decide it.
        passes: u32,
    },
}

impl Sprt {
    /// A test between `low` and `high`, which must lie between 0 and 1, `low` below `high`. At the rate `low` at most
    /// about `alpha` of the series are taken for failing, at the rate `high` at most about `beta` for not failing.
    pub fn new(low: f64, high: f64, alpha: f64, beta: f64) -> Sprt {
        let high = high.clamp(1e-6, 1.0 - 1e-6);
        let low = low.clamp(1e-9, high / 1.01);
        Sprt {
            up: (high / low).ln(),
            down: ((1.0 - low) / (1.0 - high)).ln(),
            upper: ((1.0 - beta) / alpha).ln(),
            lower: (beta / (1.0 - alpha)).ln(),
        }
    }

    /// Looks at a series of runs, in order: whether each failed. The first crossing of a bound decides, whatever
    /// follows. A series that is four times as long as one without a failure needs to be is not waited for any longer:
    /// whichever rate explains it better holds.
    pub fn decide(&self, runs: impl IntoIterator<Item = bool>) -> Decision {
        let clean = steps(-self.lower, self.down);
        let (mut evidence, mut seen) = (0.0, 0);
        for failed in runs {
            evidence += if failed { self.up } else { -self.down };
            seen += 1;
            // Sums of a few logarithms, so that the last digits of a bound must not cost another run.
            if evidence >= self.upper - 1e-9 {
                return Decision::Fails;
            }
            if evidence <= self.lower + 1e-9 {
                return Decision::DoesNotFail;
            }
            if seen >= clean.saturating_mul(4) {
                return if evidence >= 0.0 {
                    Decision::Fails
                } else {
                    Decision::DoesNotFail
                };
            }
        }
        Decision::Open {
            failures: steps(self.upper - evidence, self.up),
            passes: steps(evidence - self.lower, self.down),
        }
    }
}

/// How many steps of a size cover a distance.
fn steps(distance: f64, step: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are positive, and a float larger than any number of runs becomes the largest one"
    )]
    let steps = ((distance - 1e-9) / step).ceil().max(1.0) as u32;
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bound_that_is_crossed_decides() {
        let test = Sprt::new(0.05, 0.5, 0.05, 0.01);
        assert_eq!(test.decide([true, true]), Decision::Fails);
        assert_eq!(test.decide([true, true, false, false, false]), Decision::Fails);
        assert_eq!(test.decide([]), Decision::Open { failures: 2, passes: 8 });
        assert_eq!(test.decide([false; 7]), Decision::Open { failures: 4, passes: 1 });
        assert_eq!(test.decide([false; 8]), Decision::DoesNotFail);
    }

    #[test]
    fn a_series_between_both_rates_comes_to_an_end() {
        let test = Sprt::new(0.05, 0.5, 1e-6, 1e-6);
        let series = std::iter::repeat([true, false, false, false, false]).flatten();
        assert!(!matches!(test.decide(series.take(10_000)), Decision::Open { .. }));
    }

    #[test]
    fn rates_that_are_none_do_no_harm() {
        for (low, high) in [(0.0, 1.0), (0.5, 0.5), (0.9, 0.1)] {
            assert!(!matches!(
                Sprt::new(low, high, 0.05, 0.01).decide([false; 5000]),
                Decision::Open { .. }
            ));
        }
    }
}
