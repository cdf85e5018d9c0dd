//! `results.txt` and `results.csv`: a row for each iteration, appended as it is published, rebuilt from the runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::SecondsFormat;

use super::claim::SharedLock;
use super::layout::{OF_THE_SCRIPT, RESULTS, RESULTS_CSV, SPEC, SUMMARY, iteration_of, run_name};
use super::{StoreError, Sweep, durable, scan};
use crate::judge::{Exit, Outcome, Record};
use crate::report::csv::cell as csv_cell;
use crate::report::shown::shown;

const HEADER: [&str; 15] = [
    "iteration",
    "verdict",
    "outcome",
    "categories",
    "failing_tests",
    "exit_code",
    "signal",
    "oom_killed",
    "ended_by",
    "started_at",
    "duration_s",
    "attempts",
    "backend",
    "node",
    "image_id",
];

/// How a rebuild found the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// The sweep is as the caller had read it.
    Current,
    /// Other processes had published or set aside iterations meanwhile: the rows have them, the summary does not.
    Behind,
}

impl Sweep {
    /// Writes `results.txt`, `results.csv` and `summary.txt` anew from what the caller has read and judged, and from
    /// what others have published since.
    pub fn rebuild(&self, records: &[Record], summary: &str) -> Result<Rebuilt, StoreError> {
        self.write_derived(records, summary)
            .map_err(|error| self.in_users_words(error))
    }

    fn write_derived(&self, records: &[Record], summary: &str) -> Result<Rebuilt, StoreError> {
        write_rows(&self.dir, records, summary)
    }

    /// Appends the rows of an iteration that was just published; the caller holds the lock.
    pub(super) fn append_rows(&self, iteration: u32, exit: &Exit, outcome: &Outcome) -> std::io::Result<()> {
        let path = self.dir.join(RESULTS);
        durable::end_torn_line(&path)?;
        durable::append(&path, line(iteration, Some(exit), outcome).as_bytes())?;
        let path = self.dir.join(RESULTS_CSV);
        durable::end_torn_line(&path)?;
        let is_new = path.metadata().map_or(true, |found| found.len() == 0);
        let mut rows = if is_new { csv_header() } else { Vec::new() };
        rows.extend(csv_row(iteration, Some(exit), outcome));
        durable::append(&path, &rows)
    }

    /// Takes the rows of iterations out that are about to run again; the caller holds the lock.
    pub(super) fn drop_rows(&self, iterations: &BTreeSet<u32>) -> Result<(), StoreError> {
        let path = self.dir.join(RESULTS);
        if let Some(bytes) = durable::read(&path).map_err(|cause| StoreError::io("read", &path, cause))? {
            let text = String::from_utf8_lossy(&bytes);
            let is_kept = |line: &&str| {
                let name = line.split(':').next().unwrap_or("");
                iteration_of(name).is_none_or(|iteration| !iterations.contains(&iteration))
            };
            let kept: String = text.split_inclusive('\n').filter(is_kept).collect();
            durable::replace(&self.dir, RESULTS, kept.as_bytes())?;
        }
        let path = self.dir.join(RESULTS_CSV);
        if let Some(bytes) = durable::read(&path).map_err(|cause| StoreError::io("read", &path, cause))? {
            let mut kept = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(&bytes[..]);
            for row in reader.byte_records().flatten() {
                let iteration = row
                    .get(0)
                    .and_then(|field| std::str::from_utf8(field).ok()?.parse::<u32>().ok());
                if iteration.is_none_or(|iteration| !iterations.contains(&iteration)) {
                    let _ = kept.write_byte_record(&row);
                }
            }
            durable::replace(&self.dir, RESULTS_CSV, &kept.into_inner().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// `run024: FAILED (exit 1) A2 tests/…::test_indexers_sync[nats_core]`.
fn line(iteration: u32, exit: Option<&Exit>, outcome: &Outcome) -> String {
    let code = match exit.and_then(|exit| exit.code) {
        Some(code) => format!("exit {code}"),
        None => "no exit code".to_owned(),
    };
    let mut line = format!(
        "{}: {} ({code})",
        run_name(iteration),
        outcome.verdict.as_str().to_uppercase()
    );
    for list in [&outcome.categories, &outcome.failing_tests] {
        if !list.is_empty() {
            line.push(' ');
            line += &shown(&list.join(";"));
        }
    }
    line.push('\n');
    line
}

fn csv_header() -> Vec<u8> {
    format!("{}\n", HEADER.join(",")).into_bytes()
}

fn csv_row(iteration: u32, exit: Option<&Exit>, outcome: &Outcome) -> Vec<u8> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let fact = |read: fn(&Exit) -> Option<String>| text(exit.and_then(read));
    let fields: [String; 15] = [
        iteration.to_string(),
        outcome.verdict.as_str().to_owned(),
        outcome.outcome.as_str().to_owned(),
        outcome.categories.join(";"),
        outcome.failing_tests.join(";"),
        fact(|exit| exit.code.map(|code| code.to_string())),
        fact(|exit| exit.signal.map(|signal| signal.to_string())),
        fact(|exit| Some(exit.oom_killed.to_string())),
        fact(|exit| Some(exit.ended_by.as_str().to_owned())),
        fact(|exit| Some(exit.started_at?.to_rfc3339_opts(SecondsFormat::Millis, true))),
        fact(|exit| exit.duration_s.map(|seconds| seconds.to_string())),
        fact(|exit| Some(exit.attempts.to_string())),
        fact(|exit| exit.backend.clone()),
        fact(|exit| exit.node.clone()),
        fact(|exit| exit.image_id.clone()),
    ];
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fields = fields.iter().map(|text| csv_cell(text).into_owned());
    writer.write_record(fields).expect("writing to memory does not fail");
    writer.into_inner().expect("writing to memory does not fail")
}

/// Writes the derived files of any sweep's directory anew, the old script's included, after its runs were judged again.
/// The script's own files are kept under other names: where the script left no codes in the runs, those files are the only
/// place that has them.
pub fn rebuild(dir: &Path, records: &[Record], summary: &str) -> Result<Rebuilt, StoreError> {
    if !dir.join(SPEC).exists() {
        let _lock = SharedLock::take(dir)?;
        for name in [RESULTS, SUMMARY] {
            durable::keep_first(dir, name, &format!("{name}{OF_THE_SCRIPT}"))?;
        }
    }
    write_rows(dir, records, summary)
}

fn write_rows(dir: &Path, records: &[Record], summary: &str) -> Result<Rebuilt, StoreError> {
    let _lock = SharedLock::take(dir)?;
    let there = scan::list(dir)?;
    let known: BTreeMap<u32, &Record> = records.iter().map(|record| (record.iteration, record)).collect();
    let mut is_current = known.keys().all(|iteration| there.contains_key(iteration));
    let (mut lines, mut table) = (String::new(), csv_header());
    for (iteration, path) in there {
        let mut add = |exit: Option<&Exit>, outcome: &Outcome| {
            lines += &line(iteration, exit, outcome);
            table.extend(csv_row(iteration, exit, outcome));
        };
        if let Some(record) = known.get(&iteration) {
            add(record.exit.as_ref(), &record.outcome);
            continue;
        }
        is_current = false;
        let run = scan::read_run(iteration, path);
        if let Some(outcome) = &run.outcome {
            add(run.exit.as_ref(), outcome);
        }
    }
    durable::replace(dir, RESULTS, lines.as_bytes())?;
    durable::replace(dir, RESULTS_CSV, &table)?;
    durable::replace(dir, SUMMARY, summary.as_bytes())?;
    Ok(if is_current { Rebuilt::Current } else { Rebuilt::Behind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::OutcomeKind;

    fn failed() -> Outcome {
        let mut outcome = Outcome::new(OutcomeKind::Crashed);
        outcome.categories = vec!["A1".to_owned(), "B1".to_owned()];
        outcome.failing_tests = vec![
            "tests/t.py::test_x[a,\"b\"]".to_owned(),
            "tests/t.py::test_y".to_owned(),
        ];
        outcome
    }

    #[test]
    fn a_line_says_verdict_code_categories_and_tests() {
        let exit = Exit {
            code: Some(134),
            ..Exit::default()
        };
        assert_eq!(
            line(24, Some(&exit), &failed()),
            "run024: FAILED (exit 134) A1;B1 tests/t.py::test_x[a,\"b\"];tests/t.py::test_y\n"
        );
        let passed = Outcome::new(OutcomeKind::Passed);
        assert_eq!(
            line(25, Some(&Exit { code: Some(0), ..exit }), &passed),
            "run025: PASSED (exit 0)\n"
        );
        assert_eq!(
            line(1000, None, &Outcome::new(OutcomeKind::Infra)),
            "run1000: ERRORED (no exit code)\n"
        );
    }

    #[test]
    fn a_row_quotes_what_csv_must_quote_and_has_every_column() {
        let row = csv_row(7, Some(&Exit::default()), &failed());
        let mut table = csv_header();
        table.extend(row);
        let mut reader = csv::Reader::from_reader(&table[..]);
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(row.len(), HEADER.len());
        assert_eq!(&row[3], "A1;B1");
        assert_eq!(&row[4], "tests/t.py::test_x[a,\"b\"];tests/t.py::test_y");
        assert_eq!((&row[5], &row[7], &row[8], &row[11]), ("", "false", "itself", "1"));
    }
}
