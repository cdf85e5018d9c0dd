//! What was stopped in the runs of a sweep while its failing tests ran, read from what the runs left.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::judge::pytest::trail::{self, Trail};
use crate::judge::starvation::Window;
use crate::judge::{Record, RunFiles as _, Verdict};
use crate::run;
use crate::stats::Answers;
use crate::stats::starvation::{Course, Starved};

/// Most failing tests that are looked at, those that failed most often first.
const MOST_TESTS: usize = 5;

/// What is known of the failing tests of a sweep that stopped threads and processes; nothing of other sweeps.
pub(super) fn of(answers: Answers<'_>) -> Vec<Starved> {
    let counted: Vec<&Record> = answers.answered().filter(|record| is_starved(record)).collect();
    let failed = || {
        counted
            .iter()
            .filter(|record| record.outcome.verdict == Verdict::Failed)
    };
    let mut tests: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    for record in failed() {
        let named: BTreeSet<&str> = record.outcome.failing_tests.iter().map(String::as_str).collect();
        for test in &named {
            *tests.entry(Some(test)).or_default() += 1;
        }
        if named.is_empty() {
            *tests.entry(None).or_default() += 1;
        }
    }
    let mut tests: Vec<(Option<&str>, u64)> = tests.into_iter().collect();
    tests.sort_by_key(|(test, n)| (std::cmp::Reverse(*n), *test));
    tests.truncate(MOST_TESTS);
    let courses: Vec<Vec<Option<Course>>> = counted.par_iter().map(|record| courses(record, &tests)).collect();
    let of_test = |at: usize, test: Option<&str>| {
        let own: Vec<Course> = courses.iter().filter_map(|run| run[at].clone()).collect();
        Starved::of(test.map(str::to_owned), &own)
    };
    tests
        .iter()
        .enumerate()
        .map(|(at, (test, _))| of_test(at, *test))
        .collect()
}

fn is_starved(record: &Record) -> bool {
    let conditions = record.exit.as_ref().and_then(|exit| exit.conditions.as_ref());
    conditions.is_some_and(|conditions| conditions.starve.is_some())
}

/// The course of each of these tests in a run; `None` of one that the run did not reach.
fn courses(record: &Record, tests: &[(Option<&str>, u64)]) -> Vec<Option<Course>> {
    let files = run::run_files(&record.dir).ok();
    let windows = files.as_ref().map(run::Files::windows).unwrap_or_default();
    let read = files.and_then(|files| trail::read(files.trail().ok()??).ok());
    let course = |test: Option<&str>| {
        let (from, to) = if let Some(test) = test {
            span(read.as_ref()?, test)?
        } else {
            let exit = record.exit.as_ref()?;
            let from = exit.started_at?.timestamp_micros() as f64 / 1e6;
            (from, exit.duration_s.map(|duration| from + duration))
        };
        let named = |test: &str| record.outcome.failing_tests.iter().any(|failing| failing == test);
        let failed = record.outcome.verdict == Verdict::Failed;
        Some(Course {
            failed: failed && test.map_or(record.outcome.failing_tests.is_empty(), named),
            duration_s: to.map(|to| to - from),
            windows: meeting(&windows, from, to),
        })
    };
    tests.iter().map(|(test, _)| course(*test)).collect()
}

/// When a test began and ended, in seconds since the epoch; of one that ran several times, the last time.
fn span(trail: &Trail, test: &str) -> Option<(f64, Option<f64>)> {
    let at = trail.tests.iter().rposition(|known| known.id == test)?;
    let own = &trail.tests[at];
    let next = trail.tests[at + 1..].iter().find(|other| other.worker == own.worker);
    let end = next.and_then(|next| next.at).or(trail.last_at);
    Some((own.at?, end.filter(|_| own.is_done)))
}

/// The windows between two times, counted from the first.
fn meeting(windows: &[Window], from: f64, to: Option<f64>) -> Vec<(String, f64, f64)> {
    let met = windows
        .iter()
        .filter(|window| window.meets(from, to.unwrap_or(f64::INFINITY)));
    met.map(|window| (window.what(), window.at - from, window.at + window.duration_s - from))
        .collect()
}

/// What was stopped while a run's failing tests ran, a line for each: when, for how long, what. The last ones of many.
pub(super) fn stopped_in(record: &Record) -> Vec<String> {
    let tests: Vec<(Option<&str>, u64)> = match record.outcome.failing_tests.as_slice() {
        [] => vec![(None, 1)],
        failing => failing
            .iter()
            .take(MOST_TESTS)
            .map(|test| (Some(test.as_str()), 1))
            .collect(),
    };
    let mut lines = Vec::new();
    for ((test, _), course) in tests.iter().zip(courses(record, &tests)) {
        let Some(course) = course else { continue };
        let most = 5;
        let left_out = course.windows.len().saturating_sub(most);
        for (name, from, to) in &course.windows[left_out..] {
            let place = test.unwrap_or("the session");
            lines.push(format!(
                "{name} for {:.0} ms, {from:.3} s into {place}",
                (to - from) * 1000.0
            ));
        }
        if left_out > 0 {
            lines.push(format!("and {left_out} before"));
        }
    }
    lines
}
