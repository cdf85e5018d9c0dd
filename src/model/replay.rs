//! What a replay repeats: the test that failed, what its failure is called, and whether another run failed like it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Outcome, Verdict};
use crate::stats::Count;

/// The failure that is to be seen again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The test that failed; `None` where the session died after its last test, and no test is to blame.
    pub test: Option<String>,
    /// What its failure is called; any of them will do.
    pub categories: Vec<String>,
}

impl Target {
    /// The failure of a test, the first failing one unless another is asked for. `None` where the outcome is no failure
    /// of tests, or the test that is asked for did not fail in it.
    #[must_use]
    pub fn of(outcome: &Outcome, asked: Option<&str>) -> Option<Target> {
        if outcome.verdict != Verdict::Failed {
            return None;
        }
        let test = match asked {
            Some(asked) => Some(failing(outcome, asked)?),
            None => outcome.failing_tests.first().map(String::as_str),
        };
        Some(Target {
            categories: categories(outcome, test).into_iter().map(str::to_owned).collect(),
            test: test.map(str::to_owned),
        })
    }

    /// Whether a run failed in the same way: the same test, for a reason of the same name.
    #[must_use]
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        if outcome.verdict != Verdict::Failed {
            return false;
        }
        let test = match &self.test {
            // Where a run names no test at all, its categories are all there is to go by.
            Some(test) if !outcome.failing_tests.is_empty() => match failing(outcome, test) {
                Some(test) => Some(test),
                None => return false,
            },
            Some(_) | None => None,
        };
        let found = categories(outcome, test);
        self.categories.iter().any(|category| found.contains(category.as_str()))
    }

    /// Its name in one word.
    #[must_use]
    pub fn category(&self) -> &str {
        self.categories.first().map_or("UNKNOWN", String::as_str)
    }
}

/// The failing test of this name, as the outcome spells it.
fn failing<'a>(outcome: &'a Outcome, test: &str) -> Option<&'a str> {
    let found = outcome
        .failing_tests
        .iter()
        .find(|failing| without_group(failing) == without_group(test));
    found.map(String::as_str)
}

/// An id without what xdist's `--dist loadgroup` puts behind it, which a session in one process does not have.
#[must_use]
pub fn without_group(id: &str) -> &str {
    match id.rsplit_once('@') {
        Some((id, group)) if !group.contains([']', ':', '/']) => id,
        Some(_) | None => id,
    }
}

/// The categories of one failing test: those that evidence gives to it, else those that are given to no other.
fn categories<'a>(outcome: &'a Outcome, test: Option<&str>) -> BTreeSet<&'a str> {
    let all = || outcome.categories.iter().map(String::as_str);
    let Some(test) = test else {
        return all().collect();
    };
    let named = |category: &str, is_own: bool| {
        let mut lines = outcome.evidence.iter().filter(|evidence| evidence.category == category);
        lines.any(|evidence| evidence.test.as_ref().is_some_and(|of| (of == test) == is_own))
    };
    let own: BTreeSet<&str> = all().filter(|category| named(category, true)).collect();
    if !own.is_empty() {
        return own;
    }
    let free: BTreeSet<&str> = all().filter(|category| !named(category, false)).collect();
    if free.is_empty() { all().collect() } else { free }
}

/// What came of a replay, as `--format json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// Version of this layout, 1.
    pub format: u32,
    /// The tests in the order they ran, the one that failed last.
    pub tests: Vec<String>,
    /// Runs in which it failed again in the same way.
    pub failed: u64,
    /// Runs that say anything.
    pub of: u64,
    /// What the failure is called.
    pub category: String,
    /// Wilson's interval of the rate.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// Runs that say nothing.
    pub errored: u64,
    /// How the search for a shorter list ended; `None` where none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
}

/// What came of a search for a shorter list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shrunk {
    /// Tests before the failing one at the beginning.
    pub from: usize,
    /// Whether leaving out any one of the list was tested and makes the failure go away.
    pub minimal: bool,
    /// Runs of all lists together, those of earlier calls included.
    pub runs: usize,
}

impl Replayed {
    /// Confidence of the interval.
    pub const CONFIDENCE: f64 = 0.95;

    /// The figures of a list.
    #[must_use]
    pub fn new(tests: Vec<String>, count: Count, errored: u64, target: &Target) -> Replayed {
        let (low, high) = count.interval(Replayed::CONFIDENCE);
        Replayed {
            format: 1,
            tests,
            failed: count.failed(),
            of: count.of(),
            category: target.category().to_owned(),
            low,
            high,
            confidence: Replayed::CONFIDENCE,
            errored,
            shrunk: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Evidence, OutcomeKind};

    fn outcome(tests: &[&str], evidence: &[(&str, Option<&str>)]) -> Outcome {
        let mut outcome = Outcome::new(OutcomeKind::Failed);
        outcome.failing_tests = tests.iter().map(|test| (*test).to_owned()).collect();
        for (category, test) in evidence {
            if !outcome.categories.iter().any(|known| known == category) {
                outcome.categories.push((*category).to_owned());
            }
            outcome.evidence.push(Evidence {
                category: (*category).to_owned(),
                file: "run.log".to_owned(),
                line: None,
                text: String::new(),
                test: test.map(str::to_owned),
                worker: None,
            });
        }
        outcome
    }

    #[test]
    fn the_first_failing_test_is_the_one_unless_another_is_asked_for() {
        let outcome = outcome(&["a.py::x", "a.py::y"], &[("A1", Some("a.py::x")), ("B1", None)]);
        let first = Target::of(&outcome, None).unwrap();
        assert_eq!((first.test.as_deref(), first.category()), (Some("a.py::x"), "A1"));
        // A crash has evidence of its own, which names no test.
        let other = Target::of(&outcome, Some("a.py::y")).unwrap();
        assert_eq!((other.test.as_deref(), other.category()), (Some("a.py::y"), "B1"));
        assert_eq!(Target::of(&outcome, Some("a.py::z")), None);
        assert_eq!(Target::of(&Outcome::new(OutcomeKind::Infra), None), None);
    }

    #[test]
    fn a_run_meets_the_target_only_with_the_same_test_and_the_same_name() {
        let target = Target::of(&outcome(&["a.py::x"], &[("B1", None)]), None).unwrap();
        assert!(target.is_met_by(&outcome(&["a.py::x"], &[("B1", None)])));
        assert!(target.is_met_by(&outcome(&[], &[("B1", None)])));
        assert!(!target.is_met_by(&outcome(&["a.py::x"], &[("A1", Some("a.py::x"))])));
        assert!(!target.is_met_by(&outcome(&["a.py::y"], &[("B1", Some("a.py::y"))])));
        assert!(!target.is_met_by(&Outcome::new(OutcomeKind::Passed)));
    }

    #[test]
    fn groups_of_xdist_are_no_part_of_a_name() {
        assert_eq!(without_group("a.py::x[a]@db"), "a.py::x[a]");
        assert_eq!(without_group("a.py::x[me@home]"), "a.py::x[me@home]");
        assert_eq!(without_group("a.py::x"), "a.py::x");
    }
}
