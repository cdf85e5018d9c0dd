//! What is done with judgements from outside: stored again, compared under other signatures, grouped, looked at.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::place::run;

const HEADER: &str = "============================= test session starts ==============================\n\
    platform linux -- Python 3.11.2, pytest-8.3.4, pluggy-1.5.0\nrootdir: /workspace\ncollected 2 items\n\n\
    tests/test_queue.py::test_put PASSED [ 50%]\n";

/// A tree as the old script left it: eight iterations, of which 3 and 5 failed alike; the code of 5 is wrong.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for iteration in 1..=8 {
        let is_failed = [3, 5].contains(&iteration);
        let log = if is_failed { failed(iteration) } else { passed() };
        put(dir.path(), iteration, &log, if iteration == 3 { "1\n" } else { "0\n" });
    }
    dir
}

fn put(dir: &Path, iteration: u32, log: &str, code: &str) {
    let run = dir.join(format!("logs/n4_old/run{iteration:03}"));
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("pytest.log"), log).unwrap();
    fs::write(run.join(".exit_code"), code).unwrap();
}

fn passed() -> String {
    format!(
        "{HEADER}tests/test_queue.py::test_drain PASSED [100%]\n\n\
        ============================== 2 passed in 0.40s ===============================\n"
    )
}

/// A log with a failure that no signature covers; its numbers and addresses differ from one iteration to the next.
fn failed(iteration: u32) -> String {
    let message = format!(
        "QueueError: queue {} lost {iteration} messages at 10.0.0.{iteration}:4222",
        iteration * 7
    );
    format!(
        "{HEADER}tests/test_queue.py::test_drain FAILED [100%]\n\n\
        =================================== FAILURES ===================================\n\
        __________________________________ test_drain __________________________________\n\n\
        \u{20}   def test_drain():\n>       drain()\nE       {message}\n\ntests/test_queue.py:9: QueueError\n\
        =========================== short test summary info ============================\n\
        FAILED tests/test_queue.py::test_drain - {message}\n\
        ========================= 1 failed, 1 passed in 0.40s ==========================\n"
    )
}

/// What the tool prints when it has done its work.
fn out(dir: &Path, words: &[&str]) -> String {
    let (code, out, err) = run(dir, words);
    assert_eq!(code, 0, "{out}{err}");
    out
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_suggested_rule_is_accepted_and_says_which_runs_it_would_change() {
    let dir = tree();
    let rule = out(dir.path(), &["signatures", "suggest", "logs", "--id", "C1"]);
    fs::write(dir.path().join("rules.toml"), &rule).unwrap();
    let checked = out(dir.path(), &["signatures", "check", "rules.toml", "--against", "logs"]);
    assert_eq!(
        checked,
        "1 signature, 1 example: all behave\n\
        logs/n4_old/run003: failed UNKNOWN -> failed C1\n\
        logs/n4_old/run005: failed UNKNOWN -> failed C1\n\
        2 of 8 runs would change\n"
    );
    let words = [
        "signatures",
        "check",
        "rules.toml",
        "--against",
        "logs",
        "--format",
        "json",
    ];
    let checked: Value = serde_json::from_str(&out(dir.path(), &words)).unwrap();
    assert_eq!(
        (checked["runs"].as_u64(), checked["examples"].as_u64()),
        (Some(8), Some(1))
    );
    assert_eq!(checked["changed"][1]["path"], "logs/n4_old/run005");
    assert_eq!(checked["changed"][1]["after"]["categories"], serde_json::json!(["C1"]));
    // Judging again for the answer has written nothing.
    assert!(!dir.path().join("logs/n4_old/run003/outcome.json").exists());
}

#[test]
fn a_group_of_unknown_failures_keeps_its_id_as_runs_are_added() {
    let dir = tree();
    let groups = |dir: &Path| -> Vec<Value> {
        let text = out(dir, &["signatures", "suggest", "logs", "--format", "json"]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = groups(dir.path());
    assert_eq!(
        (before.len(), before[0]["failures"].as_u64()),
        (1, Some(2)),
        "{before:?}"
    );
    assert_eq!(before[0]["iterations"], serde_json::json!([3, 5]));
    put(dir.path(), 9, &failed(9), "1\n");
    put(
        dir.path(),
        10,
        &failed(10).replace("QueueError: queue", "KeyError: queue"),
        "1\n",
    );
    let after = groups(dir.path());
    assert_eq!((after.len(), after[0]["failures"].as_u64()), (2, Some(3)), "{after:?}");
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_ne!(after[1]["id"], before[0]["id"]);
    let (code, _, err) = run(dir.path(), &["signatures", "suggest", "logs", "--group", "U-none"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("no group `U-none`") && err.contains(after[0]["id"].as_str().unwrap()),
        "{err}"
    );
}

#[test]
fn a_new_judgement_is_stored_beside_the_facts_and_the_derived_files_follow() {
    let dir = tree();
    let sweep = dir.path().join("logs/n4_old");
    fs::write(sweep.join("results.txt"), "run003: FAILED (exit 1)\n").unwrap();
    fs::write(sweep.join("summary.txt"), "written by the script\n").unwrap();
    out(dir.path(), &["classify", "--write", "logs"]);
    assert!(
        read(&sweep.join("results.txt")).contains("run005: FAILED (exit 0) UNKNOWN tests/test_queue.py::test_drain\n")
    );
    assert!(read(&sweep.join("summary.txt")).contains("2/8 failed"));
    // What the script wrote may be all that is known of a code.
    assert_eq!(read(&sweep.join("results.txt.script")), "run003: FAILED (exit 1)\n");
    assert_eq!(read(&sweep.join("summary.txt.script")), "written by the script\n");
    let rule = out(dir.path(), &["signatures", "suggest", "logs", "--id", "C1"]);
    fs::write(dir.path().join("rules.toml"), &rule).unwrap();
    let code = sweep.join("run003/.exit_code");
    let facts = (read(&code), code.metadata().unwrap().modified().unwrap());
    out(
        dir.path(),
        &["classify", "--write", "--signatures", "rules.toml", "logs"],
    );
    let shown = out(dir.path(), &["show", "n4_old", "5"]);
    assert!(shown.contains("failed C1 (failed)"), "{shown}");
    let outcome: Value = serde_json::from_str(&read(&sweep.join("run005/outcome.json"))).unwrap();
    assert_eq!(outcome["categories"], serde_json::json!(["C1"]));
    assert_eq!(facts, (read(&code), code.metadata().unwrap().modified().unwrap()));
    assert!(read(&sweep.join("results.csv")).contains("\n5,failed,failed,C1,"));
    assert!(read(&sweep.join("summary.txt")).contains("C1  Failure of test_drain: 2/8"));
    assert_eq!(read(&sweep.join("results.txt.script")), "run003: FAILED (exit 1)\n");
}

#[test]
fn one_run_is_shown_with_its_evidence_in_context_and_how_to_repeat_it() {
    let dir = tree();
    let shown = out(dir.path(), &["show", "logs/n4_old/run005"]);
    assert_eq!(out(dir.path(), &["show", "n4_old", "5"]), shown);
    for words in [
        "UNKNOWN pytest.log:14, tests/test_queue.py::test_drain",
        ">      14 | E       QueueError: queue 35 lost 5 messages at 10.0.0.5:4222",
        "exit code 0",
        "reproduce-flaky replay logs/n4_old/run005",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let (code, _, err) = run(dir.path(), &["show", "n4_old", "80"]);
    assert!(code != 0 && err.contains("80") && err.contains("hint:"), "{err}");
}
