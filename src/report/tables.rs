//! The four tables of a summary as cells: statistics, failures, iterations, tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cells::{Cells, Column};
use super::test_names::TestNames;
use crate::judge::{Evidence, Verdict};
use crate::report::summary::{Conditions, Run, Summary};
use crate::spec::words::words;
use crate::stats::blame::Blame;

words! {
    /// One of the tables of a summary.
    pub enum Table {
        /// A row for each sweep.
        Statistics = "statistics",
        /// A row for each category of a sweep.
        Failures = "failures",
        /// A row for each failing test of an iteration.
        Iterations = "iterations",
        /// A row for each failing test of a sweep.
        Tests = "tests",
    }
}

/// Which iterations are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The iterations that did not pass.
    NotPassed,
    /// Every iteration.
    All,
}

impl Listed {
    /// The runs of a summary that are listed, in order.
    pub fn runs(self, summary: &Summary) -> Vec<&Run> {
        match self {
            Listed::NotPassed => summary.not_passed.iter().collect(),
            Listed::All => summary.runs(),
        }
    }
}

pub fn cells(table: Table, summaries: &[Summary], listed: Listed) -> Cells {
    let summaries = Summary::shown(summaries);
    match table {
        Table::Statistics => statistics(&summaries),
        Table::Failures => failures(&summaries),
        Table::Iterations => iterations(&summaries, listed),
        Table::Tests => tests(&summaries),
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
            summary.rate.to_string(),
            notes(summary),
        ]
    });
    Cells::new(
        [
            Column::text("sweep"),
            Column::text("mode"),
            Column::figures("iterations"),
            Column::figures("passed"),
            Column::figures("failed"),
            Column::figures("errored"),
            Column::figures("missing"),
            Column::figures("failed of"),
            Column::text("failure rate"),
            Column::text("notes"),
        ],
        rows,
    )
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
                    .map_or_else(|| "outside the rate".to_owned(), |rate| rate.to_string()),
                runs.join(" "),
                tests.join(", "),
            ]
        })
    });
    Cells::new(
        [
            Column::text("sweep"),
            Column::text("category"),
            Column::text("title"),
            Column::figures("iterations"),
            Column::figures("failed of"),
            Column::text("failure rate"),
            Column::text("runs"),
            Column::text("tests"),
        ],
        rows,
    )
}

/// Directory, iteration, test, error type, message, worker, log: a row for each failing test.
fn iterations(summaries: &[Summary], listed: Listed) -> Cells {
    let rows = summaries.iter().flat_map(|summary| {
        listed
            .runs(summary)
            .into_iter()
            .chain(&summary.replaced)
            .flat_map(move |run| {
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
    Cells::new(
        [
            Column::text("sweep"),
            Column::figures("iteration"),
            Column::text("verdict"),
            Column::text("outcome"),
            Column::text("test"),
            Column::text("categories"),
            Column::text("message"),
            Column::text("worker"),
            Column::figures("exit_code"),
            Column::text("log"),
        ],
        rows,
    )
}

/// Directory, test, how often, how.
fn tests(summaries: &[Summary]) -> Cells {
    let rows = summaries.iter().flat_map(|summary| {
        summary.tests.iter().map(|test| {
            vec![
                summary.sweep.clone(),
                test.nodeid.clone(),
                test.rate.count.failed().to_string(),
                test.rate.count.of().to_string(),
                test.rate.to_string(),
                test.categories.join(" "),
            ]
        })
    });
    Cells::new(
        [
            Column::text("sweep"),
            Column::text("test"),
            Column::figures("failed"),
            Column::figures("of"),
            Column::text("failure rate"),
            Column::text("categories"),
        ],
        rows,
    )
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
            place: run.place(run.evidence.first()),
        }];
    }
    let blamed = Blame::between(&run.categories, &run.failing_tests, &run.evidence);
    let mut first: BTreeMap<Option<&str>, &Evidence> = BTreeMap::new();
    for evidence in &run.evidence {
        first.entry(evidence.test.as_deref()).or_insert(evidence);
    }
    let lines = run.failing_tests.iter().map(|test| {
        // Evidence that names no test may be this one's; evidence that names another is not.
        let evidence = first.get(&Some(test.as_str())).or_else(|| first.get(&None)).copied();
        let categories: Vec<&str> = blamed.categories(test).iter().copied().collect();
        Line {
            test: test.clone(),
            categories: categories.join(" "),
            message: evidence.map(|evidence| evidence.text.clone()).unwrap_or_default(),
            worker: evidence
                .and_then(|evidence| evidence.worker.clone())
                .unwrap_or_default(),
            place: run.place(evidence),
        }
    });
    lines.collect()
}

/// Names of the tests as far as a report needs them, for the text form.
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
    let load = summary.conditions.as_ref().and_then(Conditions::limits);
    let load = load.map(|load| format!("ran with {load}"));
    let all: Vec<String> = load.into_iter().chain(summary.notes.iter().cloned()).collect();
    all.join("; ")
}
