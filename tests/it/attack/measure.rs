//! What is as large as a test, or who makes a bundle, wants it to be. The time of the processor is limited to several times
//! what work in proportion takes here, and to less than any other takes.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::cli::{Place, Ran};

/// Runs the tool with twenty seconds of the processor and 2 GiB of address space.
fn limited(place: &Place, words: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -t 20 && ulimit -v 2097152 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_reproduce-flaky"))
        .args(words)
        .current_dir(place.dir.path())
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "1");
    Ran::of(command.output().unwrap())
}

fn judged(place: &Place, run: &str) -> Value {
    let out = limited(place, &["classify", "--format", "json", run]).exits(0).out();
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_log_of_eight_thousand_failing_tests_is_judged_in_proportion_to_its_length() {
    let place = Place::passing();
    let dots = "F".repeat(72);
    let mut log = "===== test session starts =====\ncollected 8000 items\n\n".to_owned();
    for line in 1..=112 {
        let _ = writeln!(
            log,
            "{}{dots} [{:>3}%]",
            if line == 1 { "tests/test_a.py " } else { "" },
            line * 100 / 112
        );
    }
    log += "\n===== FAILURES =====\n";
    for number in 0..8000 {
        let _ = write!(
            log,
            "_____ test_{number} _____\n\n    def test_{number}():\n>       assert False, 'worker {number} is gone'\n\
             E       AssertionError: worker {number} is gone\n\ntests/test_a.py:{number}: AssertionError\n"
        );
    }
    log += "===== short test summary info =====\n";
    for number in 0..8000 {
        let _ = writeln!(
            log,
            "FAILED tests/test_a.py::test_{number} - AssertionError: worker {number} is gone"
        );
    }
    log += "===== 8000 failed in 9.99s =====\n";
    fs::create_dir(place.path("run001")).unwrap();
    fs::write(place.path("run001/run.log"), log).unwrap();
    let outcome = judged(&place, "run001");
    assert_eq!(outcome["outcome"], "failed");
    assert_eq!(outcome["failing_tests"].as_array().unwrap().len(), 8000);
}

#[test]
fn a_trail_of_very_many_tests_that_did_not_end_is_read_in_proportion_to_its_length() {
    let place = Place::passing();
    let mut trail = String::new();
    for number in 0..150_000 {
        let _ = writeln!(
            trail,
            r#"{{"event":"start","nodeid":"tests/test_a.py::test_{number}","worker":"gw{number}","pid":{},"at":1.5}}"#,
            number + 2
        );
    }
    fs::create_dir(place.path("run001")).unwrap();
    fs::write(place.path("run001/tests.jsonl"), trail).unwrap();
    fs::write(place.path("run001/run.log"), "===== test session starts =====\n").unwrap();
    fs::write(
        place.path("run001/exit.json"),
        r#"{"code":137,"signal":9,"ended_by":"silence"}"#,
    )
    .unwrap();
    assert_eq!(judged(&place, "run001")["outcome"], "hung");
}

#[test]
fn a_bundle_with_two_to_the_32_iterations_is_small_work() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let path = place.path("logs/serial/sweep.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["last"] = u32::MAX.into();
    fs::write(&path, spec.to_string()).unwrap();
    place.run(&["export", "logs/serial", "-o", "x.tar.zst"]).exits(0);
    limited(&place, &["import", "x.tar.zst", "--logs-dir", "in"]).exits(0);
    let out = limited(&place, &["summary", "in/serial"]).exits(0).out();
    assert!(out.contains("4294967294 iterations missing"), "{out}");
    limited(&place, &["status", "in/serial"]).exits(0);
}
