//! What a sweep's counts say about the next one: what `plan` prints, as a value.

use schemars::JsonSchema;
use serde::Serialize;

use super::comparison::{ANY, Direction, Question};
use super::prove;
use super::runs_needed::smallest_above;
use super::sample::Sample;
use crate::stats::rate::Ends;
use crate::stats::{self, Count, Rate, sequential};

/// A rate with every interval there is for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Base {
    /// With the interval that the sweep's course allows.
    #[serde(flatten, serialize_with = "Rate::ends")]
    #[schemars(with = "Ends")]
    pub rate: Rate,
    /// Lower end of the exact interval.
    pub exact_low: f64,
    pub exact_high: f64,
    /// What the rate is below.
    pub upper: f64,
    /// Lower end of the interval that may be watched while a sweep runs.
    pub cs_low: f64,
    pub cs_high: f64,
    pub confidence: f64,
}

/// How long to wait for one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunsToSeeOne {
    /// If the rate is what was seen; `None` where nothing failed.
    pub at_rate: Option<u64>,
    /// If the rate is the lower end of Wilson's interval.
    pub at_low: Option<u64>,
}

/// How far the counts are from showing that the rate is below a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
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

/// Clean iterations in a row after which a class is shown to fail less often; `None` where nobody would wait that long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Needed {
    /// `any`, or the category.
    pub id: String,
    /// How often it failed.
    #[serde(flatten)]
    pub count: Count,
    /// Until `compare` says "fewer", with all classes of the sweep and both directions in question.
    pub clean_runs_needed: Option<u64>,
    /// Until `compare --expect fewer` does.
    pub expecting_fewer: Option<u64>,
    /// Until `prove` does, which asks about this class alone.
    pub in_proof: Option<u64>,
}

/// The whole plan.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Plan {
    /// Version of this layout, 1.
    pub format: u32,
    /// What is known of the rate.
    pub base: Base,
    /// Clean iterations in a row that would show an improvement: of counts by a test of this one question, of a sweep by
    /// `compare` with it; `None` where nothing failed.
    pub clean_runs_needed: Option<u64>,
    /// The same for each class of a sweep; empty for counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Needed>,
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
    /// Everything about a sample: where it is a sweep, the clean iterations are those after which `compare` of this very
    /// sweep, with all its classes, says "fewer".
    pub fn of(sample: &Sample, confidence: f64, alpha: f64, below: Option<f64>) -> Plan {
        let mut plan = Plan::new(sample.rate(ANY, confidence), alpha, below);
        if sample.conditions.is_some() && sample.any.failed() > 0 {
            plan.classes = needed(sample, alpha);
            plan.clean_runs_needed = plan
                .classes
                .iter()
                .find(|class| class.id == ANY)
                .and_then(|any| any.clean_runs_needed);
        }
        plan
    }

    /// Everything about a rate. `below` is a rate between 0 and 1.
    pub fn new(rate: Rate, alpha: f64, below: Option<f64>) -> Plan {
        let Rate { count, confidence, .. } = rate;
        let (exact_low, exact_high) = stats::clopper_pearson(count.failed(), count.of(), confidence);
        let (cs_low, cs_high) = stats::confidence_sequence(count, 1.0 - confidence);
        let wait = |rate: f64| stats::runs_to_see_one(rate, confidence);
        Plan {
            format: 1,
            base: Base {
                rate,
                exact_low,
                exact_high,
                upper: rate.upper(),
                cs_low,
                cs_high,
                confidence,
            },
            clean_runs_needed: stats::clean_runs_needed(count, alpha),
            classes: Vec::new(),
            runs_to_see_one: RunsToSeeOne {
                at_rate: count.rate().and_then(wait),
                at_low: wait(rate.low),
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

/// What each class needs. All are compared with the same clean series, and Holm's correction takes all of them in.
fn needed(sample: &Sample, alpha: f64) -> Vec<Needed> {
    let seen = sample.by_category.keys().map(String::as_str);
    let ids: Vec<&str> = std::iter::once(ANY).chain(seen).collect();
    let counts: Vec<Count> = ids.iter().map(|id| sample.class(id)).collect();
    let until = |index: usize, expect: Option<Direction>| {
        let question = Question {
            expect,
            alpha,
            ..Question::default()
        };
        smallest_above(0, Count::MAX / 2, |clean| {
            let new = Count::new(0, clean).unwrap_or_default();
            let p: Vec<f64> = counts.iter().map(|base| stats::fisher_less(*base, new)).collect();
            stats::holm(&p)[index] < question.level()
        })
    };
    ids.iter()
        .enumerate()
        .map(|(index, id)| Needed {
            id: (*id).to_owned(),
            count: counts[index],
            clean_runs_needed: until(index, None),
            expecting_fewer: until(index, Some(Direction::Fewer)),
            in_proof: prove::looks(counts[index], 0).first().copied().flatten(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Method;

    fn rate(count: &str) -> Rate {
        Rate::new(count.parse().unwrap(), 0.95, Method::Wilson)
    }

    #[test]
    fn a_plan_has_every_figure_under_its_published_name() {
        let plan = Plan::new(rate("2/75"), 0.05, Some(0.03));
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
    fn the_plan_of_a_sweep_is_the_number_after_which_its_comparison_says_fewer() {
        use crate::stats::comparison::{Comparison, Finding};
        use crate::stats::conditions::Conditions;
        let mut base = Sample::from_counts("before", "5/12".parse().unwrap());
        base.by_category = [("A1".to_owned(), 3), ("A2".to_owned(), 2)].into();
        base.conditions = Some(Conditions::default());
        let plan = Plan::of(&base, 0.95, 0.05, None);
        let verdict = |clean: u64, index: usize, expect| {
            let new = Sample::from_counts("now", Count::new(0, clean).unwrap());
            let question = Question {
                expect,
                ..Question::default()
            };
            Comparison::new(&base, &new, question).classes[index].verdict
        };
        assert_eq!(plan.classes.len(), 3);
        for (index, class) in plan.classes.iter().enumerate() {
            let numbers = [
                (class.clean_runs_needed, None),
                (class.expecting_fewer, Some(Direction::Fewer)),
            ];
            for (needed, expect) in numbers {
                let needed = needed.unwrap();
                assert_eq!(verdict(needed, index, expect), Finding::Fewer, "{class:?}");
                assert_eq!(verdict(needed - 1, index, expect), Finding::NoEvidence, "{class:?}");
            }
        }
        assert_eq!(plan.clean_runs_needed, Some(16));
        assert_eq!(
            (plan.classes[0].expecting_fewer, plan.classes[0].in_proof),
            (Some(13), Some(9))
        );
    }

    #[test]
    fn a_base_that_never_failed_has_no_waiting_time() {
        let plan = Plan::new(rate("0/50"), 0.05, None);
        assert_eq!(plan.clean_runs_needed, None);
        assert_eq!(
            (plan.runs_to_see_one.at_rate, plan.runs_to_see_one.at_low),
            (None, None)
        );
        assert!(serde_json::to_value(&plan).unwrap().get("below").is_none());
    }
}
