//! A sweep as a suite of tests, each with all its iterations taken together: what formats of test reports hold.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::comparison::Rate;
use super::test_rate::TestRates;
use super::{Record, Spec, Verdict};
use crate::stats::Count;

/// Lines of evidence kept for a case.
const MOST_EVIDENCE: usize = 5;

/// One test of a sweep, or the sessions themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Node id, or a name for what is no test.
    pub name: String,
    /// Failed of reached.
    pub rate: Rate,
    /// Categories of its failures, in order.
    pub categories: Vec<String>,
    /// Iterations it failed in.
    pub runs: Vec<u32>,
    /// What the evidence says, one line each, at most a handful.
    pub evidence: Vec<String>,
}

/// A sweep, as far as the format can hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suite {
    /// Name of the sweep.
    pub name: String,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// Wall time of all its iterations together, in seconds.
    pub duration_s: Option<f64>,
    /// Confidence of the rates.
    pub confidence: f64,
    /// Tests that were reached, and sessions that failed without one.
    pub cases: Vec<Case>,
    /// Iterations that errored, with why.
    pub errored: Vec<(u32, String)>,
    /// Facts about the sweep: image, mode, counts.
    pub properties: Vec<(String, String)>,
    /// The summary in words.
    pub words: String,
}

impl Suite {
    /// A sweep's iterations by test. `rates` are those of its tests, `words` its summary.
    #[must_use]
    pub fn of(
        name: &str,
        spec: Option<&Spec>,
        records: &[Record],
        rates: &TestRates,
        confidence: f64,
        words: &str,
    ) -> Suite {
        let tests = rates.failing.iter().chain(&rates.never_failed);
        let mut cases: Vec<Case> = tests
            .map(|test| {
                let runs = records
                    .iter()
                    .filter(|record| is_failed(record) && record.outcome.failing_tests.contains(&test.nodeid));
                let mut case = case(&test.nodeid, runs, Some(&test.nodeid));
                case.rate = test.rate;
                case
            })
            .collect();
        let nameless = records
            .iter()
            .filter(|record| is_failed(record) && record.outcome.failing_tests.is_empty());
        let mut session = case("session", nameless, None);
        // A sweep in which nothing says what was reached still has its sessions to report.
        if !session.runs.is_empty() || cases.is_empty() {
            let of = records
                .iter()
                .filter(|record| record.outcome.verdict != Verdict::Errored)
                .count();
            let count = Count::new(session.runs.len() as u64, of as u64).unwrap_or_default();
            session.rate = Rate::new(count, confidence);
            cases.push(session);
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        let errored = records
            .iter()
            .filter(|record| record.outcome.verdict == Verdict::Errored);
        let exits = || records.iter().filter_map(|record| record.exit.as_ref());
        let seconds: Vec<f64> = exits().filter_map(|exit| exit.duration_s).collect();
        Suite {
            name: name.to_owned(),
            started_at: exits()
                .filter_map(|exit| exit.started_at)
                .min()
                .or(spec.map(|spec| spec.created_at)),
            duration_s: (!seconds.is_empty()).then(|| seconds.iter().sum()),
            confidence,
            cases,
            errored: errored.map(|record| (record.iteration, why_errored(record))).collect(),
            properties: properties(spec, records),
            words: words.to_owned(),
        }
    }
}

fn is_failed(record: &Record) -> bool {
    record.outcome.verdict == Verdict::Failed
}

/// A case from the iterations that failed in it; its rate is still open.
fn case<'a>(name: &str, runs: impl Iterator<Item = &'a Record>, test: Option<&str>) -> Case {
    let mut case = Case {
        name: name.to_owned(),
        rate: Rate::new(Count::default(), 0.95),
        categories: Vec::new(),
        runs: Vec::new(),
        evidence: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for record in runs {
        case.runs.push(record.iteration);
        let outcome = &record.outcome;
        // Evidence names its test where it can; with one failing test there is no doubt.
        let is_about = |named: Option<&str>| match named {
            Some(named) => Some(named) == test,
            None => test.is_none() || outcome.failing_tests.len() == 1,
        };
        let about: Vec<_> = outcome
            .evidence
            .iter()
            .filter(|evidence| is_about(evidence.test.as_deref()))
            .collect();
        let named = about.iter().map(|evidence| &evidence.category);
        let all = outcome.categories.iter().filter(|_| about.is_empty());
        for category in named.chain(all) {
            if !case.categories.contains(category) {
                case.categories.push(category.clone());
            }
        }
        for evidence in about {
            if case.evidence.len() < MOST_EVIDENCE && seen.insert(evidence.text.clone()) {
                case.evidence.push(evidence.text.clone());
            }
        }
    }
    case
}

fn why_errored(record: &Record) -> String {
    let outcome = &record.outcome;
    let said = record.exit.as_ref().and_then(|exit| exit.error.clone());
    let evidence = || outcome.evidence.first().map(|evidence| evidence.text.clone());
    let what = outcome
        .categories
        .first()
        .map_or(outcome.outcome.as_str(), String::as_str);
    match said.or_else(evidence) {
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    }
}

fn properties(spec: Option<&Spec>, records: &[Record]) -> Vec<(String, String)> {
    let of = |verdict: Verdict| {
        records
            .iter()
            .filter(|record| record.outcome.verdict == verdict)
            .count()
            .to_string()
    };
    let mut found = vec![
        ("iterations".to_owned(), records.len().to_string()),
        ("passed".to_owned(), of(Verdict::Passed)),
        ("failed".to_owned(), of(Verdict::Failed)),
        ("errored".to_owned(), of(Verdict::Errored)),
    ];
    if let Some(spec) = spec {
        found.push(("mode".to_owned(), spec.mode.to_string()));
        found.push(("image".to_owned(), spec.image.clone()));
        found.extend(spec.image_id.iter().map(|id| ("image_id".to_owned(), id.clone())));
        found.push(("pytest_args".to_owned(), shell_words::join(&spec.pytest_args)));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::test_rate::TestTally;
    use crate::model::{Evidence, Outcome, OutcomeKind};

    fn record(iteration: u32, kind: OutcomeKind, evidence: &[(&str, Option<&str>)]) -> Record {
        let mut outcome = Outcome::new(kind);
        for (category, test) in evidence {
            outcome.categories.push((*category).to_owned());
            outcome.failing_tests.extend(test.map(str::to_owned));
            outcome.evidence.push(Evidence {
                category: (*category).to_owned(),
                file: "run.log".to_owned(),
                line: Some(1),
                text: format!("E   {category} happened"),
                test: test.map(str::to_owned),
                worker: None,
            });
        }
        Record {
            iteration,
            dir: PathBuf::new(),
            exit: None,
            outcome,
            problem: None,
        }
    }

    #[test]
    fn each_test_is_a_case_with_its_own_evidence_and_sessions_without_one_are_too() {
        let records = [
            record(1, OutcomeKind::Passed, &[]),
            record(
                2,
                OutcomeKind::Failed,
                &[("A1", Some("a.py::x")), ("A2", Some("a.py::y"))],
            ),
            record(3, OutcomeKind::Crashed, &[("B1", None)]),
            record(4, OutcomeKind::Infra, &[("A5", None)]),
        ];
        let mut tally = TestTally::default();
        let started = ["a.py::x", "a.py::y", "a.py::z"];
        tally.add(Some(started), &std::collections::BTreeMap::new());
        let failed = [("a.py::x", BTreeSet::from(["A1"])), ("a.py::y", BTreeSet::from(["A2"]))];
        tally.add(Some(started), &failed.into_iter().collect());
        tally.add(Some([]), &std::collections::BTreeMap::new());
        let suite = Suite::of("serial", None, &records, &tally.rates(0.95), 0.95, "");
        let shown: Vec<String> = suite
            .cases
            .iter()
            .map(|case| {
                format!(
                    "{} {} {:?} {:?} {:?}",
                    case.name, case.rate.count, case.categories, case.runs, case.evidence
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"a.py::x 1/2 ["A1"] [2] ["E   A1 happened"]"#,
                r#"a.py::y 1/2 ["A2"] [2] ["E   A2 happened"]"#,
                "a.py::z 0/2 [] [] []",
                r#"session 1/3 ["B1"] [3] ["E   B1 happened"]"#,
            ]
        );
        assert_eq!(suite.errored, [(4, "A5: E   A5 happened".to_owned())]);
    }

    #[test]
    fn a_sweep_that_names_no_test_reports_its_sessions() {
        let records = [record(1, OutcomeKind::Passed, &[])];
        let suite = Suite::of("serial", None, &records, &TestRates::default(), 0.95, "");
        assert_eq!(
            (suite.cases.len(), suite.cases[0].rate.count.to_string()),
            (1, "0/1".to_owned())
        );
    }
}
