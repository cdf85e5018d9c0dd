//! What a sweep came to: the value behind every report, a pure function of its records.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::drift::{Drift, Point, Row};
use super::durations::Durations;
use super::side::iterations;
use super::test_rate::{TestRate, TestRates};
use super::{OutcomeKind, Record, Spec, Verdict};
use crate::stats::{self, Count};

mod names;
mod run;

pub use names::{ranges, split_name};
pub use run::{Run, blame, blame_of};

/// What a category means, as the signatures say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Id of the signature.
    pub id: String,
    /// A few words for tables.
    pub title: String,
    /// What to look at; empty where nobody wrote any.
    pub advice: String,
}

/// Everything that is known of a sweep and goes into its summary.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The sweep's directory, as the user would type it.
    pub sweep: &'a str,
    /// What was asked for; `None` in trees of the script.
    pub spec: Option<&'a Spec>,
    /// Its iterations, in order.
    pub records: &'a [Record],
    /// How often tests failed of how often they were reached.
    pub tests: &'a TestRates,
    /// The categories in the order of the signatures.
    pub classes: &'a [Class],
    /// Iterations that some process is running now.
    pub running: u64,
    /// What of the sweep could not be read.
    pub problems: &'a [String],
    /// Confidence of the intervals.
    pub confidence: f64,
}

/// A sweep in figures. As JSON it is the contract of `summary --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Version of this layout, 1.
    pub format: u32,
    /// The sweep's directory, as the user would type it.
    pub sweep: String,
    /// `serial`, `n4` …; `None` where neither the specification nor the name says it.
    pub mode: Option<String>,
    /// `--tag`.
    pub tag: Option<String>,
    /// How many iterations there are of which kind.
    pub iterations: Iterations,
    /// Failed of passed or failed.
    pub rate: Rate,
    /// Iterations by outcome, the strongest first; only those that occur.
    #[serde(serialize_with = "as_map")]
    pub outcomes: Vec<(OutcomeKind, u64)>,
    /// Categories that occur, in the order of the signatures.
    pub categories: Vec<Category>,
    /// Tests that failed, the most frequent first.
    pub tests: Vec<Test>,
    /// Failing tests with parameters, all variants of one taken together: `test_indexers_sync[*]`.
    pub test_groups: Vec<Test>,
    /// Stretches with one rate; one where nothing changed.
    pub regimes: Vec<Row>,
    /// Chance that one constant rate splits as well as the first split; `None` without results.
    pub regime_p: Option<f64>,
    /// Wall times of iterations.
    pub durations_s: Durations,
    /// What a reader must know, a sentence each.
    pub notes: Vec<String>,
    /// Iterations that did not pass, in order.
    pub not_passed: Vec<Run>,
    /// Iterations that passed, in order.
    #[serde(skip)]
    pub passed: Vec<Run>,
    /// Whether `of` of a test counts every iteration, since some do not say which tests they reached.
    #[serde(skip)]
    pub is_reach_assumed: bool,
    /// What ran: image and arguments; `None` in trees of the script.
    pub conditions: Option<Conditions>,
}

/// How many iterations there are of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Iterations {
    /// Asked for so far; in trees of the script, from the first that is there to the last.
    pub planned: u64,
    /// With an answer.
    pub recorded: u64,
    /// Nothing failed.
    pub passed: u64,
    /// Something failed.
    pub failed: u64,
    /// They say nothing about the tests, and are in no rate.
    pub errored: u64,
    /// Without an answer.
    pub missing: u64,
}

/// A failure rate with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Failed of passed or failed.
    #[serde(flatten)]
    pub count: Count,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Its confidence.
    pub confidence: f64,
    /// How it was made.
    pub method: Method,
}

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// For a number of iterations that was fixed beforehand.
    Wilson,
    /// For one that depends on what they showed, since a stop rule ended the sweep.
    ConfidenceSequence,
}

impl Rate {
    fn new(failed: u64, of: u64, confidence: f64, method: Method) -> Rate {
        let count = Count::new(failed, of).unwrap_or_default();
        let (low, high) = match method {
            Method::Wilson => count.interval(confidence),
            Method::ConfidenceSequence => stats::confidence_sequence(count, 1.0 - confidence),
        };
        Rate {
            count,
            low,
            high,
            confidence,
            method,
        }
    }
}

/// One category over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Category {
    /// Id of the signature, or `UNKNOWN`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// Iterations it was seen in.
    pub iterations: u64,
    /// Failed iterations it was seen in, of passed or failed; `None` where it was only seen in errored ones.
    pub rate: Option<Rate>,
    /// Numbers of the iterations.
    pub runs: Vec<u32>,
    /// Iterations by test that failed with it.
    pub tests: BTreeMap<String, u64>,
    /// What to look at; empty where nobody wrote any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// One failing test over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// Its id.
    pub nodeid: String,
    /// Iterations in which it failed.
    pub failed: u64,
    /// Iterations in which it was reached, where they say so; else those that passed or failed.
    pub of: u64,
    /// Lower end of Wilson's interval of its rate.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Categories of its failures.
    pub categories: Vec<String>,
    /// Variants that are taken together, 1 for a test of its own.
    #[serde(skip)]
    pub variants: usize,
}

/// What ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conditions {
    /// Image as the user named it; empty for processes of this machine.
    pub image: String,
    /// Identity of what was found under that name.
    pub image_id: Option<String>,
    /// Where attempts executed.
    pub backend: &'static str,
    /// Node ids and arguments handed to pytest.
    pub pytest_args: Vec<String>,
}

impl Summary {
    /// Summarizes a sweep.
    #[must_use]
    pub fn of(source: &Source<'_>) -> Summary {
        let Source {
            sweep,
            spec,
            records,
            confidence,
            ..
        } = *source;
        let n_with = |verdict| {
            records
                .iter()
                .filter(|record| record.outcome.verdict == verdict)
                .count() as u64
        };
        let (passed, failed) = (n_with(Verdict::Passed), n_with(Verdict::Failed));
        let missing = missing(spec, records);
        let recorded = records.len() as u64;
        let drift = Drift::of(records.iter().filter_map(Point::of).collect());
        let durations = durations(records);
        let (mode, tag) = match spec {
            Some(spec) => (Some(spec.mode), spec.tag.clone()),
            None => split_name(sweep),
        };
        let (passed_runs, not_passed): (Vec<Run>, Vec<Run>) = records
            .iter()
            .map(Run::of)
            .partition(|run| run.verdict == Verdict::Passed);
        Summary {
            format: 1,
            sweep: sweep.to_owned(),
            mode: mode.map(|mode| mode.to_string()),
            tag,
            iterations: Iterations {
                planned: recorded + missing.len() as u64,
                recorded,
                passed,
                failed,
                errored: n_with(Verdict::Errored),
                missing: missing.len() as u64,
            },
            rate: Rate::new(failed, passed + failed, confidence, method(spec)),
            outcomes: OutcomeKind::ALL
                .into_iter()
                .map(|kind| {
                    (
                        kind,
                        records.iter().filter(|record| record.outcome.outcome == kind).count() as u64,
                    )
                })
                .filter(|(_, n)| *n > 0)
                .collect(),
            categories: categories(source, passed + failed),
            tests: tests(&source.tests.failing, source.classes),
            test_groups: tests(&source.tests.groups, source.classes),
            notes: notes(source, &missing, &drift, &durations),
            regimes: drift.regimes,
            regime_p: drift.regime_p,
            durations_s: durations,
            not_passed,
            passed: passed_runs,
            is_reach_assumed: source.tests.failing.iter().any(|test| test.is_assumed),
            conditions: spec.map(|spec| Conditions {
                image: spec.image.clone(),
                image_id: spec.image_id.clone(),
                backend: spec.backend.as_str(),
                pytest_args: spec.pytest_args.clone(),
            }),
        }
    }

    /// First and last iteration that is recorded.
    #[must_use]
    pub fn span(&self) -> Option<(u32, u32)> {
        let numbers = || self.not_passed.iter().chain(&self.passed).map(|run| run.iteration);
        Some((numbers().min()?, numbers().max()?))
    }
}

/// The interval that the end of a sweep calls for.
fn method(spec: Option<&Spec>) -> Method {
    match spec.and_then(Spec::stop_rule) {
        Some(_) => Method::ConfidenceSequence,
        None => Method::Wilson,
    }
}

/// Iterations that were asked for and have no answer.
fn missing(spec: Option<&Spec>, records: &[Record]) -> Vec<u32> {
    let recorded: BTreeSet<u32> = records.iter().map(|record| record.iteration).collect();
    let asked = match spec {
        Some(spec) => Some((spec.first, spec.last)),
        None => recorded.first().copied().zip(recorded.last().copied()),
    };
    asked.map_or_else(Vec::new, |(first, last)| {
        (first..=last)
            .filter(|iteration| !recorded.contains(iteration))
            .collect()
    })
}

fn durations(records: &[Record]) -> Durations {
    let known = records
        .iter()
        .filter_map(|record| Some((record.outcome.verdict, record.exit.as_ref()?.duration_s?)));
    Durations::of(&known.collect::<Vec<_>>())
}

fn categories(source: &Source<'_>, of: u64) -> Vec<Category> {
    let mut found: BTreeMap<&str, Category> = BTreeMap::new();
    let mut n_failed: BTreeMap<&str, u64> = BTreeMap::new();
    for record in source.records {
        let ids: BTreeSet<&str> = record.outcome.categories.iter().map(String::as_str).collect();
        let blamed = blame(&record.outcome);
        for id in ids {
            let category = found.entry(id).or_insert_with(|| Category {
                id: id.to_owned(),
                title: String::new(),
                iterations: 0,
                rate: None,
                runs: Vec::new(),
                tests: BTreeMap::new(),
                advice: String::new(),
            });
            category.iterations += 1;
            category.runs.push(record.iteration);
            *n_failed.entry(id).or_default() += u64::from(record.outcome.verdict == Verdict::Failed);
            for (test, _) in blamed.iter().filter(|(_, categories)| categories.contains(id)) {
                *category.tests.entry((*test).to_owned()).or_default() += 1;
            }
        }
    }
    let mut categories: Vec<Category> = found.into_values().collect();
    for category in &mut categories {
        let failed = n_failed[category.id.as_str()];
        category.rate = (failed > 0).then(|| Rate::new(failed, of, source.confidence, method(source.spec)));
        if let Some(class) = source.classes.iter().find(|class| class.id == category.id) {
            category.title.clone_from(&class.title);
            category.advice.clone_from(&class.advice);
        } else {
            "not covered by a signature".clone_into(&mut category.title);
        }
    }
    categories.sort_by_key(|category| place(source.classes, &category.id));
    categories
}

/// Where a category stands among the signatures; what no signature has comes last.
fn place(classes: &[Class], id: &str) -> usize {
    classes.iter().position(|class| class.id == id).unwrap_or(classes.len())
}

fn tests(rates: &[TestRate], classes: &[Class]) -> Vec<Test> {
    let tests = rates.iter().map(|test| {
        let mut categories: Vec<String> = test.categories.keys().cloned().collect();
        categories.sort_by_key(|id| place(classes, id));
        Test {
            nodeid: test.nodeid.clone(),
            failed: test.rate.count.failed(),
            of: test.rate.count.of(),
            low: test.rate.low,
            high: test.rate.high,
            categories,
            variants: test.variants,
        }
    });
    tests.collect()
}

/// What a reader must know before believing the figures.
fn notes(source: &Source<'_>, missing: &[u32], drift: &Drift, durations: &Durations) -> Vec<String> {
    let mut notes = Vec::new();
    let numbers = |is: &dyn Fn(&Record) -> bool| -> Vec<u32> {
        source
            .records
            .iter()
            .filter(|record| is(record))
            .map(|record| record.iteration)
            .collect()
    };
    let mut listed = |numbers: &[u32], words: &str| {
        if !numbers.is_empty() {
            notes.push(format!(
                "{} {words}: {}",
                iterations(numbers.len() as u64),
                ranges(numbers)
            ));
        }
    };
    if source.running == 0 {
        listed(missing, "missing");
    }
    let errored = numbers(&|record| record.outcome.verdict == Verdict::Errored);
    listed(&errored, "errored, outside the rate");
    let code = |record: &Record| record.exit.as_ref().and_then(|exit| exit.code);
    let lied = numbers(&|record| record.outcome.verdict == Verdict::Failed && code(record) == Some(0));
    listed(&lied, "failed with exit code 0");
    let excused =
        numbers(&|record| record.outcome.verdict == Verdict::Passed && code(record).is_some_and(|code| code != 0));
    listed(&excused, "passed although the exit code was not 0");
    if source.running > 0 {
        notes.push(format!(
            "still running, {} in flight: figures of this moment",
            iterations(source.running)
        ));
    }
    if let Some(rule) = source.spec.and_then(Spec::stop_rule) {
        notes.push(format!(
            "ended by its stop rule `{rule}`: intervals are those that may be watched"
        ));
    }
    notes.extend(drift.sentences());
    notes.extend(durations.notes());
    notes.extend(source.problems.iter().cloned());
    for record in source.records {
        notes.extend(
            record
                .problem
                .iter()
                .map(|problem| format!("iteration {}: {problem}", record.iteration)),
        );
    }
    notes
}

fn as_map<S: Serializer>(outcomes: &[(OutcomeKind, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(outcomes.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::test_rate::TestTally;
    use super::super::{Evidence, Exit, Outcome};
    use super::*;

    fn record(iteration: u32, kind: OutcomeKind, failures: &[(&str, &str)]) -> Record {
        let mut outcome = Outcome::new(kind);
        outcome.categories = failures.iter().map(|failure| failure.0.to_owned()).collect();
        outcome.failing_tests = failures.iter().map(|failure| failure.1.to_owned()).collect();
        outcome.evidence = failures
            .iter()
            .map(|(category, test)| Evidence {
                category: (*category).to_owned(),
                file: "run.log".to_owned(),
                line: Some(12),
                text: format!("{category} happened"),
                test: Some((*test).to_owned()),
                worker: Some("gw1".to_owned()),
            })
            .collect();
        Record {
            iteration,
            dir: PathBuf::from(format!("logs/serial/run{iteration:03}")),
            exit: Some(Exit {
                code: Some(i32::from(kind != OutcomeKind::Passed)),
                duration_s: Some(10.0),
                ..Exit::default()
            }),
            outcome,
            problem: None,
        }
    }

    fn summary(records: &[Record]) -> Summary {
        let mut tally = TestTally::default();
        for record in records
            .iter()
            .filter(|record| record.outcome.verdict != Verdict::Errored)
        {
            tally.add(None::<[&str; 0]>, &blame(&record.outcome));
        }
        let class = |id: &str| Class {
            id: id.to_owned(),
            title: format!("{id} in words"),
            advice: String::new(),
        };
        Summary::of(&Source {
            sweep: "logs/serial_fix8",
            spec: None,
            records,
            tests: &tally.rates(0.95),
            classes: &[class("A2"), class("A1"), class("A5")],
            running: 0,
            problems: &[],
            confidence: 0.95,
        })
    }

    fn mixed() -> Vec<Record> {
        let mut records: Vec<Record> = (3..=10)
            .map(|iteration| record(iteration, OutcomeKind::Passed, &[]))
            .collect();
        records[1] = record(4, OutcomeKind::Failed, &[("A1", "t.py::a"), ("A2", "t.py::b")]);
        records[3] = record(6, OutcomeKind::Failed, &[("UNKNOWN", "t.py::a")]);
        records[4] = record(7, OutcomeKind::Infra, &[("A5", "t.py::a")]);
        records.remove(6);
        records
    }

    #[test]
    fn iterations_are_counted_once_and_errored_ones_are_in_no_denominator() {
        let summary = summary(&mixed());
        let expected = Iterations {
            planned: 8,
            recorded: 7,
            passed: 4,
            failed: 2,
            errored: 1,
            missing: 1,
        };
        assert_eq!(summary.iterations, expected);
        assert_eq!(summary.rate.count.to_string(), "2/6");
        assert_eq!(
            summary.notes,
            ["1 iteration missing: 9", "1 iteration errored, outside the rate: 7"]
        );
        assert_eq!(
            (summary.mode.as_deref(), summary.tag.as_deref()),
            (Some("serial"), Some("fix8"))
        );
        assert_eq!(summary.span(), Some((3, 10)));
    }

    #[test]
    fn categories_are_in_the_order_of_the_signatures_with_the_tests_they_belong_to() {
        let summary = summary(&mixed());
        let shown: Vec<_> = summary
            .categories
            .iter()
            .map(|category| {
                let rate = category.rate.map(|rate| rate.count.to_string());
                (
                    category.id.as_str(),
                    rate.unwrap_or_default(),
                    category.runs.clone(),
                    category.tests.len(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("A2", "1/6".to_owned(), vec![4], 1),
                ("A1", "1/6".to_owned(), vec![4], 1),
                ("A5", String::new(), vec![7], 1),
                ("UNKNOWN", "1/6".to_owned(), vec![6], 1),
            ]
        );
        assert_eq!(summary.categories[0].tests, BTreeMap::from([("t.py::b".to_owned(), 1)]));
        let first = &summary.tests[0];
        assert_eq!((first.nodeid.as_str(), first.failed, first.of), ("t.py::a", 2, 6));
        assert_eq!(first.categories, ["A1", "UNKNOWN"]);
    }

    #[test]
    fn the_json_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(summary(&mixed())).unwrap();
        for (place, keys) in [
            (
                "",
                "format sweep mode tag iterations rate outcomes categories tests regimes regime_p durations_s notes",
            ),
            ("/iterations", "planned recorded passed failed errored missing"),
            ("/rate", "failed of low high confidence method"),
            ("/categories/0", "id title iterations rate runs tests"),
            ("/categories/0/rate", "failed of low high confidence method"),
            ("/tests/0", "nodeid failed of categories"),
            ("/regimes/0", "first last failed of"),
        ] {
            for key in keys.split(' ') {
                assert!(json.pointer(place).unwrap().get(key).is_some(), "{place}/{key}");
            }
        }
        assert_eq!(
            json["outcomes"],
            serde_json::json!({"failed": 2, "infra": 1, "passed": 4})
        );
        assert_eq!(json["rate"]["method"], "wilson");
    }

    #[test]
    fn exit_codes_that_lied_are_told() {
        let mut records = mixed();
        records[1].exit.as_mut().unwrap().code = Some(0);
        records[0].exit.as_mut().unwrap().code = Some(1);
        let notes = summary(&records).notes;
        assert!(
            notes.contains(&"1 iteration failed with exit code 0: 4".to_owned()),
            "{notes:?}"
        );
        assert!(notes.contains(&"1 iteration passed although the exit code was not 0: 3".to_owned()));
    }

    #[test]
    fn nothing_recorded_is_a_summary_too() {
        let summary = summary(&[]);
        assert_eq!(summary.iterations, Iterations::default());
        assert_eq!((summary.rate.low, summary.rate.high), (0.0, 1.0));
        assert!(summary.regimes.is_empty() && summary.span().is_none());
    }
}
