//! How long iterations took, those that failed beside those that passed: a slow tail is a symptom.

use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::Verdict;

/// The spread of some durations, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Spread {
    /// How many.
    pub n: usize,
    /// The shortest.
    pub min: f64,
    /// Half took at most this long.
    pub median: f64,
    /// Nine of ten took at most this long.
    pub p90: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// The spread of durations; `None` of none. What is not a number is left out.
    pub fn of(mut seconds: Vec<f64>) -> Option<Spread> {
        seconds.retain(|seconds| seconds.is_finite());
        seconds.sort_by(f64::total_cmp);
        Some(Spread {
            n: seconds.len(),
            min: *seconds.first()?,
            median: quantile(&seconds, 50),
            p90: quantile(&seconds, 90),
            max: *seconds.last()?,
        })
    }
}

/// The smallest value that at least so many percent do not exceed: always one that was seen.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The durations of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Durations {
    /// Of all iterations.
    pub all: Option<Spread>,
    /// Of those that passed.
    pub passed: Option<Spread>,
    /// Of those that failed.
    pub failed: Option<Spread>,
}

impl Durations {
    pub fn of(iterations: &[(Verdict, f64)]) -> Durations {
        let with = |verdict: Verdict| {
            Spread::of(
                iterations
                    .iter()
                    .filter(|one| one.0 == verdict)
                    .map(|one| one.1)
                    .collect(),
            )
        };
        Durations {
            all: Spread::of(iterations.iter().map(|one| one.1).collect()),
            passed: with(Verdict::Passed),
            failed: with(Verdict::Failed),
        }
    }

    /// What stands out, in words: failures beyond everything that passed, or passes with a slow tail of their own.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(passed), Some(failed)) = (self.passed, self.failed)
            && passed.n >= 5
            && failed.median > passed.max
        {
            notes.push(format!(
                "failing iterations are slow: half took {:.0} s or more, no passing one more than {:.0} s",
                failed.median, passed.max
            ));
        }
        if let Some(passed) = self.passed
            && passed.n >= 20
            && passed.max > 3.0 * passed.median
        {
            notes.push(format!(
                "passing iterations have a slow tail: median {:.0} s, nine of ten within {:.0} s, the longest {:.0} s",
                passed.median, passed.p90, passed.max
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let spread = Spread::of((1..=10).map(f64::from).rev().collect()).unwrap();
        let found = [spread.min, spread.median, spread.p90, spread.max];
        assert!(
            found
                .iter()
                .zip([1.0, 5.0, 9.0, 10.0])
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?}"
        );
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![f64::NAN]), None);
    }

    #[test]
    fn slow_failures_and_slow_tails_are_named() {
        let mut iterations = vec![(Verdict::Passed, 60.0); 30];
        iterations.extend([
            (Verdict::Failed, 600.0),
            (Verdict::Failed, 660.0),
            (Verdict::Errored, 1.0),
        ]);
        assert_eq!(Durations::of(&iterations).notes().len(), 1);
        iterations.push((Verdict::Passed, 200.0));
        let notes = Durations::of(&iterations).notes().join("\n");
        assert!(
            notes.contains("slow tail: median 60 s") && notes.contains("half took 600 s"),
            "{notes}"
        );
        assert!(Durations::of(&[]).notes().is_empty());
    }
}
