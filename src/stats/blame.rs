//! Which categories each failing test of an iteration has.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::{Evidence, Outcome};

/// Where more categories than this are open, a test that no evidence names is given none: to give it all of them would
/// say nothing, and cost categories times tests.
const MOST_OPEN: usize = 8;

/// The failing tests of an iteration with the categories of their failures. Where no evidence names a test, it may have
/// any of the iteration's categories that no other test accounts for, and else any of them.
#[derive(Debug, Default)]
pub struct Blame<'a> {
    tests: BTreeMap<&'a str, BTreeSet<&'a str>>,
    open: BTreeSet<&'a str>,
}

impl<'a> Blame<'a> {
    pub fn of(outcome: &'a Outcome) -> Blame<'a> {
        Blame::between(&outcome.categories, &outcome.failing_tests, &outcome.evidence)
    }

    /// The same from the parts of an outcome.
    pub fn between(categories: &'a [String], failing_tests: &'a [String], evidence: &'a [Evidence]) -> Blame<'a> {
        let names = failing_tests.iter().map(|test| (test.as_str(), BTreeSet::new()));
        let mut tests: BTreeMap<&str, BTreeSet<&str>> = names.collect();
        for evidence in evidence {
            if let Some(own) = evidence.test.as_deref().and_then(|test| tests.get_mut(test)) {
                own.insert(&evidence.category);
            }
        }
        let all: BTreeSet<&str> = categories.iter().map(String::as_str).collect();
        let accounted: BTreeSet<&str> = tests.values().flatten().copied().collect();
        let mut open: BTreeSet<&str> = all.difference(&accounted).copied().collect();
        if open.is_empty() {
            open = all;
        }
        if open.len() > MOST_OPEN && tests.values().filter(|own| own.is_empty()).count() > 1 {
            open.clear();
        }
        Blame { tests, open }
    }

    /// The tests in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &BTreeSet<&'a str>)> {
        self.tests.keys().map(|test| (*test, self.categories(test)))
    }

    /// Those of one test, in order.
    pub fn categories(&self, test: &str) -> &BTreeSet<&'a str> {
        self.tests.get(test).filter(|own| !own.is_empty()).unwrap_or(&self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::OutcomeKind;

    #[test]
    fn a_test_that_no_evidence_names_gets_the_categories_that_are_left() {
        let mut outcome = Outcome::new(OutcomeKind::Crashed);
        outcome.categories = vec!["A1".to_owned(), "B1".to_owned()];
        outcome.failing_tests = vec!["a".to_owned(), "b".to_owned()];
        let said = |outcome: &Outcome| {
            let blame = Blame::of(outcome);
            let said = blame.iter().map(|(test, categories)| format!("{test} {categories:?}"));
            said.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said(&outcome), r#"a {"A1", "B1"} b {"A1", "B1"}"#);
        outcome.evidence.push(Evidence {
            category: "A1".to_owned(),
            file: "run.log".to_owned(),
            line: None,
            text: String::new(),
            test: Some("a".to_owned()),
            worker: None,
        });
        assert_eq!(said(&outcome), r#"a {"A1"} b {"B1"}"#);
    }
}
