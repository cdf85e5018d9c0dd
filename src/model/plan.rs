//! What a sweep's counts say about the next one: what `plan` prints, as a value.

use serde::Serialize;

use crate::stats::{self, Count, sequential};

/// A rate with every interval there is for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Base {
    /// The count.
    #[serde(flatten)]
    pub count: Count,
    /// Lower end of Wilson's interval.
    pub low: f64,
    /// Upper end of Wilson's interval.
    pub high: f64,
    /// Lower end of the exact interval.
    pub exact_low: f64,
    /// Upper end of the exact interval.
    pub exact_high: f64,
    /// What the rate is below, exact and one-sided.
    pub upper: f64,
    /// Lower end of the interval that may be watched while a sweep runs.
    pub cs_low: f64,
    /// Upper end of it.
    pub cs_high: f64,
    /// Confidence of all of them.
    pub confidence: f64,
}

/// How long to wait for one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RunsToSeeOne {
    /// If the rate is what was seen; `None` where nothing failed.
    pub at_rate: Option<u64>,
    /// If the rate is the lower end of Wilson's interval.
    pub at_low: Option<u64>,
}

/// How far the counts are from showing that the rate is below a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Below {
    /// The limit.
    pub rate: f64,
    /// Logarithm of the e-value of the counts.
    pub log_e: f64,
    /// Clean iterations still needed, 0 when shown; `None` where nobody would wait that long.
    pub clean_runs: Option<u64>,
    /// Clean iterations needed from a fresh start.
    #[serde(skip)]
    pub from_scratch: Option<u64>,
}

/// The whole plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Version of this layout, 1.
    pub format: u32,
    /// What is known of the rate.
    pub base: Base,
    /// Clean iterations in a row that would show an improvement; `None` where nothing failed.
    pub clean_runs_needed: Option<u64>,
    /// How long to wait for one failure.
    pub runs_to_see_one: RunsToSeeOne,
    /// About the limit, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
    /// Level of the tests.
    #[serde(skip)]
    pub alpha: f64,
}

impl Plan {
    /// Everything about a count. `below` is a rate between 0 and 1.
    #[must_use]
    pub fn new(count: Count, confidence: f64, alpha: f64, below: Option<f64>) -> Plan {
        let (low, high) = count.interval(confidence);
        let (exact_low, exact_high) = stats::clopper_pearson(count.failed(), count.of(), confidence);
        let (cs_low, cs_high) = stats::confidence_sequence(count, 1.0 - confidence);
        let wait = |rate: f64| stats::runs_to_see_one(rate, confidence);
        Plan {
            format: 1,
            base: Base {
                count,
                low,
                high,
                exact_low,
                exact_high,
                upper: stats::upper_bound(count.failed(), count.of(), confidence),
                cs_low,
                cs_high,
                confidence,
            },
            clean_runs_needed: stats::clean_runs_needed(count, alpha),
            runs_to_see_one: RunsToSeeOne {
                at_rate: count.rate().and_then(wait),
                at_low: wait(low),
            },
            below: below.and_then(|rate| {
                Some(Below {
                    rate,
                    log_e: stats::log_e_below(count, rate)?,
                    clean_runs: sequential::clean_runs_to_prove_below(count, rate, alpha),
                    from_scratch: sequential::clean_runs_to_prove_below(Count::default(), rate, alpha),
                })
            }),
            alpha,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_every_figure_under_its_published_name() {
        let plan = Plan::new("2/75".parse().unwrap(), 0.95, 0.05, Some(0.03));
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["clean_runs_needed"], 259);
        assert_eq!(json["runs_to_see_one"]["at_rate"], 111);
        assert_eq!(json["base"]["of"], 75);
        assert!((json["below"]["log_e"].as_f64().unwrap() + 1.125_945_580_9).abs() < 1e-9);
        let mut keys: Vec<&String> = json["base"].as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "confidence",
                "cs_high",
                "cs_low",
                "exact_high",
                "exact_low",
                "failed",
                "high",
                "low",
                "of",
                "upper"
            ]
        );
    }

    #[test]
    fn a_base_that_never_failed_has_no_waiting_time() {
        let plan = Plan::new("0/50".parse().unwrap(), 0.95, 0.05, None);
        assert_eq!(plan.clean_runs_needed, None);
        assert_eq!(
            (plan.runs_to_see_one.at_rate, plan.runs_to_see_one.at_low),
            (None, None)
        );
        assert!(serde_json::to_value(&plan).unwrap().get("below").is_none());
    }
}
