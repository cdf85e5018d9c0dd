//! What failed: categories with their iterations and tests, tests with their categories.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::Verdict;
use super::super::test_rate::TestRate;
use super::{Class, Method, Rate, Source, blame};

/// One category over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Category {
    /// Id of the signature, or `UNKNOWN`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// Iterations it was seen in.
    pub iterations: u64,
    /// Failed iterations it was seen in, of passed or failed; `None` where it was only seen in errored ones.
    pub rate: Option<Rate>,
    /// Numbers of the iterations.
    pub runs: Vec<u32>,
    /// Iterations by test that failed with it.
    pub tests: BTreeMap<String, u64>,
    /// What to look at; empty where nobody wrote any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// One failing test over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// Its id.
    pub nodeid: String,
    /// Iterations in which it failed.
    pub failed: u64,
    /// Iterations in which it was reached, where they say so; else those that passed or failed.
    pub of: u64,
    /// Lower end of Wilson's interval of its rate.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Categories of its failures.
    pub categories: Vec<String>,
    /// Variants that are taken together, 1 for a test of its own.
    #[serde(skip)]
    pub variants: usize,
}

/// Failures that no signature covers and that look like one bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The same in every sweep: made from the error and its place.
    pub id: String,
    /// The error with its values replaced.
    pub pattern: String,
    /// The first one as it was printed.
    pub example: String,
    /// The test function it happens in; empty where no test is named.
    pub place: String,
    /// Numbers of the iterations.
    pub runs: Vec<u32>,
}

/// The categories of a sweep, in the order of the signatures. `of` is the number of iterations that passed or failed.
pub(super) fn categories(source: &Source<'_>, of: u64) -> Vec<Category> {
    let mut found: BTreeMap<&str, Category> = BTreeMap::new();
    let mut n_failed: BTreeMap<&str, u64> = BTreeMap::new();
    for record in source.records {
        let ids: BTreeSet<&str> = record.outcome.categories.iter().map(String::as_str).collect();
        let blamed = blame(&record.outcome);
        for id in ids {
            let category = found.entry(id).or_insert_with(|| Category {
                id: id.to_owned(),
                title: String::new(),
                iterations: 0,
                rate: None,
                runs: Vec::new(),
                tests: BTreeMap::new(),
                advice: String::new(),
            });
            category.iterations += 1;
            category.runs.push(record.iteration);
            *n_failed.entry(id).or_default() += u64::from(record.outcome.verdict == Verdict::Failed);
            for (test, _) in blamed.iter().filter(|(_, categories)| categories.contains(id)) {
                *category.tests.entry((*test).to_owned()).or_default() += 1;
            }
        }
    }
    let mut categories: Vec<Category> = found.into_values().collect();
    for category in &mut categories {
        let failed = n_failed[category.id.as_str()];
        category.rate = (failed > 0).then(|| Rate::new(failed, of, source.confidence, Method::of(source.spec)));
        if let Some(class) = source.classes.iter().find(|class| class.id == category.id) {
            category.title.clone_from(&class.title);
            category.advice.clone_from(&class.advice);
        } else {
            "not covered by a signature".clone_into(&mut category.title);
        }
    }
    categories.sort_by_key(|category| place(source.classes, &category.id));
    categories
}

/// Where a category stands among the signatures; what no signature has comes last.
fn place(classes: &[Class], id: &str) -> usize {
    classes.iter().position(|class| class.id == id).unwrap_or(classes.len())
}

/// The failing tests, the most frequent first.
pub(super) fn tests(rates: &[TestRate], classes: &[Class]) -> Vec<Test> {
    let tests = rates.iter().map(|test| {
        let mut categories: Vec<String> = test.categories.keys().cloned().collect();
        categories.sort_by_key(|id| place(classes, id));
        Test {
            nodeid: test.nodeid.clone(),
            failed: test.rate.count.failed(),
            of: test.rate.count.of(),
            low: test.rate.low,
            high: test.rate.high,
            categories,
            variants: test.variants,
        }
    });
    tests.collect()
}
