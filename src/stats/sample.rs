//! One side of a comparison: counts by class, and what they were made under.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::ANY;
use super::drift::Drift;
use super::nodes::{self, Node};
use super::{Answers, Count, Method, Rate, iterations};
use crate::judge::{Record, Verdict};
use crate::spec::{Design, Proof};
use crate::stats::conditions::Conditions;

/// Confidence of the intervals of machines, which a comparison does not show.
const CONFIDENCE: f64 = 0.95;

/// The first iteration that a category was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    pub iteration: u32,
    /// The test it failed in, where one is named.
    pub test: Option<String>,
    /// The line that says so, where there is one.
    pub evidence: Option<String>,
}

impl FirstSeen {
    fn of(category: &str, record: &Record) -> FirstSeen {
        let outcome = &record.outcome;
        let evidence = outcome.evidence.iter().find(|evidence| evidence.category == category);
        let named = evidence.and_then(|evidence| evidence.test.clone());
        FirstSeen {
            iteration: record.iteration,
            test: named.or_else(|| outcome.failing_tests.first().cloned()),
            evidence: evidence.map(|evidence| evidence.text.clone()),
        }
    }
}

/// What a comparison needs to know about a sweep, or about counts somebody typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The directory or the counts, as given.
    pub name: String,
    pub any: Count,
    /// Failures by category; one with two categories counts in both.
    pub by_category: BTreeMap<String, u64>,
    pub first_seen: BTreeMap<String, FirstSeen>,
    pub errored: u64,
    /// Iterations in flight while it was read.
    pub running: u64,
    /// Iterations of the range asked for that have no answer yet.
    pub missing: u64,
    /// Iterations asked for, where that number was fixed before anything was seen; `None` for counts and for the fix of
    /// a proof, whose size follows from its base.
    pub planned: Option<u64>,
    pub method: Method,
    /// Why its number of answers depends on what they were.
    pub reasons: Vec<String>,
    /// What it ran under; `None` for counts.
    pub conditions: Option<Conditions>,
    /// The machines, where there are several.
    pub nodes: Vec<Node>,
    /// The stretches with different rates in words, where there is more than one.
    pub regimes: Option<String>,
}

impl Sample {
    /// A side of which nothing but counts is known.
    pub fn from_counts(name: &str, any: Count) -> Sample {
        Sample {
            name: name.to_owned(),
            any,
            ..Sample::default()
        }
    }

    /// A sweep as it is on disk; `running` is the number of iterations that some process is running now.
    pub fn of(answers: Answers<'_>, running: u64) -> Sample {
        let name = answers.name();
        let mut sample = Sample {
            any: answers.count(),
            running,
            method: answers.method(),
            reasons: answers.reasons(),
            conditions: Some(Conditions::of(&name, answers.spec, answers.all())),
            nodes: nodes::nodes(answers, CONFIDENCE),
            regimes: Drift::of(answers).words(),
            name,
            ..Sample::default()
        };
        for record in answers.all() {
            let outcome = &record.outcome;
            sample.errored += u64::from(outcome.verdict == Verdict::Errored);
            if outcome.verdict == Verdict::Failed {
                let categories: BTreeSet<&String> = outcome.categories.iter().collect();
                for category in categories {
                    *sample.by_category.entry(category.clone()).or_default() += 1;
                    let first = sample.first_seen.entry(category.clone());
                    first.or_insert_with(|| FirstSeen::of(category, record));
                }
            }
        }
        if let Some(spec) = answers.spec {
            let asked = u64::from(spec.last.saturating_sub(spec.first)) + 1;
            sample.missing = asked.saturating_sub(answers.records.len() as u64);
            let follows = |proof: &Proof| proof.design == Design::Recorded;
            let is_fixed = sample.reasons.is_empty() && !spec.proof.as_ref().is_some_and(follows);
            sample.planned = is_fixed.then_some(asked);
        }
        sample
    }

    /// The count of a class, with the same denominator for every class.
    pub fn class(&self, id: &str) -> Count {
        if id == ANY {
            return self.any;
        }
        let failed = self.by_category.get(id).copied().unwrap_or(0).min(self.any.of());
        Count::new(failed, self.any.of()).unwrap_or(self.any)
    }

    pub fn rate(&self, id: &str, confidence: f64) -> Rate {
        Rate::new(self.class(id), confidence, self.method)
    }

    /// What a reader must know about it before believing a comparison.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |text: String| notes.push(format!("`{}`: {text}", self.name));
        if self.errored > 0 {
            note(format!("{} errored, outside the counts", iterations(self.errored)));
        }
        if self.running > 0 {
            note(format!(
                "still running, {} in flight: the figures are those of this moment, and looking again and again \
                 makes a false verdict likelier than the level says",
                iterations(self.running)
            ));
        } else if self.missing > 0 {
            note(format!("not complete, {} missing", iterations(self.missing)));
        }
        for reason in &self.reasons {
            note(format!(
                "{reason}: the interval shown is the one that may be watched, and p-values, which take the number of \
                 iterations as fixed beforehand, are too small"
            ));
        }
        if self.any.of() == 1 {
            note("one iteration shows next to nothing".to_owned());
        }
        nodes::standing_out(&self.nodes).into_iter().for_each(&mut note);
        if let Some(regimes) = &self.regimes {
            note(format!("not one constant, independent rate: {regimes}"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errored_and_running_iterations_are_told_apart_from_results() {
        let sample = Sample {
            name: "logs/n4".to_owned(),
            any: Count::new(1, 1).unwrap(),
            errored: 1,
            running: 2,
            ..Sample::default()
        };
        let notes = sample.notes().join("\n");
        for words in ["1 iteration errored", "2 iterations in flight", "one iteration shows"] {
            assert!(notes.contains(words), "{notes}");
        }
    }

    #[test]
    fn every_class_has_the_same_denominator() {
        let mut sample = Sample::from_counts("x", Count::new(3, 50).unwrap());
        sample.by_category.insert("A1".to_owned(), 2);
        assert_eq!(sample.class("A1").to_string(), "2/50");
        assert_eq!(sample.class("A4").to_string(), "0/50");
        assert_eq!(sample.class("any").to_string(), "3/50");
    }
}
