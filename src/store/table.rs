//! `results.txt` and `results.csv`: one line an iteration, rebuilt from the run directories at will.

use crate::model::{Exit, Outcome, Verdict};

/// The header of results.csv.
pub(super) const HEADER: [&str; 15] = [
    "iteration", "verdict", "outcome", "categories", "failing_tests", "exit_code", "signal", "oom_killed", "ended_by",
    "started_at", "duration_s", "attempts", "backend", "node", "image_id",
];

/// The line of results.txt for an iteration.
pub(super) fn text_line(iteration: u32, exit: &Exit, outcome: &Outcome) -> String {
    let word = match outcome.verdict {
        Verdict::Passed => "PASSED",
        Verdict::Failed => "FAILED",
        Verdict::Errored => "ERRORED",
    };
    let exit = exit.code.map_or("no exit code".to_owned(), |code| format!("exit {code}"));
    let mut line = format!("{}: {word} ({exit})", super::run_name(iteration));
    for list in [&outcome.categories, &outcome.failing_tests] {
        if !list.is_empty() {
            line.push(' ');
            line.push_str(&list.join(" ").replace(['\n', '\r'], " "));
        }
    }
    line.push('\n');
    line
}

/// The row of results.csv for an iteration.
pub(super) fn csv_row(iteration: u32, exit: &Exit, outcome: &Outcome) -> [String; 15] {
    let or_empty = |value: Option<String>| value.unwrap_or_default();
    [
        iteration.to_string(),
        outcome.verdict.as_str().to_owned(),
        outcome.outcome.as_str().to_owned(),
        outcome.categories.join(";"),
        outcome.failing_tests.join(";"),
        or_empty(exit.code.map(|code| code.to_string())),
        or_empty(exit.signal.map(|signal| signal.to_string())),
        exit.oom_killed.to_string(),
        exit.ended_by.as_str().to_owned(),
        or_empty(exit.started_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))),
        or_empty(exit.duration_s.map(|seconds| format!("{seconds:.3}"))),
        exit.attempts.to_string(),
        or_empty(exit.backend.clone()),
        or_empty(exit.node.clone()),
        or_empty(exit.image_id.clone()),
    ]
}

/// Rows as bytes of CSV.
pub(super) fn csv<R: AsRef<[u8]>>(rows: impl Iterator<Item = impl IntoIterator<Item = R>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("rows of one length, written to memory");
    }
    writer.into_inner().expect("memory takes what is flushed to it")
}
