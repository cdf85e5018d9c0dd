//! A sweep as a suite of tests, each with all its iterations taken together: what formats of test reports hold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::judge::{Evidence, Exit, Record, Verdict};
use crate::spec::Spec;
use crate::stats::blame::Blame;
use crate::stats::test_rate::TestRates;
use crate::stats::{Answers, Count, Method, Rate};

/// Where an iteration has more categories than this, a test that no evidence names is given none of them.
const MOST_CATEGORIES: usize = 8;
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
    /// Answers it failed in.
    pub failed: u64,
    /// Iterations it failed in.
    pub runs: Vec<u32>,
    /// Iterations in which it passed only after a rerun.
    pub reran: u64,
    /// Lines of evidence, at most a handful.
    pub evidence: Vec<String>,
}

impl Case {
    /// `failed in 2 of 75 iterations, 2.7 % (0.73 % to 9.2 %)`.
    pub fn sentence(&self) -> String {
        let count = self.rate.count;
        format!(
            "failed in {} of {} iterations, {}",
            count.failed(),
            count.of(),
            self.rate
        )
    }
}

/// A sweep, as far as the format can hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suite {
    pub name: String,
    pub started_at: Option<DateTime<Utc>>,
    /// When its last iteration ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Wall time of all its iterations together, in seconds.
    pub duration_s: Option<f64>,
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
    pub fn of(answers: Answers<'_>, rates: &TestRates, confidence: f64, words: &str) -> Suite {
        let Answers { spec, records, .. } = answers;
        let tests = rates.failing.iter().chain(&rates.never_failed);
        let mut cases: BTreeMap<&str, Case> = tests
            .map(|test| (test.nodeid.as_str(), Case::new(&test.nodeid, test.rate)))
            .collect();
        let mut session = Case::new("session", Rate::new(Count::default(), confidence, Method::Wilson));
        for record in answers.all().filter(|record| is_failed(record)) {
            let outcome = &record.outcome;
            match outcome.failing_tests.as_slice() {
                [] => session.add(
                    record,
                    outcome.evidence.iter().filter(|evidence| evidence.test.is_none()),
                ),
                // With one failing test there is no doubt which one evidence without a name is about.
                [test] => {
                    if let Some(case) = cases.get_mut(test.as_str()) {
                        let is_about = |evidence: &&Evidence| evidence.test.as_ref().is_none_or(|named| named == test);
                        case.add(record, outcome.evidence.iter().filter(is_about));
                    }
                }
                tests => {
                    let blame = Blame::of(outcome);
                    let mut about: BTreeMap<&str, Vec<&Evidence>> = BTreeMap::new();
                    for evidence in &outcome.evidence {
                        about
                            .entry(evidence.test.as_deref().unwrap_or_default())
                            .or_default()
                            .push(evidence);
                    }
                    for test in tests.iter().map(String::as_str).collect::<BTreeSet<_>>() {
                        if let Some(case) = cases.get_mut(test) {
                            case.take(record, about.get(test).into_iter().flatten().copied());
                            case.blame(blame.categories(test).iter().copied());
                        }
                    }
                }
            }
        }
        for record in answers.answered() {
            for test in record.outcome.reran.iter().collect::<BTreeSet<_>>() {
                if let Some(case) = cases.get_mut(test.as_str()) {
                    case.reran += 1;
                }
            }
        }
        let mut cases: Vec<Case> = cases.into_values().collect();
        // A sweep in which nothing says what was reached still has its sessions to report.
        if session.failed > 0 || cases.is_empty() {
            let count = Count::new(session.failed, answers.count().of()).unwrap_or_default();
            session.rate = Rate::new(count, confidence, answers.method());
            cases.push(session);
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        let errored = records
            .iter()
            .filter(|record| record.outcome.verdict == Verdict::Errored);
        let exits = || records.iter().filter_map(|record| record.exit.as_ref());
        let seconds: Vec<f64> = exits().filter_map(|exit| exit.duration_s).collect();
        Suite {
            name: answers.name(),
            started_at: exits()
                .filter_map(|exit| exit.started_at)
                .min()
                .or(spec.map(|spec| spec.created_at)),
            ended_at: exits().filter_map(Exit::ended_at).max(),
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

impl Case {
    fn new(name: &str, rate: Rate) -> Case {
        Case {
            name: name.to_owned(),
            rate,
            categories: Vec::new(),
            failed: 0,
            runs: Vec::new(),
            reran: 0,
            evidence: Vec::new(),
        }
    }

    /// Takes in an answer that failed, whose causes are the case's own, and what of its evidence is about the case.
    fn add<'a>(&mut self, record: &'a Record, about: impl Iterator<Item = &'a Evidence>) {
        let about: Vec<&Evidence> = about.collect();
        let categories = &record.outcome.categories;
        self.blame(about.iter().map(|evidence| evidence.category.as_str()));
        if about.is_empty() && categories.len() <= MOST_CATEGORIES {
            self.blame(categories.iter().map(String::as_str));
        }
        self.take(record, about.into_iter());
    }

    /// Adds causes.
    fn blame<'a>(&mut self, categories: impl Iterator<Item = &'a str>) {
        for category in categories {
            if !self.categories.iter().any(|known| known == category) {
                self.categories.push(category.to_owned());
            }
        }
    }

    /// Takes in an answer that failed, and what of its evidence is about the case.
    fn take<'a>(&mut self, record: &'a Record, about: impl Iterator<Item = &'a Evidence>) {
        self.failed += 1;
        if let Err(at) = self.runs.binary_search(&record.iteration) {
            self.runs.insert(at, record.iteration);
        }
        for evidence in about {
            if self.evidence.len() < MOST_EVIDENCE && !self.evidence.contains(&evidence.text) {
                self.evidence.push(evidence.text.clone());
            }
        }
    }
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
    use crate::judge::{Evidence, Outcome, OutcomeKind};
    use crate::stats::blame::Blame;
    use crate::stats::test_rate::TestTally;

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

    fn answers(records: &[Record]) -> Answers<'_> {
        Answers {
            dir: "serial".as_ref(),
            spec: None,
            records,
            replaced: &[],
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
        tally.add(Some(started), &Blame::default());
        tally.add(Some(started), &Blame::of(&records[1].outcome));
        tally.add(Some([]), &Blame::default());
        let rates = tally.rates(0.95, Method::Wilson);
        let suite = Suite::of(answers(&records), &rates, 0.95, "");
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
        let suite = Suite::of(answers(&records), &TestRates::default(), 0.95, "");
        assert_eq!(
            (suite.cases.len(), suite.cases[0].rate.count.to_string()),
            (1, "0/1".to_owned())
        );
    }
}
