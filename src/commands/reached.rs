//! Which tests each iteration reached, read from the trails: the denominators of the tests' rates.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::judged::Judged;
use crate::judge::RunFiles as _;
use crate::model::summary::blame;
use crate::model::test_rate::TestTally;
use crate::model::{Record, Verdict};
use crate::pytest::trail;
use crate::store;

/// Counts the tests of a sweep. Errored iterations say nothing about them.
#[must_use]
pub fn tally(sweep: &Judged) -> TestTally {
    let counted: Vec<&Record> = sweep
        .records
        .iter()
        .filter(|record| record.outcome.verdict != Verdict::Errored)
        .collect();
    let started: Vec<Option<BTreeSet<String>>> = counted.par_iter().map(|record| started(record)).collect();
    let mut tally = TestTally::default();
    for (record, started) in counted.iter().zip(&started) {
        let started = started.as_ref().map(|names| names.iter().map(String::as_str));
        let failed = match record.outcome.verdict {
            Verdict::Failed => blame(&record.outcome),
            Verdict::Passed | Verdict::Errored => BTreeMap::new(),
        };
        tally.add(started, &failed);
    }
    tally
}

/// The tests that an iteration started, each once; `None` where it left no trail.
fn started(record: &Record) -> Option<BTreeSet<String>> {
    let files = store::run_files(&record.dir).ok()?;
    trail::started(files.trail().ok()??).ok()?
}
