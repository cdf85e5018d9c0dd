//! What stays of answers that were replaced, of attempts that were lost, and of runs that passed.

use std::collections::BTreeSet;
use std::fs;

use reproduce_flaky::judge::{Outcome, OutcomeKind};
use reproduce_flaky::run::{self, Keep, Sweep};

use super::{ours, passed, record, rows, spec};

#[test]
fn retried_iterations_move_aside_with_their_rows_and_are_never_deleted() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    for iteration in 1..=3 {
        record(&sweep, iteration).unwrap();
    }
    for round in 1..=2 {
        sweep.retry(&[2, 9]).unwrap();
        assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 3]));
        assert!(
            sweep
                .dir()
                .join(format!(".attempts/run002.retried-{round}/run.log"))
                .exists()
        );
        record(&sweep, 2).unwrap();
        assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 2, 3]));
    }
}

#[test]
fn an_answer_that_was_replaced_is_read_back_with_the_others_however_often_that_was() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    for iteration in 1..=3 {
        let claim = ours(&sweep, iteration);
        let attempt = sweep.new_attempt(&claim).unwrap();
        let (exit, outcome) = (passed(iteration).0, Outcome::new(OutcomeKind::Failed));
        sweep.publish(claim, attempt, &exit, &outcome).unwrap();
    }
    for _ in 0..11 {
        sweep.retry(&[2]).unwrap();
        record(&sweep, 2).unwrap();
    }
    sweep.retry(&[3]).unwrap();
    let scan = run::scan(sweep.dir()).unwrap();
    let kinds = |runs: &[run::ScannedRun]| -> Vec<(u32, OutcomeKind)> {
        let kind = |run: &run::ScannedRun| (run.iteration, run.outcome.as_ref().unwrap().outcome);
        runs.iter().map(kind).collect()
    };
    assert_eq!(kinds(&scan.runs), [(1, OutcomeKind::Failed), (2, OutcomeKind::Passed)]);
    let mut expected = vec![(2, OutcomeKind::Failed)];
    expected.extend([(2, OutcomeKind::Passed); 10]);
    expected.push((3, OutcomeKind::Failed));
    assert_eq!(kinds(&scan.replaced), expected);
}

#[test]
fn attempts_that_were_lost_are_told_in_the_order_in_which_that_happened() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
    let claim = ours(&sweep, 1);
    for number in 1..=11 {
        let attempt = sweep.new_attempt(&claim).unwrap();
        sweep.lose(attempt, &format!("reason {number}")).unwrap();
    }
    let told: Vec<String> = sweep.lost(1).unwrap().into_iter().map(|(_, reason)| reason).collect();
    let expected: Vec<String> = (1..=11).map(|number| format!("reason {number}")).collect();
    assert_eq!(told, expected);
}

#[test]
fn of_a_judgement_that_has_no_measure_a_part_is_read_and_the_rest_counted() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
    record(&sweep, 1).unwrap();
    let mut outcome = serde_json::to_value(Outcome::new(OutcomeKind::Failed)).unwrap();
    outcome["categories"] = (0..100_000).map(|n| format!("C{n}")).collect();
    outcome["failing_tests"] = (0..100_000).map(|n| format!("t.py::test_{n}")).collect();
    let path = sweep.dir().join("run001/outcome.json");
    fs::write(&path, outcome.to_string()).unwrap();
    let read = run::scan(sweep.dir()).unwrap().runs.remove(0).outcome.unwrap();
    assert_eq!((read.categories.len(), read.failing_tests.len()), (64, 10_000));
    assert_eq!(
        read.notes,
        [
            "outcome.json has 99936 more categories",
            "outcome.json has 90000 more failing tests"
        ]
    );
    outcome["notes"] = vec!["x".repeat(33 << 20)].into();
    fs::write(&path, outcome.to_string()).unwrap();
    let run = run::scan(sweep.dir()).unwrap().runs.remove(0);
    assert!(run.outcome.is_none() && run.problem.unwrap().contains("failed to read outcome.json"));
}

#[test]
fn twenty_thousand_directories_that_a_test_nested_cost_no_answer() {
    let logs = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap().keep_logs(Keep::Failed);
    let claim = ours(&sweep, 1);
    let attempt = sweep.new_attempt(&claim).unwrap();
    let mut at = attempt.dirs().session.dir(".").unwrap();
    for _ in 0..20_000 {
        at = at.make_dir("d", 0o755).unwrap();
    }
    let (exit, outcome) = passed(1);
    sweep.publish(claim, attempt, &exit, &outcome).unwrap();
    let mut names: Vec<_> = fs::read_dir(sweep.dir().join("run001"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, [".exit_code", "exit.json", "outcome.json"]);
}

#[test]
fn of_iterations_that_passed_only_facts_stay_where_logs_are_kept_of_failures() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 2)).unwrap().keep_logs(Keep::Failed);
    for (iteration, kind) in [(1, OutcomeKind::Passed), (2, OutcomeKind::Failed)] {
        let claim = ours(&sweep, iteration);
        let mut attempt = sweep.new_attempt(&claim).unwrap();
        attempt.write_log(b"text\n").unwrap();
        let session = attempt.dirs().session.path();
        fs::create_dir(session.join("test_x[a]")).unwrap();
        fs::write(session.join("tests.jsonl"), "{}\n").unwrap();
        let outcome = Outcome::new(kind);
        sweep.publish(claim, attempt, &passed(iteration).0, &outcome).unwrap();
    }
    let names = |iteration| {
        let entries = fs::read_dir(sweep.dir().join(run::run_name(iteration))).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(1), [".exit_code", "exit.json", "outcome.json", "tests.jsonl"]);
    assert_eq!(
        names(2),
        [
            ".exit_code",
            "exit.json",
            "outcome.json",
            "run.log",
            "test_x[a]",
            "tests.jsonl"
        ]
    );
}

#[test]
fn a_corrupted_judgement_is_a_problem_of_its_run_and_of_no_other() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    for iteration in 1..=3 {
        record(&sweep, iteration).unwrap();
    }
    fs::write(
        sweep.dir().join("run002/outcome.json"),
        "{\"format\":1,\"verdict\":\"pas",
    )
    .unwrap();
    fs::write(sweep.dir().join("run003/exit.json"), "").unwrap();
    let runs = run::scan(sweep.dir()).unwrap().runs;
    assert!(runs[0].problem.is_none());
    assert!(runs[1].outcome.is_none() && runs[1].problem.as_ref().unwrap().contains("outcome.json is corrupted"));
    // The code is written down twice.
    assert_eq!(runs[2].exit.as_ref().unwrap().code, Some(0));
    assert!(runs[2].outcome.is_some() && runs[2].problem.is_some());
}
