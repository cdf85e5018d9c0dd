//! The categories of a sweep, with their iterations and tests.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Class, Source};
use crate::judge::Verdict;
use crate::stats::blame::Blame;
use crate::stats::{Count, Rate};

/// One category over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Category {
    /// Id of the signature, or `UNKNOWN`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// Iterations it was seen in.
    pub iterations: u64,
    /// Answers that failed with it, of those that passed or failed; `None` where it was only seen in errored ones.
    pub rate: Option<Rate>,
    /// Numbers of the iterations, in order.
    pub runs: Vec<u32>,
    /// Answers by test that failed with it.
    pub tests: BTreeMap<String, u64>,
    /// What to look at; empty where nobody wrote any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Category {
    /// Its tests, the most frequent first.
    pub fn by_frequency(&self) -> Vec<(&str, u64)> {
        let mut tests: Vec<(&str, u64)> = self.tests.iter().map(|(test, n)| (test.as_str(), *n)).collect();
        tests.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        tests
    }
}

#[derive(Default)]
struct Seen<'a> {
    failed: u64,
    runs: BTreeSet<u32>,
    tests: BTreeMap<&'a str, u64>,
}

/// The categories of a sweep, in the order of the signatures.
pub(super) fn categories(source: &Source<'_>) -> Vec<Category> {
    let answers = source.answers;
    let mut found: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for record in answers.all() {
        let outcome = &record.outcome;
        let ids: BTreeSet<&str> = outcome.categories.iter().map(String::as_str).collect();
        for id in &ids {
            let seen = found.entry(id).or_default();
            seen.runs.insert(record.iteration);
            seen.failed += u64::from(outcome.verdict == Verdict::Failed);
        }
        for (test, categories) in Blame::of(outcome).iter() {
            for id in categories.intersection(&ids) {
                *found.entry(id).or_default().tests.entry(test).or_default() += 1;
            }
        }
    }
    let of = answers.count().of();
    let rate = |failed| {
        Rate::new(
            Count::new(failed, of).unwrap_or_default(),
            source.confidence,
            answers.method(),
        )
    };
    let place = |id: &str| place(source.classes, id);
    let mut categories: Vec<Category> = found
        .into_iter()
        .map(|(id, seen)| {
            let class = source.classes.iter().find(|class| class.id == id);
            Category {
                id: id.to_owned(),
                title: class
                    .map_or("not covered by a signature", |class| &class.title)
                    .to_owned(),
                iterations: seen.runs.len() as u64,
                rate: (seen.failed > 0).then(|| rate(seen.failed)),
                runs: seen.runs.into_iter().collect(),
                tests: seen.tests.into_iter().map(|(test, n)| (test.to_owned(), n)).collect(),
                advice: class.map(|class| class.advice.clone()).unwrap_or_default(),
            }
        })
        .collect();
    categories.sort_by_key(|category| place(&category.id));
    categories
}

/// Where a category stands among the signatures; what no signature has comes last.
pub(super) fn place(classes: &[Class], id: &str) -> usize {
    classes.iter().position(|class| class.id == id).unwrap_or(classes.len())
}
