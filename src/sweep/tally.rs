//! Running counts of a sweep. The only place that counts while a sweep runs: events carry a copy, so no two displays can disagree.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::{Outcome, Verdict};

/// How far a sweep has come, the iterations recorded before it started included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Iterations in which nothing failed.
    pub passed: u32,
    /// Iterations with a failure.
    pub failed: u32,
    /// Iterations that say nothing about the tests.
    pub errored: u32,
    /// Iterations in flight in this process.
    pub running: u32,
    /// Iterations this process still has to start.
    pub pending: u32,
    /// Iterations by category; one with two categories counts in both.
    pub by_category: BTreeMap<String, u32>,
}

impl Tally {
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Errored => self.errored += 1,
        }
        for category in &outcome.categories {
            *self.by_category.entry(category.clone()).or_default() += 1;
        }
    }

    /// Iterations that have an answer.
    pub fn recorded(&self) -> u32 {
        self.passed + self.failed + self.errored
    }
}
