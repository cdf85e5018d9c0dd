//! One side of a comparison: counts by class, and the conditions they were made under.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::{ANY, Rate};
use super::conditions::Conditions;
use super::drift::{Drift, Point};
use super::nodes::Node;
use super::{Record, Spec, Verdict};
use crate::stats::Count;

/// Confidence of the intervals of machines, which a comparison does not show.
const CONFIDENCE: f64 = 0.95;

/// The first iteration that a category was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// Its number.
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
pub struct Side {
    /// The directory or the counts, as given.
    pub name: String,
    /// Failed iterations of those that passed or failed.
    pub any: Count,
    /// Failed iterations by category; one with two categories counts in both.
    pub by_category: BTreeMap<String, u64>,
    /// Where each category was seen first.
    pub first_seen: BTreeMap<String, FirstSeen>,
    /// Iterations that say nothing about the tests.
    pub errored: u64,
    /// Iterations in flight while it was read.
    pub running: u64,
    /// Iterations of the range asked for that have no answer yet.
    pub missing: u64,
    /// The stop rule that ended it, if one did: its number of iterations then depends on what they showed.
    pub stopped_by: Option<String>,
    /// What it ran under; `None` for counts.
    pub conditions: Option<Conditions>,
    /// The machines, where there are several.
    pub nodes: Vec<Node>,
    /// The stretches with different rates in words, where there is more than one.
    pub regimes: Option<String>,
}

impl Side {
    /// A side of which nothing but counts is known.
    #[must_use]
    pub fn from_counts(name: &str, any: Count) -> Side {
        Side {
            name: name.to_owned(),
            any,
            ..Side::default()
        }
    }

    /// A sweep as it is on disk. `spec` is `None` for a tree of the script; `running` is the number of iterations that
    /// some process is running now.
    #[must_use]
    pub fn from_records(name: &str, spec: Option<&Spec>, records: &[Record], running: u64) -> Side {
        let mut side = Side {
            name: name.to_owned(),
            running,
            conditions: Some(Conditions::of(name, spec, records)),
            ..Side::default()
        };
        let (mut failed, mut of) = (0, 0);
        for record in records {
            let outcome = &record.outcome;
            match outcome.verdict {
                Verdict::Errored => side.errored += 1,
                Verdict::Passed => of += 1,
                Verdict::Failed => {
                    (failed, of) = (failed + 1, of + 1);
                    let categories: BTreeSet<&String> = outcome.categories.iter().collect();
                    for category in categories {
                        *side.by_category.entry(category.clone()).or_default() += 1;
                        side.first_seen
                            .entry(category.clone())
                            .or_insert_with(|| FirstSeen::of(category, record));
                    }
                }
            }
        }
        side.any = Count::new(failed, of).unwrap_or_default();
        side.stopped_by = spec.and_then(Spec::stop_rule).map(str::to_owned);
        if let Some(spec) = spec {
            let asked = u64::from(spec.last.saturating_sub(spec.first)) + 1;
            side.missing = asked.saturating_sub(records.len() as u64);
        }
        side.nodes = super::nodes::nodes(records, CONFIDENCE);
        side.regimes = Drift::of(records.iter().filter_map(Point::of).collect()).words();
        side
    }

    /// The count of a class, with the same denominator for every class.
    #[must_use]
    pub fn class(&self, id: &str) -> Count {
        if id == ANY {
            return self.any;
        }
        let failed = self.by_category.get(id).copied().unwrap_or(0).min(self.any.of());
        Count::new(failed, self.any.of()).unwrap_or(self.any)
    }

    /// The rate of a class; with the interval that may be watched where a stop rule ended the sweep.
    #[must_use]
    pub fn rate(&self, id: &str, confidence: f64) -> Rate {
        let count = self.class(id);
        if self.stopped_by.is_some() {
            Rate::watched(count, confidence)
        } else {
            Rate::new(count, confidence)
        }
    }

    /// What a reader must know about it before believing a comparison.
    #[must_use]
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
        if let Some(rule) = &self.stopped_by {
            note(format!(
                "ended by its stop rule `{rule}`: the interval shown is the one that may be watched, and p-values, which \
                 take the number of iterations as fixed beforehand, are too small"
            ));
        }
        if self.any.of() == 1 {
            note("one iteration shows next to nothing".to_owned());
        }
        super::nodes::standing_out(&self.nodes).into_iter().for_each(&mut note);
        if let Some(regimes) = &self.regimes {
            note(format!("not one constant, independent rate: {regimes}"));
        }
        notes
    }
}

/// A number of iterations in words.
#[must_use]
pub fn iterations(n: u64) -> String {
    if n == 1 {
        "1 iteration".to_owned()
    } else {
        format!("{n} iterations")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errored_and_running_iterations_are_told_apart_from_results() {
        let side = Side {
            name: "logs/n4".to_owned(),
            any: Count::new(1, 1).unwrap(),
            errored: 1,
            running: 2,
            ..Side::default()
        };
        let notes = side.notes().join("\n");
        for words in ["1 iteration errored", "2 iterations in flight", "one iteration shows"] {
            assert!(notes.contains(words), "{notes}");
        }
    }

    #[test]
    fn every_class_has_the_same_denominator() {
        let mut side = Side::from_counts("x", Count::new(3, 50).unwrap());
        side.by_category.insert("A1".to_owned(), 2);
        assert_eq!(side.class("A1").to_string(), "2/50");
        assert_eq!(side.class("A4").to_string(), "0/50");
        assert_eq!(side.class("any").to_string(), "3/50");
    }
}
