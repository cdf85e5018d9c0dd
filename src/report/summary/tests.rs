//! What a small sweep of every kind comes to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::judge::{Evidence, Exit, Outcome};
use crate::stats::Method;
use crate::stats::blame::Blame;
use crate::stats::test_rate::TestTally;

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
    summary_with(records, &[])
}

fn summary_with(records: &[Record], replaced: &[Record]) -> Summary {
    let mut tally = TestTally::default();
    for record in records
        .iter()
        .chain(replaced)
        .filter(|record| record.outcome.verdict != Verdict::Errored)
    {
        tally.add(None::<[&str; 0]>, &Blame::of(&record.outcome));
    }
    let class = |id: &str| Class {
        id: id.to_owned(),
        title: format!("{id} in words"),
        advice: String::new(),
    };
    let answers = Answers {
        dir: "logs/serial_fix8".as_ref(),
        spec: None,
        records,
        replaced,
    };
    Summary::of(&Source {
        answers,
        tests: &tally.rates(0.95, answers.method()),
        classes: &[class("A2"), class("A1"), class("A5")],
        unknown: &[],
        running: 0,
        starved: &[],
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
    assert_eq!(
        (first.nodeid.as_str(), first.rate.count.to_string()),
        ("t.py::a", "2/6".to_owned())
    );
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
fn an_answer_that_another_replaced_counts_in_every_rate() {
    let passed: Vec<Record> = (1..=6)
        .map(|iteration| record(iteration, OutcomeKind::Passed, &[]))
        .collect();
    let failed = |iteration| record(iteration, OutcomeKind::Failed, &[("A1", "t.py::a")]);
    let summary = summary_with(&passed, &[failed(2), failed(4), failed(6)]);
    assert_eq!((summary.iterations.recorded, summary.iterations.failed), (6, 0));
    assert_eq!(
        summary.rate.sentence(),
        "3/9 failed: 33 % (95 % interval: 4.3 % to 78 %)"
    );
    assert_eq!(summary.rate.method, Method::ConfidenceSequence);
    let category = &summary.categories[0];
    assert_eq!(
        (category.rate, &category.runs[..]),
        (Some(summary.rate), &[2, 4, 6][..])
    );
    assert_eq!(summary.tests[0].rate, summary.rate);
    assert_eq!(
        summary.notes,
        [
            "3 answers were replaced by --retry (3 failed), and every answer counts: intervals are those that may be watched"
        ]
    );
    let errored = summary_with(&passed, &[record(2, OutcomeKind::Infra, &[("A5", "t.py::a")])]);
    assert_eq!(errored.rate.method, Method::Wilson);
    assert_eq!(errored.notes, ["1 answer was replaced by --retry (1 errored)"]);
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
