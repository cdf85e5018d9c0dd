//! Names inside the page: what a run is linked to as, and numbers for tests that filters use.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::report::summary::Run;
use crate::report::test_names::TestNames;

/// The names that links, filters and charts of the page share.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The beginning of a run's name, for each sweep: `n4_fix8/run`.
    prefixes: Vec<String>,
    /// Numbers of failing tests.
    tests: BTreeMap<String, usize>,
    short: Vec<TestNames>,
}

impl Names {
    pub(super) fn of(report: &Report<'_>) -> Names {
        let mut names = Names::default();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for sheet in report.sheets {
            let dir = sheet
                .summary
                .sweep
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or("sweep");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let base: String = dir
                .chars()
                .map(|c| if is_plain(c) { c } else { '-' })
                .take(80)
                .collect();
            let mut name = if base.is_empty() {
                "sweep".to_owned()
            } else {
                base.clone()
            };
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{base}-{number}");
                number += 1;
            }
            names.prefixes.push(format!("{name}/run"));
            for test in &sheet.summary.tests {
                let next = names.tests.len();
                names.tests.entry(test.nodeid.clone()).or_insert(next);
            }
            names.short.push(TestNames::of(sheet.summary));
        }
        names
    }

    /// What the names of a sweep's runs begin with.
    pub(super) fn prefix(&self, sheet: usize) -> &str {
        self.prefixes.get(sheet).map_or("run", String::as_str)
    }

    /// The name of a run, as in `n4_fix8/run007`.
    pub(super) fn run(&self, sheet: usize, iteration: u32) -> String {
        format!("{}{iteration:03}", self.prefix(sheet))
    }

    pub(super) fn test(&self, nodeid: &str) -> Option<usize> {
        self.tests.get(nodeid).copied()
    }

    /// The failing tests by number.
    pub(super) fn tests(&self) -> Vec<(usize, &str)> {
        let mut tests: Vec<(usize, &str)> = self
            .tests
            .iter()
            .map(|(name, number)| (*number, name.as_str()))
            .collect();
        tests.sort_unstable();
        tests
    }

    /// A test's name without its file, where that is clear.
    pub(super) fn short<'a>(&self, sheet: usize, nodeid: &'a str) -> &'a str {
        self.short.get(sheet).map_or(nodeid, |names| names.short(nodeid))
    }

    /// The numbers of a run's failing tests, for filters.
    pub(super) fn numbers(&self, run: &Run) -> String {
        let numbers = run.failing_tests.iter().filter_map(|test| self.test(test));
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    }
}
