//! What a kill leaves at any moment, and how lines and rows are mended.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reproduce_flaky::run::{self, Rebuilt, Sweep};

use super::{Process, passed, record, records, rows, spec};

#[test]
fn nothing_announced_is_lost_or_doubled_when_a_process_is_killed_at_any_moment() {
    let logs = tempfile::tempdir().unwrap();
    let dir = logs.path().join("serial");
    let mut announced = BTreeSet::new();
    for kill in 0..12_u64 {
        let mut process = Process::start("record", logs.path(), 1, 4000);
        for _ in 0..=kill % 4 + 1 {
            announced.extend(process.line().and_then(|line| line.parse::<u32>().ok()));
        }
        // Lands at another step of publishing each time.
        let begun = std::time::Instant::now();
        while begun.elapsed().as_micros() < u128::from(kill * 170) {}
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        while let Some(line) = process.line() {
            announced.extend(line.parse::<u32>().ok());
        }
        let scan = run::scan(&dir).unwrap();
        let recorded: BTreeSet<u32> = scan.runs.iter().map(|run| run.iteration).collect();
        assert!(recorded.is_superset(&announced), "{announced:?} {recorded:?}");
        for run in scan.runs {
            assert!(
                run.exit.is_some() && run.outcome.is_some() && run.problem.is_none(),
                "{run:?}"
            );
        }
    }
    let last = u32::try_from(announced.len()).unwrap() + 20;
    Process::start("record", logs.path(), 1, last).ends_well();
    let recorded = run::recorded(&dir).unwrap();
    assert!(recorded.is_superset(&(1..=last).collect()));
    assert_eq!(rows(&dir), recorded);
}

/// Leaves what a process that was killed leaves: a claim that nobody holds and an attempt with these files.
fn leave_half(dir: &Path, files: &[(&str, &str)]) {
    fs::write(dir.join(".claims/002.lock"), "").unwrap();
    let attempt = dir.join(".attempts/run002.gone-1-1");
    fs::create_dir(&attempt).unwrap();
    for (name, text) in files {
        fs::write(attempt.join(name), text).unwrap();
    }
}

#[test]
fn whatever_a_kill_leaves_before_the_rename_is_no_answer_and_runs_again() {
    let exit = serde_json::to_string(&passed(2).0).unwrap();
    let outcome = serde_json::to_string(&passed(2).1).unwrap();
    let log = ("run.log", "collected 1 item\n");
    let states: [&[(&str, &str)]; 5] = [
        &[log],
        &[log, (".new-x1y2z3", &exit[..20])],
        &[log, ("exit.json", &exit)],
        &[log, ("exit.json", &exit), ("outcome.json", &outcome)],
        &[
            log,
            ("exit.json", &exit),
            ("outcome.json", &outcome),
            (".exit_code", "0\n"),
        ],
    ];
    for files in states {
        let logs = tempfile::tempdir().unwrap();
        let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
        record(&sweep, 1).unwrap();
        leave_half(sweep.dir(), files);
        let again = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
        assert_eq!(again.recorded().unwrap(), BTreeSet::from([1]), "{files:?}");
        for iteration in 1..=3 {
            assert_eq!(record(&again, iteration).is_some(), iteration != 1);
        }
        assert_eq!(
            again.rebuild(&records(again.dir()), "done\n").unwrap(),
            Rebuilt::Current
        );
        assert_eq!(rows(again.dir()), BTreeSet::from([1, 2, 3]));
        assert!(
            again.dir().join(".attempts/run002.gone-1-1/run.log").exists(),
            "evidence stays"
        );
    }
}

#[test]
fn a_kill_between_rename_and_row_costs_nothing_and_torn_lines_are_mended() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 4)).unwrap();
    for iteration in [1, 2, 3] {
        record(&sweep, iteration).unwrap();
    }
    let dir = sweep.dir();
    let lines = fs::read_to_string(dir.join("results.txt")).unwrap();
    // Row 2 was never written, row 3 was cut short by a full disk.
    let cut = format!("{}\nrun003: PAS", lines.lines().next().unwrap());
    fs::write(dir.join("results.txt"), cut).unwrap();
    fs::write(dir.join("events.jsonl"), "{\"event\":\"sweep_st").unwrap();
    let again = Sweep::open(logs.path(), &spec(1, 4)).unwrap();
    record(&again, 4).unwrap();
    let text = fs::read_to_string(dir.join("results.txt")).unwrap();
    assert!(text.ends_with("\nrun004: PASSED (exit 0)\n"), "{text}");
    again.rebuild(&records(dir), "").unwrap();
    assert_eq!(rows(dir), (1..=4).collect());
}

#[test]
fn a_rebuild_keeps_what_others_published_meanwhile_and_says_that_it_was_behind() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    record(&sweep, 1).unwrap();
    let seen = records(sweep.dir());
    record(&Sweep::open(logs.path(), &spec(1, 3)).unwrap(), 2).unwrap();
    assert_eq!(sweep.rebuild(&seen, "one\n").unwrap(), Rebuilt::Behind);
    assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 2]));
    assert_eq!(sweep.rebuild(&records(sweep.dir()), "two\n").unwrap(), Rebuilt::Current);
    assert_eq!(fs::read_to_string(sweep.dir().join("summary.txt")).unwrap(), "two\n");
}
