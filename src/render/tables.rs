//! The four tables of a summary as cells: statistics, failures, iterations, tests. What they look like is up to others.

use std::fmt::Write as _;

use super::figures::percent;
use super::words::{self, TestNames, place, rate_cell};
use crate::model::Verdict;
use crate::model::summary::{Run, Summary, Test, blame_of};

/// Cells with a header. Every row has as many cells as the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Names of the columns.
    pub header: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// Columns of figures, which are aligned to the right.
    pub figures: Vec<usize>,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// A row for each sweep.
    Statistics,
    /// A row for each category of a sweep.
    Failures,
    /// A row for each failing test of an iteration.
    Iterations,
    /// A row for each failing test of a sweep.
    Tests,
}

/// Which iterations are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those that did not pass.
    NotPassed,
    /// All.
    All,
}

impl Listed {
    /// The runs of a summary that are listed, in order.
    #[must_use]
    pub fn runs(self, summary: &Summary) -> Vec<&Run> {
        let mut runs: Vec<&Run> = summary.not_passed.iter().collect();
        if self == Listed::All {
            runs.extend(&summary.passed);
            runs.sort_by_key(|run| run.iteration);
        }
        runs
    }
}

/// Makes a table over all sweeps.
#[must_use]
pub fn cells(table: Table, summaries: &[Summary], listed: Listed) -> Cells {
    match table {
        Table::Statistics => statistics(summaries),
        Table::Failures => failures(summaries),
        Table::Iterations => iterations(summaries, listed),
        Table::Tests => tests(summaries),
    }
}

/// Directory, parallelism, iterations, passed, failed, rate, and what a reader must know.
fn statistics(summaries: &[Summary]) -> Cells {
    let rows = summaries.iter().map(|summary| {
        let n = &summary.iterations;
        let mut iterations = n.recorded.to_string();
        if let Some((first, last)) = summary.span() {
            let _ = write!(iterations, " ({first}-{last})");
        }
        vec![
            summary.sweep.clone(),
            summary.mode.clone().unwrap_or_default(),
            iterations,
            n.passed.to_string(),
            n.failed.to_string(),
            n.errored.to_string(),
            n.missing.to_string(),
            summary.rate.count.to_string(),
            rate_cell(&summary.rate),
            notes(summary),
        ]
    });
    Cells {
        header: vec![
            "sweep",
            "mode",
            "iterations",
            "passed",
            "failed",
            "errored",
            "missing",
            "failed of",
            "failure rate",
            "notes",
        ],
        rows: rows.collect(),
        figures: (2..=7).collect(),
    }
}

/// Directory, category, how often, tests affected.
fn failures(summaries: &[Summary]) -> Cells {
    let rows = summaries.iter().flat_map(|summary| {
        summary.categories.iter().map(|category| {
            let tests: Vec<String> = category.tests.iter().map(|(test, n)| format!("{test} ({n})")).collect();
            let runs: Vec<String> = category.runs.iter().map(u32::to_string).collect();
            vec![
                summary.sweep.clone(),
                category.id.clone(),
                category.title.clone(),
                category.iterations.to_string(),
                category
                    .rate
                    .map_or_else(|| "errored".to_owned(), |rate| rate.count.to_string()),
                category
                    .rate
                    .map_or_else(|| "outside the rate".to_owned(), |rate| rate_cell(&rate)),
                runs.join(" "),
                tests.join(", "),
            ]
        })
    });
    Cells {
        header: vec![
            "sweep",
            "category",
            "title",
            "iterations",
            "failed of",
            "failure rate",
            "runs",
            "tests",
        ],
        rows: rows.collect(),
        figures: vec![3, 4],
    }
}

/// Directory, iteration, test, error type, message, worker, log: a row for each failing test.
fn iterations(summaries: &[Summary], listed: Listed) -> Cells {
    let rows = summaries.iter().flat_map(|summary| {
        listed.runs(summary).into_iter().flat_map(move |run| {
            lines(run).into_iter().map(move |line| {
                vec![
                    summary.sweep.clone(),
                    run.iteration.to_string(),
                    run.verdict.as_str().to_owned(),
                    run.outcome.as_str().to_owned(),
                    line.test,
                    line.categories,
                    line.message,
                    line.worker,
                    run.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                    line.place,
                ]
            })
        })
    });
    Cells {
        header: vec![
            "sweep",
            "iteration",
            "verdict",
            "outcome",
            "test",
            "categories",
            "message",
            "worker",
            "exit_code",
            "log",
        ],
        rows: rows.collect(),
        figures: vec![1, 8],
    }
}

/// Directory, test, how often, how.
fn tests(summaries: &[Summary]) -> Cells {
    let rows = summaries.iter().flat_map(|summary| {
        summary.tests.iter().map(|test| {
            vec![
                summary.sweep.clone(),
                test.nodeid.clone(),
                test.failed.to_string(),
                test.of.to_string(),
                test_rate(test),
                test.categories.join(" "),
            ]
        })
    });
    Cells {
        header: vec!["sweep", "test", "failed", "of", "failure rate", "categories"],
        rows: rows.collect(),
        figures: vec![2, 3],
    }
}

/// How often a test fails, with the interval.
#[must_use]
pub fn test_rate(test: &Test) -> String {
    let rate = test.failed as f64 / test.of.max(1) as f64;
    format!("{} ({} to {})", percent(rate), percent(test.low), percent(test.high))
}

/// One failing test of an iteration, or the iteration itself where no test is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Node id; empty where no test is named.
    pub test: String,
    /// Categories of its failure.
    pub categories: String,
    /// What the evidence says.
    pub message: String,
    /// xdist worker.
    pub worker: String,
    /// File and line of the evidence.
    pub place: String,
}

/// The lines of a run: one for each failing test, one for a run without.
#[must_use]
pub fn lines(run: &Run) -> Vec<Line> {
    if run.failing_tests.is_empty() || run.verdict == Verdict::Passed {
        return vec![Line {
            test: run.failing_tests.join(" "),
            categories: run.categories.join(" "),
            message: run.reason().unwrap_or_default().to_owned(),
            worker: run
                .evidence
                .first()
                .and_then(|evidence| evidence.worker.clone())
                .unwrap_or_default(),
            place: place(run),
        }];
    }
    let blamed = blame_of(&run.categories, &run.failing_tests, &run.evidence);
    let lines = run.failing_tests.iter().map(|test| {
        let own = run
            .evidence
            .iter()
            .find(|evidence| evidence.test.as_deref() == Some(test));
        // Evidence that names no test may be this one's; evidence that names another is not.
        let evidence = own.or_else(|| run.evidence.iter().find(|evidence| evidence.test.is_none()));
        let categories: Vec<&str> = blamed.get(test.as_str()).into_iter().flatten().copied().collect();
        Line {
            test: test.clone(),
            categories: categories.join(" "),
            message: evidence.map(|evidence| evidence.text.clone()).unwrap_or_default(),
            worker: evidence
                .and_then(|evidence| evidence.worker.clone())
                .unwrap_or_default(),
            place: evidence.map_or_else(
                || run.dir.clone(),
                |evidence| match evidence.line {
                    Some(line) => format!("{}/{}:{line}", run.dir, evidence.file),
                    None => format!("{}/{}", run.dir, evidence.file),
                },
            ),
        }
    });
    lines.collect()
}

/// Names of the tests as far as a report needs them, for the text form.
#[must_use]
pub fn short_line(names: &TestNames, line: &Line) -> String {
    match (line.categories.is_empty(), line.test.is_empty()) {
        (true, true) => String::new(),
        (true, false) => names.short(&line.test).to_owned(),
        (false, true) => line.categories.clone(),
        (false, false) => format!("{}  {}", line.categories, names.short(&line.test)),
    }
}

/// Under which load it ran, and what else a reader must know.
fn notes(summary: &Summary) -> String {
    let load = summary.conditions.as_ref().and_then(|ran| words::load(&ran.load));
    let load = load.map(|load| format!("ran with {load}"));
    let all: Vec<String> = load.into_iter().chain(summary.notes.iter().cloned()).collect();
    all.join("; ")
}
