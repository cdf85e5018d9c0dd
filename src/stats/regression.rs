//! Whether a comparison lets a night pass: what `compare --gate` decides.

use crate::stats;
use crate::stats::comparison::Comparison;

/// What a gate looks at; at least one of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RegressionGate {
    /// Whether any class that fails more than before closes it.
    pub regression: bool,
    /// The rate above which it is closed, whatever it was before.
    pub rate: Option<f64>,
}

/// A class that closes the gate by failing more.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    pub id: String,
    /// One-sided p in the direction of more failures, after Holm over all classes.
    pub p_adjusted: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GateDecision {
    pub regressions: Vec<Regression>,
    /// The limit, where the rate is above it.
    pub above: Option<f64>,
}

impl GateDecision {
    pub fn is_open(&self) -> bool {
        self.regressions.is_empty() && self.above.is_none()
    }
}

impl RegressionGate {
    /// Judges a comparison. The gate itself states the direction, so that only "more" is tested, at the whole level;
    /// this may close it on a class whose two-directional verdict is still "no evidence".
    pub fn decide(&self, comparison: &Comparison) -> GateDecision {
        let p_values: Vec<f64> = comparison.classes.iter().map(|class| class.tested.greater).collect();
        let regressions = comparison
            .classes
            .iter()
            .zip(stats::holm(&p_values))
            .filter(|(_, p_adjusted)| self.regression && *p_adjusted < comparison.question.alpha)
            .map(|(class, p_adjusted)| Regression {
                id: class.id.clone(),
                p_adjusted,
            })
            .collect();
        let rate = comparison.new.count.rate();
        GateDecision {
            regressions,
            above: self.rate.filter(|limit| rate.is_some_and(|rate| rate > *limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::comparison::{Finding, Question};
    use crate::stats::sample::Sample;

    fn decide(base: &str, new: &str, gate: RegressionGate) -> (GateDecision, Finding) {
        let side = |text: &str| Sample::from_counts(text, text.parse().unwrap());
        let comparison = Comparison::new(&side(base), &side(new), Question::default());
        (gate.decide(&comparison), comparison.classes[0].verdict)
    }

    const REGRESSION: RegressionGate = RegressionGate {
        regression: true,
        rate: None,
    };

    #[test]
    fn more_failures_close_the_gate_and_fewer_or_as_many_do_not() {
        assert!(!decide("13/50", "34/50", REGRESSION).0.is_open());
        for (base, new) in [
            ("34/50", "13/50"),
            ("1/50", "2/50"),
            ("0/50", "0/50"),
            ("50/50", "50/50"),
        ] {
            assert!(decide(base, new, REGRESSION).0.is_open(), "{base} {new}");
        }
    }

    #[test]
    fn the_gate_tests_its_one_direction_at_the_whole_level() {
        // One-sided p is 0.028: enough where the direction was stated, too little where it was not.
        let (decision, verdict) = decide("0/50", "5/50", REGRESSION);
        assert!(!decision.is_open());
        assert_eq!(verdict, Finding::NoEvidence);
    }

    #[test]
    fn an_absolute_limit_is_one_whatever_was_before() {
        let limit = |rate| RegressionGate {
            regression: false,
            rate: Some(rate),
        };
        assert!(!decide("13/50", "13/50", limit(0.25)).0.is_open());
        assert!(decide("0/50", "13/50", limit(0.26)).0.is_open());
        assert!(decide("0/50", "13/50", limit(0.3)).0.is_open());
    }
}
