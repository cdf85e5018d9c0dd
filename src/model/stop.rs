//! When a sweep ends before its last iteration: the stop rules, as a machine that is fed outcomes.
//!
//! The machine has no clock and starts nothing: whoever runs the sweep feeds it and obeys. Looking after every
//! iteration is what the figures here are made for, so a reader may watch them and a rule may act on them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, OutcomeKind, Verdict};
use crate::stats::{self, Count, sequential};

/// The failures a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Any failed iteration.
    Any,
    /// Iterations with this outcome.
    Outcome(OutcomeKind),
    /// Iterations with this category.
    Category(String),
}

impl Class {
    /// Whether an iteration belongs to it.
    #[must_use]
    pub fn has(&self, outcome: &Outcome) -> bool {
        match self {
            Class::Any => outcome.verdict == Verdict::Failed,
            Class::Outcome(kind) => outcome.outcome == *kind,
            Class::Category(id) => outcome.categories.contains(id),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Any => f.write_str("any"),
            Class::Outcome(kind) => f.write_str(kind.as_str()),
            Class::Category(id) => f.write_str(id),
        }
    }
}

/// Reads `any`, the word of an outcome, or the id of a category. Whether such a category exists, only a set of
/// signatures knows.
impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Class, String> {
        let text = text.trim();
        if text == "any" {
            return Ok(Class::Any);
        }
        if let Some(kind) = OutcomeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text.replace('-', "_"))
        {
            return Ok(Class::Outcome(kind));
        }
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || !text.chars().all(fits) {
            return Err("expected a category such as `A4`, an outcome such as `hung`, or `any`".to_owned());
        }
        Ok(Class::Category(text.to_owned()))
    }
}

/// `--until CLASS[=K]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// What is waited for.
    pub class: Class,
    /// How many iterations of it.
    pub count: u64,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.class, self.count)
    }
}

/// Reads `A4`, `A4=2`, `hung=3`.
impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        let (class, count) = match text.split_once('=') {
            None => (text, 1),
            Some((class, count)) => match count.trim().parse() {
                Ok(count) if count > 0 => (class, count),
                Ok(_) | Err(_) => {
                    return Err("expected CLASS or CLASS=K, with K of 1 or more, such as `A4=2`".to_owned());
                }
            },
        };
        Ok(Until {
            class: class.parse()?,
            count,
        })
    }
}

/// Everything that may end a sweep early. The default ends none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopRules {
    /// `--until`: ends when any of them is reached.
    pub until: Vec<Until>,
    /// `--max-failures`.
    pub max_failures: Option<u64>,
    /// `--for`: time after which nothing new is started.
    pub time: Option<Duration>,
    /// `--prove-below`: the rate that the true one is to be shown to be below.
    pub prove_below: Option<f64>,
}

/// Level of the evidence that ends a sweep, and of the interval shown while it runs.
pub const ALPHA: f64 = 0.05;

impl StopRules {
    /// Categories that are waited for, to be checked against those that exist.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.until.iter().filter_map(|until| match &until.class {
            Class::Category(id) => Some(id.as_str()),
            Class::Any | Class::Outcome(_) => None,
        })
    }
}

/// Why a sweep was ended early. Displays as the rule, in the words of its flag: `until A4=2`.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// A class was seen often enough.
    Until(Until),
    /// So many iterations failed.
    MaxFailures(u64),
    /// The time is over.
    Time(Duration),
    /// The rate was shown to be below this one.
    ProvenBelow(f64),
    /// The arms were shown to differ.
    Decided,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Until(until) => write!(f, "until {until}"),
            StopReason::MaxFailures(count) => write!(f, "max-failures {count}"),
            StopReason::Time(time) => write!(f, "for {}", humantime::format_duration(*time)),
            StopReason::ProvenBelow(rate) => write!(f, "prove-below {}%", trimmed(rate * 100.0)),
            StopReason::Decided => f.write_str("decided"),
        }
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for StopReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The figures that may be watched while a sweep runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Live {
    /// Failed iterations of those that passed or failed.
    #[serde(flatten)]
    pub count: Count,
    /// Lower end of the rates compatible with all looks so far.
    pub cs_low: f64,
    /// Upper end of them.
    pub cs_high: f64,
    /// About `--prove-below`, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<LiveBelow>,
}

/// How far it is to the proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LiveBelow {
    /// The limit.
    pub rate: f64,
    /// Evidence so far; 20 ends the sweep.
    pub e_value: f64,
    /// Clean iterations still needed; `None` where nobody would wait that long.
    pub clean_runs: Option<u64>,
}

/// The machine: rules, and what was seen so far.
#[derive(Clone, Debug)]
pub struct StopState {
    rules: StopRules,
    seen: Vec<u64>,
    failed: u64,
    of: u64,
    reason: Option<StopReason>,
}

impl StopState {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(rules: StopRules) -> StopState {
        StopState {
            seen: vec![0; rules.until.len()],
            rules,
            failed: 0,
            of: 0,
            reason: None,
        }
    }

    /// Takes in the outcome of one recorded iteration; those recorded before this process started are fed first.
    /// Once a rule is met its reason stays.
    pub fn observe(&mut self, outcome: &Outcome) -> Option<&StopReason> {
        for (until, seen) in self.rules.until.iter().zip(&mut self.seen) {
            *seen += u64::from(until.class.has(outcome));
        }
        match outcome.verdict {
            Verdict::Failed => (self.failed, self.of) = (self.failed + 1, self.of + 1),
            Verdict::Passed => self.of += 1,
            Verdict::Errored => {}
        }
        if self.reason.is_none() {
            self.reason = self.met();
        }
        self.reason.as_ref()
    }

    /// Takes in how long the sweep has been running.
    pub fn elapsed(&mut self, elapsed: Duration) -> Option<&StopReason> {
        if self.reason.is_none() {
            self.reason = self.rules.time.filter(|time| elapsed >= *time).map(StopReason::Time);
        }
        self.reason.as_ref()
    }

    /// The rule that was met first, if one was.
    #[must_use]
    pub fn reason(&self) -> Option<&StopReason> {
        self.reason.as_ref()
    }

    fn met(&self) -> Option<StopReason> {
        let mut pairs = self.rules.until.iter().zip(&self.seen);
        if let Some((until, _)) = pairs.find(|(until, seen)| **seen >= until.count) {
            return Some(StopReason::Until(until.clone()));
        }
        if let Some(most) = self.rules.max_failures.filter(|most| self.failed >= *most) {
            return Some(StopReason::MaxFailures(most));
        }
        let limit = self.rules.prove_below?;
        let log_e = stats::log_e_below(self.count(), limit)?;
        (log_e >= -ALPHA.ln()).then_some(StopReason::ProvenBelow(limit))
    }

    fn count(&self) -> Count {
        Count::new(self.failed, self.of).unwrap_or_default()
    }

    /// The figures to show now.
    #[must_use]
    pub fn live(&self) -> Live {
        let count = self.count();
        let (cs_low, cs_high) = stats::confidence_sequence(count, ALPHA);
        let below = self.rules.prove_below.and_then(|rate| {
            Some(LiveBelow {
                rate,
                e_value: stats::log_e_below(count, rate)?.exp().min(f64::MAX),
                clean_runs: sequential::clean_runs_to_prove_below(count, rate, ALPHA),
            })
        });
        Live {
            count,
            cs_low,
            cs_high,
            below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: OutcomeKind, categories: &[&str]) -> Outcome {
        Outcome {
            categories: categories.iter().map(|id| (*id).to_owned()).collect(),
            ..Outcome::new(kind)
        }
    }

    fn fed(rules: StopRules, outcomes: &[Outcome]) -> (usize, Option<String>) {
        let mut state = StopState::new(rules);
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Some(reason) = state.observe(outcome) {
                return (index + 1, Some(reason.to_string()));
            }
        }
        (outcomes.len(), None)
    }

    fn until(text: &str) -> StopRules {
        StopRules {
            until: vec![text.parse().unwrap()],
            ..StopRules::default()
        }
    }

    #[test]
    fn a_sweep_ends_when_a_category_was_seen_often_enough() {
        let hang = outcome(OutcomeKind::Hung, &["A4"]);
        let outcomes = [hang.clone(), outcome(OutcomeKind::Failed, &["A1"]), hang.clone(), hang];
        assert_eq!(fed(until("A4=2"), &outcomes), (3, Some("until A4=2".to_owned())));
        assert_eq!(fed(until("hung"), &outcomes), (1, Some("until hung=1".to_owned())));
        assert_eq!(fed(until("timed-out=1"), &outcomes), (4, None));
        assert_eq!(fed(until("any=3"), &outcomes), (3, Some("until any=3".to_owned())));
    }

    #[test]
    fn errored_iterations_are_no_failures_and_no_evidence() {
        let rules = StopRules {
            max_failures: Some(1),
            prove_below: Some(0.5),
            ..StopRules::default()
        };
        let outcomes = vec![outcome(OutcomeKind::Infra, &["A5"]); 500];
        assert_eq!(fed(rules, &outcomes), (500, None));
    }

    #[test]
    fn clean_iterations_prove_a_rate_to_be_below_a_limit_after_the_published_number() {
        for (limit, runs, words) in [(0.03, 113, "prove-below 3%"), (0.26, 12, "prove-below 26%")] {
            let rules = StopRules {
                prove_below: Some(limit),
                ..StopRules::default()
            };
            let outcomes = vec![outcome(OutcomeKind::Passed, &[]); 200];
            assert_eq!(fed(rules, &outcomes), (runs, Some(words.to_owned())));
        }
    }

    #[test]
    fn the_first_rule_that_is_met_stays_the_reason() {
        let mut state = StopState::new(StopRules {
            max_failures: Some(1),
            time: Some(Duration::from_hours(2)),
            ..StopRules::default()
        });
        assert_eq!(state.elapsed(Duration::from_mins(90)), None);
        assert_eq!(
            state.elapsed(Duration::from_hours(2)).map(ToString::to_string),
            Some("for 2h".to_owned())
        );
        assert_eq!(
            state
                .observe(&outcome(OutcomeKind::Failed, &[]))
                .map(ToString::to_string),
            Some("for 2h".to_owned())
        );
    }

    #[test]
    fn the_live_figures_count_down_to_the_proof() {
        let mut state = StopState::new(StopRules {
            prove_below: Some(0.03),
            ..StopRules::default()
        });
        assert_eq!(state.live().below.and_then(|below| below.clean_runs), Some(113));
        for _ in 0..100 {
            state.observe(&outcome(OutcomeKind::Passed, &[]));
        }
        let live = state.live();
        assert_eq!(live.below.and_then(|below| below.clean_runs), Some(13));
        assert!(live.cs_low.abs() < 1e-12 && live.cs_high < 0.08);
    }

    #[test]
    fn rules_that_mean_nothing_are_refused_in_words() {
        for text in ["", "A4=0", "A4=", "A4=x", "=2", "a b", "A4=-1"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
        let rules = until("B1=2");
        assert_eq!(rules.categories().collect::<Vec<_>>(), ["B1"]);
    }
}
