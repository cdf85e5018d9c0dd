//! A failure rate from counts: its estimate and its intervals.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::digits::percent;
use super::sequential::proven_below;
use super::{binomial, confidence_sequence};

/// How many of how many failed; `failed` is at most `of`, and `of` may be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub struct Count {
    failed: u64,
    of: u64,
}

impl Count {
    /// The largest `of` that is taken: beyond it the figures are no longer exact in their ninth digit.
    pub const MAX: u64 = 1_000_000_000;

    /// `None` where more failed than there were, or there were more than [`Count::MAX`].
    pub fn new(failed: u64, of: u64) -> Option<Count> {
        (failed <= of && of <= Count::MAX).then_some(Count { failed, of })
    }

    pub fn failed(self) -> u64 {
        self.failed
    }

    /// Iterations that passed or failed; errored ones say nothing about the tests and are not in it.
    pub fn of(self) -> u64 {
        self.of
    }

    /// Both together; this one alone where both are more than [`Count::MAX`].
    #[must_use]
    pub fn plus(self, other: Count) -> Count {
        Count::new(self.failed + other.failed, self.of + other.of).unwrap_or(self)
    }

    /// Share that failed; `None` where there is nothing to take a share of.
    pub fn rate(self) -> Option<f64> {
        (self.of > 0).then(|| self.failed as f64 / self.of as f64)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.failed, self.of)
    }
}

/// Reads `K/N`.
impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        let number = |part: &str| part.trim().parse::<u64>().ok();
        let parts = text.split_once('/');
        let Some((failed, of)) = parts.and_then(|(failed, of)| Some((number(failed)?, number(of)?))) else {
            return Err(format!("expected counts as `K/N`, such as `2/75`, not `{text}`"));
        };
        if failed > of {
            return Err(format!("`{text}`: {failed} failed of only {of}"));
        }
        Count::new(failed, of).ok_or_else(|| format!("`{text}`: more than {} iterations", Count::MAX))
    }
}

/// How an interval is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// For a number of answers that was fixed beforehand.
    #[default]
    Wilson,
    /// For a number that depends on what the answers were: it holds however often somebody looked.
    ConfidenceSequence,
}

/// A failure rate with its interval. It displays as `26 % (16 % to 40 %)`, and as what it is below where nothing failed,
/// since zero is no estimate; it stands beside its count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Rate {
    #[serde(flatten)]
    pub count: Count,
    pub low: f64,
    pub high: f64,
    pub confidence: f64,
    pub method: Method,
}

impl Rate {
    pub fn new(count: Count, confidence: f64, method: Method) -> Rate {
        let (low, high) = match method {
            Method::Wilson => wilson(count.failed, count.of, confidence),
            Method::ConfidenceSequence => confidence_sequence(count, 1.0 - confidence),
        };
        Rate {
            count,
            low,
            high,
            confidence,
            method,
        }
    }

    /// What the rate is below, one-sided: exact, or, where it may be watched, by the evidence that `--prove-below` stops
    /// at, so that a sweep which that rule ended is below its limit here too.
    pub fn upper(&self) -> f64 {
        match self.method {
            Method::Wilson => upper_bound(self.count.failed, self.count.of, self.confidence),
            Method::ConfidenceSequence => proven_below(self.count, 1.0 - self.confidence),
        }
    }

    /// `2/75 failed: 2.7 % (95 % interval: 0.73 % to 9.2 %)`.
    pub fn sentence(&self) -> String {
        let (count, sure) = (self.count, percent(self.confidence));
        match count.rate() {
            None => "no iteration passed or failed: nothing is known of the rate".to_owned(),
            Some(_) if count.failed == 0 => format!("{count} failed: the failure rate is {self} ({sure} sure)"),
            Some(value) => {
                let (low, high) = (percent(self.low), percent(self.high));
                format!("{count} failed: {} ({sure} interval: {low} to {high})", percent(value))
            }
        }
    }

    /// As `compare`, `history` and the tests of a summary publish it: the count and the ends of the interval.
    pub fn ends<S: Serializer>(rate: &Rate, serializer: S) -> Result<S::Ok, S::Error> {
        Ends::of(*rate).serialize(serializer)
    }
}

/// A rate as [`Rate::ends`] publishes it.
#[derive(Serialize, JsonSchema)]
pub struct Ends {
    #[serde(flatten)]
    count: Count,
    low: f64,
    high: f64,
}

impl Ends {
    pub fn of(rate: Rate) -> Ends {
        let Rate { count, low, high, .. } = rate;
        Ends { count, low, high }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count.rate() {
            None => f.write_str("unknown"),
            Some(_) if self.count.failed == 0 => write!(f, "below {}", percent(self.upper())),
            Some(value) => write!(
                f,
                "{} ({} to {})",
                percent(value),
                percent(self.low),
                percent(self.high)
            ),
        }
    }
}

/// The quantile of the standard normal distribution that leaves `(1 - confidence) / 2` above it: where the error
/// function of `x / √2` is the confidence, found by Newton's method, which comes from below since it is concave.
fn two_sided_quantile(confidence: f64) -> f64 {
    // e^(-x²/2) √(2/π) Σ x^(2n+1) / (1·3·5…): all terms are positive, so no digit is lost.
    let inside = |x: f64, density: f64| {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= x * x / odd;
            sum += term;
        }
        density * sum
    };
    let mut x = 0.0;
    for _ in 0..100 {
        let density = (2.0 / PI).sqrt() * (-0.5_f64 * x * x).exp();
        let step = (confidence - inside(x, density)) / density;
        x += step;
        if step <= x * 1e-15 {
            break;
        }
    }
    x
}

fn is_confidence(confidence: f64) -> bool {
    confidence > 0.0 && confidence < 1.0
}

/// Two-sided interval for a rate of `k` in `n`. Nothing is known of none: (0, 1), as for a confidence that is not
/// between 0 and 1; `k` above `n` counts as `n`.
///
/// Source: E. B. Wilson (1927); chosen because its coverage stays close to nominal at small `n` and it is never
/// degenerate (Brown, Cai and `DasGupta`, 2001).
pub fn wilson(k: u64, n: u64, confidence: f64) -> (f64, f64) {
    if n == 0 || !is_confidence(confidence) {
        return (0.0, 1.0);
    }
    let upper = |k: u64| {
        let (rate, trials, z) = (k as f64 / n as f64, n as f64, two_sided_quantile(confidence));
        let half_width = z * (rate * (1.0 - rate) / trials + z * z / (4.0 * trials * trials)).sqrt();
        (rate + z * z / (2.0 * trials) + half_width) / (1.0 + z * z / trials)
    };
    let k = k.min(n);
    // The ends multiply to rate² / (1 + z²/n): dividing keeps the digits of the lower one that a difference loses.
    let low = if k == 0 {
        0.0
    } else {
        let (rate, trials, z) = (k as f64 / n as f64, n as f64, two_sided_quantile(confidence));
        rate * rate / (1.0 + z * z / trials) / upper(k)
    };
    (low, if k == n { 1.0 } else { upper(k) })
}

/// Two-sided interval that holds its confidence at every rate; wider than [`wilson`]. The edge cases are the same.
///
/// Source: Clopper and Pearson (1934).
pub fn clopper_pearson(k: u64, n: u64, confidence: f64) -> (f64, f64) {
    if n == 0 || !is_confidence(confidence) {
        return (0.0, 1.0);
    }
    let (k, tail) = (k.min(n), (1.0 - confidence) / 2.0);
    let low = if k == 0 {
        0.0
    } else {
        binomial::root(|p| binomial::at_least(k, n, p) - tail)
    };
    let high = if k == n {
        1.0
    } else {
        binomial::root(|p| tail - binomial::at_most(k, n, p))
    };
    (low, high)
}

/// The rate that the true one is below, with this confidence; exact and one-sided. 1 where nothing is known.
///
/// Source: Clopper and Pearson (1934), one side of it; "0/50: below 5.8 %".
pub fn upper_bound(k: u64, n: u64, confidence: f64) -> f64 {
    if k >= n || !is_confidence(confidence) {
        return 1.0;
    }
    binomial::root(|p| (1.0 - confidence) - binomial::at_most(k, n, p))
}

/// A whole number that has been computed as a float; `None` beyond what a float counts exactly.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked in the line before"
)]
pub(crate) fn whole(value: f64) -> Option<u64> {
    (0.0..9e15).contains(&value).then_some(value as u64)
}

/// Failed and all runs, as tests write them.
#[cfg(test)]
pub(crate) fn count(failed: u64, of: u64) -> Count {
    Count::new(failed, of).unwrap()
}

#[cfg(test)]
pub(crate) fn counts(runs: &[(u64, u64)]) -> Vec<Count> {
    runs.iter().map(|&(failed, of)| count(failed, of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_of_no_iterations() {
        assert_eq!(wilson(0, 0, 0.95), (0.0, 1.0));
        assert_eq!(clopper_pearson(0, 0, 0.95), (0.0, 1.0));
        assert!((upper_bound(0, 0, 0.95) - 1.0).abs() < 1e-15);
        assert_eq!(Count::default().rate(), None);
    }

    #[test]
    fn absurd_arguments_give_the_widest_interval_and_not_a_panic() {
        for confidence in [0.0, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(wilson(1, 2, confidence), (0.0, 1.0));
            assert_eq!(clopper_pearson(1, 2, confidence), (0.0, 1.0));
            assert!((upper_bound(1, 2, confidence) - 1.0).abs() < 1e-15);
        }
        assert_eq!(wilson(9, 2, 0.95), wilson(2, 2, 0.95));
    }

    #[test]
    fn counts_are_read_as_k_of_n_and_refused_in_words() {
        assert_eq!("2/75".parse(), Ok(Count { failed: 2, of: 75 }));
        assert_eq!("0/0".parse(), Ok(Count { failed: 0, of: 0 }));
        for (text, words) in [
            ("3/2", "3 failed of only 2"),
            ("a/2", "expected counts"),
            ("-1/2", "expected counts"),
            ("1/99999999999", "more than"),
        ] {
            assert!(text.parse::<Count>().unwrap_err().contains(words), "{text}");
        }
    }

    #[test]
    fn intervals_of_huge_counts_are_as_exact_and_take_no_time() {
        let (low, high) = clopper_pearson(500_000_000, 1_000_000_000, 0.95);
        assert!(low < 0.5 && high > 0.5 && high - low < 1e-4);
    }
}
