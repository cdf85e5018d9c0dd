//! One iteration as a line of a report, and which categories each of its failing tests has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::{Evidence, Outcome, OutcomeKind, Record, Verdict};

/// One iteration in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its number.
    pub iteration: u32,
    /// What it says about the tests.
    pub verdict: Verdict,
    /// What happened.
    pub outcome: OutcomeKind,
    /// Categories of its failures.
    pub categories: Vec<String>,
    /// Tests that failed.
    pub failing_tests: Vec<String>,
    /// Exit code; `None` where nothing says it.
    pub exit_code: Option<i32>,
    /// Wall time in seconds.
    pub duration_s: Option<f64>,
    /// Its directory, as the user would type it.
    pub dir: String,
    /// What speaks for it, a line for each category and test.
    pub evidence: Vec<Evidence>,
    /// What contradicts it, and anything else a reader should know.
    pub notes: Vec<String>,
}

impl Run {
    /// A record as a line.
    #[must_use]
    pub fn of(record: &Record) -> Run {
        let Record {
            iteration,
            dir,
            exit,
            outcome,
            ..
        } = record;
        Run {
            iteration: *iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories.clone(),
            failing_tests: outcome.failing_tests.clone(),
            exit_code: exit.as_ref().and_then(|exit| exit.code),
            duration_s: exit.as_ref().and_then(|exit| exit.duration_s),
            dir: dir.display().to_string(),
            evidence: outcome.evidence.clone(),
            notes: outcome.notes.clone(),
        }
    }

    /// Why, in one line: the first evidence, else the first note.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let evidence = self.evidence.first().map(|evidence| evidence.text.as_str());
        evidence.or_else(|| self.notes.first().map(String::as_str))
    }
}

/// The failing tests of an iteration with the categories of their failures. Where no evidence names a test, it may have
/// any of the iteration's categories that no other test accounts for, and else any of them.
#[must_use]
pub fn blame(outcome: &Outcome) -> BTreeMap<&str, BTreeSet<&str>> {
    blame_of(&outcome.categories, &outcome.failing_tests, &outcome.evidence)
}

/// The same from the parts of an outcome.
#[must_use]
pub fn blame_of<'a>(
    categories: &'a [String],
    failing_tests: &'a [String],
    evidence: &'a [Evidence],
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut blamed: BTreeMap<&str, BTreeSet<&str>> = failing_tests
        .iter()
        .map(|test| (test.as_str(), BTreeSet::new()))
        .collect();
    for evidence in evidence {
        if let Some(categories) = evidence.test.as_deref().and_then(|test| blamed.get_mut(test)) {
            categories.insert(&evidence.category);
        }
    }
    let all: BTreeSet<&str> = categories.iter().map(String::as_str).collect();
    let accounted: BTreeSet<&str> = blamed.values().flatten().copied().collect();
    let open: BTreeSet<&str> = all.difference(&accounted).copied().collect();
    for categories in blamed.values_mut().filter(|categories| categories.is_empty()) {
        categories.clone_from(if open.is_empty() { &all } else { &open });
    }
    blamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_no_evidence_names_gets_the_categories_that_are_left() {
        let mut outcome = Outcome::new(OutcomeKind::Crashed);
        outcome.categories = vec!["A1".to_owned(), "B1".to_owned()];
        outcome.failing_tests = vec!["a".to_owned(), "b".to_owned()];
        let all = BTreeSet::from(["A1", "B1"]);
        assert_eq!(blame(&outcome), BTreeMap::from([("a", all.clone()), ("b", all)]));
        outcome.evidence.push(Evidence {
            category: "A1".to_owned(),
            file: "run.log".to_owned(),
            line: None,
            text: String::new(),
            test: Some("a".to_owned()),
            worker: None,
        });
        let expected = BTreeMap::from([("a", BTreeSet::from(["A1"])), ("b", BTreeSet::from(["B1"]))]);
        assert_eq!(blame(&outcome), expected);
    }
}
