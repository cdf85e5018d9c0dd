//! Sweeps as a CTRF report (ctrf.io, specification 1.0): one test for each test over all iterations, as in `JUnit`.
//!
//! A test that failed in some iterations and not in others is failed and flaky; the counts are in `extra`. CTRF wants a
//! duration for each test, which a sweep does not know: it is 0, and the sweep's own times are in `summary`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::shown::shown;
use super::suite::{Case, Suite};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(rename = "reportFormat")]
    standard: &'static str,
    spec_version: &'static str,
    generated_by: String,
    results: Results,
}

#[derive(Serialize)]
struct Results {
    tool: Tool,
    summary: Summary,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Default, Serialize)]
struct Summary {
    tests: u64,
    passed: u64,
    failed: u64,
    skipped: u64,
    pending: u64,
    other: u64,
    flaky: u64,
    suites: u64,
    /// Milliseconds since the epoch.
    start: i64,
    stop: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Passed,
    Failed,
    Skipped,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    name: String,
    status: Status,
    /// Milliseconds.
    duration: u64,
    suite: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_path: Option<String>,
    flaky: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<Extra>,
}

/// What CTRF has no field for.
#[derive(Serialize)]
struct Extra {
    failed: u64,
    of: u64,
    low: f64,
    high: f64,
    confidence: f64,
    iterations: Vec<u32>,
}

/// The bytes of the report.
pub fn report(suites: &[Suite]) -> Vec<u8> {
    let tests: Vec<Test> = suites
        .iter()
        .flat_map(|suite| {
            let cases = suite.cases.iter().map(|case| of_case(suite, case));
            let errored = suite
                .errored
                .iter()
                .map(|(iteration, why)| of_errored(suite, *iteration, why));
            cases.chain(errored)
        })
        .collect();
    let n_with = |status| tests.iter().filter(|test| test.status == status).count() as u64;
    let millis = |time: Option<DateTime<Utc>>| time.map_or(0, |time| time.timestamp_millis());
    let summary = Summary {
        tests: tests.len() as u64,
        passed: n_with(Status::Passed),
        failed: n_with(Status::Failed),
        skipped: n_with(Status::Skipped),
        flaky: tests.iter().filter(|test| test.flaky).count() as u64,
        suites: suites.len() as u64,
        start: millis(suites.iter().filter_map(|suite| suite.started_at).min()),
        stop: millis(suites.iter().filter_map(|suite| suite.ended_at).max()),
        ..Summary::default()
    };
    let mut bytes = serde_json::to_vec(&Report {
        standard: "CTRF",
        spec_version: "1.0.0",
        generated_by: crate::spec::tool(),
        results: Results {
            tool: Tool {
                name: "reproduce-flaky",
                version: env!("CARGO_PKG_VERSION"),
            },
            summary,
            tests,
        },
    })
    .expect("a report has string keys");
    bytes.push(b'\n');
    bytes
}

fn of_case(suite: &Suite, case: &Case) -> Test {
    let count = case.rate.count;
    let has_failed = count.failed() > 0;
    let evidence: Vec<String> = case.evidence.iter().map(|line| shown(line).into_owned()).collect();
    let file = case.name.split_once("::").map(|(file, _)| shown(file).into_owned());
    Test {
        name: shown(&case.name).into_owned(),
        status: if has_failed { Status::Failed } else { Status::Passed },
        duration: 0,
        suite: vec![shown(&suite.name).into_owned()],
        message: has_failed.then(|| match evidence.first() {
            Some(line) => format!("{}: {line}", case.sentence()),
            None => case.sentence(),
        }),
        trace: (!evidence.is_empty()).then(|| evidence.join("\n")),
        file_path: file,
        flaky: has_failed && count.failed() < count.of(),
        tags: case.categories.iter().map(|id| shown(id).into_owned()).collect(),
        extra: Some(Extra {
            failed: count.failed(),
            of: count.of(),
            low: case.rate.low,
            high: case.rate.high,
            confidence: case.rate.confidence,
            iterations: case.runs.clone(),
        }),
    }
}

fn of_errored(suite: &Suite, iteration: u32, why: &str) -> Test {
    Test {
        name: format!("iteration {iteration}"),
        status: Status::Skipped,
        duration: 0,
        suite: vec![shown(&suite.name).into_owned()],
        message: Some(format!("errored, in no rate: {}", shown(why))),
        trace: None,
        file_path: None,
        flaky: false,
        tags: Vec::new(),
        extra: None,
    }
}
