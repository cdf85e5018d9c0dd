//! How often each test failed of how often it was reached, and parameter variants of one test taken together.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::blame::Blame;
use super::rate::Ends;
use super::{Count, Method, Rate};

/// One test, or all variants of one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TestRate {
    /// Node id; of a group `test_indexers_sync[*]`.
    pub nodeid: String,
    /// Failed of reached.
    #[serde(flatten, serialize_with = "Rate::ends")]
    #[schemars(with = "Ends")]
    pub rate: Rate,
    /// Categories of its failures.
    pub categories: Vec<String>,
    /// Variants taken together, 1 for a test.
    #[serde(skip)]
    pub variants: usize,
    /// Whether `of` counts every answer because some do not say which tests they reached.
    #[serde(skip)]
    pub is_assumed: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestRates {
    /// Tests that failed at least once, the most frequent first.
    pub failing: Vec<TestRate>,
    /// Groups of variants with at least one failure and two variants, in the same order.
    pub groups: Vec<TestRate>,
    /// Tests that were reached and never failed.
    pub never_failed: Vec<TestRate>,
}

/// The name under which variants of a test are taken together; `None` for a test without parameters.
pub fn group(nodeid: &str) -> Option<String> {
    // A parameter may hold brackets itself; the first one after the test's name opens the list.
    let name_at = nodeid.rfind("::").map_or(0, |at| at + 2);
    let name_at = match nodeid.find('[') {
        Some(bracket) if bracket < name_at => nodeid[..bracket].rfind("::").map_or(0, |at| at + 2),
        Some(_) | None => name_at,
    };
    let bracket = name_at + nodeid[name_at..].find('[')?;
    nodeid.ends_with(']').then(|| format!("{}[*]", &nodeid[..bracket]))
}

/// Counts tests, iteration by iteration.
#[derive(Clone, Debug, Default)]
pub struct TestTally {
    tests: BTreeMap<String, Tally>,
    /// Iterations that do not say which tests they reached.
    n_silent: u64,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    failed: u64,
    of: u64,
    categories: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.failed += other.failed;
        self.of += other.of;
        self.categories.extend(other.categories.iter().cloned());
    }
}

impl TestTally {
    /// Takes in one answer that passed or failed: the tests it started, each once, `None` where nothing wrote them
    /// down, and those that failed, with the categories of their failures.
    pub fn add<'a>(&mut self, started: Option<impl IntoIterator<Item = &'a str>>, failed: &Blame<'a>) {
        match started {
            None => self.n_silent += 1,
            Some(started) => {
                let mut missing: BTreeSet<&str> = failed.iter().map(|(name, _)| name).collect();
                for name in started {
                    self.test(name).of += 1;
                    missing.remove(name);
                }
                // A file that could not be collected was never started as a test, and is reached all the same.
                for name in missing {
                    self.test(name).of += 1;
                }
            }
        }
        for (name, categories) in failed.iter() {
            let test = self.test(name);
            test.failed += 1;
            for category in categories {
                if !test.categories.contains(*category) {
                    test.categories.insert((*category).to_owned());
                }
            }
        }
    }

    fn test(&mut self, name: &str) -> &mut Tally {
        self.tests.entry(name.to_owned()).or_default()
    }

    /// The rates. A test is given one only if it was reached.
    pub fn rates(&self, confidence: f64, method: Method) -> TestRates {
        let is_assumed = self.n_silent > 0;
        let mut groups: BTreeMap<String, (Tally, usize)> = BTreeMap::new();
        let mut found = TestRates::default();
        for (name, tally) in &self.tests {
            let mut tally = tally.clone();
            tally.of += self.n_silent;
            if let Some(group) = group(name) {
                let (sum, variants) = groups.entry(group).or_default();
                sum.add(&tally);
                *variants += 1;
            }
            let list = if tally.failed > 0 {
                &mut found.failing
            } else {
                &mut found.never_failed
            };
            list.push(rate(name, tally, 1, is_assumed, (confidence, method)));
        }
        found.groups = groups
            .into_iter()
            .filter(|(_, (tally, variants))| *variants > 1 && tally.failed > 0)
            .map(|(name, (tally, variants))| rate(&name, tally, variants, is_assumed, (confidence, method)))
            .collect();
        sort(&mut found.failing);
        sort(&mut found.groups);
        found
    }
}

fn rate(name: &str, tally: Tally, variants: usize, is_assumed: bool, interval: (f64, Method)) -> TestRate {
    let (confidence, method) = interval;
    let count = Count::new(tally.failed, tally.of).unwrap_or_default();
    TestRate {
        nodeid: name.to_owned(),
        rate: Rate::new(count, confidence, method),
        categories: tally.categories.into_iter().collect(),
        variants,
        is_assumed,
    }
}

/// Most failures first, then by name.
fn sort(tests: &mut [TestRate]) {
    tests.sort_by(|a, b| {
        b.rate
            .count
            .failed()
            .cmp(&a.rate.count.failed())
            .then_with(|| a.nodeid.cmp(&b.nodeid))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Evidence;

    /// Started tests, if known, and failures with their category.
    type Iteration<'a> = (Option<&'a [&'a str]>, &'a [(&'a str, &'a str)]);

    fn evidence(test: &str, category: &str) -> Evidence {
        Evidence {
            category: category.to_owned(),
            file: String::new(),
            line: None,
            text: String::new(),
            test: Some(test.to_owned()),
            worker: None,
        }
    }

    fn rates(iterations: &[Iteration<'_>]) -> TestRates {
        let mut tally = TestTally::default();
        for (started, failed) in iterations {
            let evidence: Vec<Evidence> = failed.iter().map(|(test, category)| evidence(test, category)).collect();
            let failed: Vec<String> = failed.iter().map(|(test, _)| (*test).to_owned()).collect();
            let blame = Blame::between(&[], &failed, &evidence);
            tally.add(started.map(|names| names.iter().copied()), &blame);
        }
        tally.rates(0.95, Method::Wilson)
    }

    #[test]
    fn a_test_that_was_not_reached_is_not_in_its_denominator() {
        let all: &[&str] = &["a.py::x", "a.py::y"];
        let rates = rates(&[
            (Some(all), &[("a.py::y", "A1")]),
            (Some(&["a.py::x"]), &[("a.py::x", "B1")]),
            (Some(all), &[]),
            (Some(&[]), &[("b.py", "UNKNOWN")]),
        ]);
        let shown: Vec<(&str, String)> = rates
            .failing
            .iter()
            .map(|test| (test.nodeid.as_str(), test.rate.count.to_string()))
            .collect();
        assert_eq!(
            shown,
            [
                ("a.py::x", "1/3".to_owned()),
                ("a.py::y", "1/2".to_owned()),
                ("b.py", "1/1".to_owned())
            ]
        );
        assert!(rates.never_failed.is_empty() && !rates.failing[0].is_assumed);
    }

    #[test]
    fn iterations_that_do_not_say_what_they_reached_are_counted_and_flagged() {
        let rates = rates(&[(None, &[("a.py::x", "A1")]), (None, &[]), (None, &[])]);
        assert_eq!(rates.failing[0].rate.count.to_string(), "1/3");
        assert!(rates.failing[0].is_assumed);
    }

    #[test]
    fn variants_of_a_test_are_taken_together() {
        let names: &[&str] = &[
            "t.py::test_sync[file]",
            "t.py::test_sync[jetstream]",
            "t.py::test_other[a]",
        ];
        let rates = rates(&[
            (Some(names), &[(names[0], "A2")]),
            (Some(names), &[(names[1], "A3"), (names[0], "A2")]),
        ]);
        assert_eq!(rates.groups.len(), 1);
        let group = &rates.groups[0];
        assert_eq!((group.nodeid.as_str(), group.variants), ("t.py::test_sync[*]", 2));
        assert_eq!(group.rate.count.to_string(), "3/4");
        assert_eq!(group.categories, ["A2", "A3"]);
        assert_eq!(rates.never_failed.len(), 1);
    }

    #[test]
    fn groups_are_named_whatever_the_parameters_hold() {
        for (id, name) in [
            ("a.py::test_x[1-2]", Some("a.py::test_x[*]")),
            ("a.py::Class::test_x[a[0]]", Some("a.py::Class::test_x[*]")),
            ("a.py::test_x[b::c]", Some("a.py::test_x[*]")),
            ("a.py::test_x", None),
            ("a[b].py::test_x", None),
            ("a.py", None),
        ] {
            assert_eq!(group(id).as_deref(), name, "{id}");
        }
    }
}
