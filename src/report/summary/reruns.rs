//! Tests that passed only after a rerun in the same session: no failures, and no clean passes either.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::Source;
use crate::judge::Verdict;

/// One test that needed reruns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reran {
    pub nodeid: String,
    /// Iterations in which it failed, was run again and did not fail in the end.
    pub iterations: u64,
    /// Iterations that reached the test.
    pub of: u64,
    /// Numbers of the iterations, in order.
    pub runs: Vec<u32>,
}

/// The tests of a sweep that needed reruns, the most frequent first.
pub(super) fn reran(source: &Source<'_>) -> Vec<Reran> {
    let mut found: BTreeMap<&str, (u64, BTreeSet<u32>)> = BTreeMap::new();
    let counts = |verdict| verdict != Verdict::Errored;
    for record in source.answers.all().filter(|record| counts(record.outcome.verdict)) {
        for test in record.outcome.reran.iter().collect::<BTreeSet<_>>() {
            let (n, runs) = found.entry(test).or_default();
            *n += 1;
            runs.insert(record.iteration);
        }
    }
    let rates = source.tests.failing.iter().chain(&source.tests.never_failed);
    let reached: BTreeMap<&str, u64> = rates.map(|test| (test.nodeid.as_str(), test.rate.count.of())).collect();
    let all = source.answers.count().of();
    let mut reran: Vec<Reran> = found
        .into_iter()
        .map(|(test, (n, runs))| Reran {
            nodeid: test.to_owned(),
            iterations: n,
            of: reached.get(test).copied().unwrap_or(all).max(n),
            runs: runs.into_iter().collect(),
        })
        .collect();
    reran.sort_by(|a, b| b.iterations.cmp(&a.iterations).then_with(|| a.nodeid.cmp(&b.nodeid)));
    reran
}
