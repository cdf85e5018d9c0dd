//! Replays of a crash that needs three tests out of forty before it, on this machine and in real containers.

mod hangs;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::{Place, Ran};
use crate::engine;

/// Forty tests, two of which carry a blank, brackets and colons in their names, and one that aborts if three of them ran
/// before it in the same process: always, or in 60 of 100 runs, drawn from the number of the run and of the
/// tests before it.
const SUITE: &str = r#"
import hashlib, os, pytest

seen = []
needed = {"3", "b [x] :: y", "31"}

@pytest.mark.parametrize("name", [str(n) for n in range(38)] + ["a b", "b [x] :: y"])
def test_part(name):
    seen.append(name)

def test_victim():
    if not needed <= set(seen):
        return
    share = float(os.environ.get("RATE", "1"))
    number = os.environ.get("REPRODUCE_FLAKY_REPLAY", "0")
    drawn = hashlib.sha256(f"{number} {seen}".encode()).digest()[0] / 256
    if number == "0" or drawn < share:
        assert os.environ["REPRODUCE_FLAKY_ITERATION"] == "1"
        os.abort()
"#;

/// A second file whose tests run in between and at the end, so that the order is not that of one file.
const OTHER: &str = "import pytest\n\n@pytest.mark.parametrize('n', range(5))\ndef test_other(n):\n    pass\n";

const THREE: [&str; 3] = [
    "test_a.py::test_part[3]",
    "test_a.py::test_part[31]",
    "test_a.py::test_part[b [x] :: y]",
];
const VICTIM: &str = "test_a.py::test_victim";

fn place() -> Place {
    Place::new(&[("test_a.py", SUITE), ("test_b.py", OTHER)])
}

/// The object on the last line of stdout.
#[track_caller]
fn object(ran: &Ran) -> Value {
    let out = ran.out();
    let last = out
        .lines()
        .last()
        .unwrap_or_else(|| panic!("nothing on stdout\n{}", ran.err()));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
}

#[track_caller]
fn tests(object: &Value) -> Vec<&str> {
    let tests = object["tests"].as_array().unwrap();
    tests.iter().map(|test| test.as_str().unwrap()).collect()
}

#[track_caller]
fn exactly_the_three_are_found(object: &Value) {
    assert_eq!(tests(object), [&THREE[..], &[VICTIM]].concat());
    assert_eq!(
        (object["format"].as_u64(), object["category"].as_str()),
        (Some(1), Some("B1"))
    );
    assert_eq!(object["shrunk"]["minimal"], true);
    assert_eq!(object["shrunk"]["from"], 40);
}

/// Everything recorded below a directory: the runs of all lists.
fn runs(dir: &Path) -> usize {
    let lists = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let rows = lists.filter_map(|list| fs::read_to_string(list.join("results.txt")).ok());
    rows.map(|rows| rows.lines().count()).sum()
}

#[test]
fn a_crash_is_replayed_in_one_process_in_the_order_it_happened_in() {
    let place = place();
    place.run(&["--backend", "local", "-e", "1"]).exits(3);
    let ran = place
        .run(&["replay", "logs/serial/run001", "-j", "2", "--format", "json"])
        .exits(3);
    let object = object(&ran);
    assert_eq!(
        (object["failed"].as_u64(), object["of"].as_u64()),
        (Some(10), Some(10)),
        "{}",
        ran.err()
    );
    let line = ran.out();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.starts_with(r#"{"format":1,"tests":["test_a.py::test_part[0]","#),
        "{line}"
    );
    assert!(
        line.contains(r#","test_a.py::test_victim"],"failed":10,"of":10,"category":"B1","#),
        "{line}"
    );
    let ran_before = tests(&object);
    assert_eq!((ran_before.len(), ran_before.last()), (41, Some(&VICTIM)));
    assert_eq!(ran_before[39], "test_a.py::test_part[b [x] :: y]");
    // The sweep itself has not changed.
    assert_eq!(place.rows("logs/serial").len(), 1);
    // What is recorded is not run again, and what is missing is.
    let home = place.path("logs/serial/.replays/run001");
    assert_eq!(runs(&home), 10);
    let ran = place.run(&["replay", "serial", "1", "--times", "12"]).exits(3);
    assert_eq!(runs(&home), 12);
    assert!(
        ran.out()
            .contains("failed again with B1 in 12/12 runs: 100 % (76 % to 100 %)"),
        "{}",
        ran.out()
    );
}

#[test]
fn the_three_tests_that_a_crash_needs_are_found_and_the_search_goes_on_where_it_stopped() {
    let place = place();
    place.run(&["--backend", "local", "-e", "1"]).exits(3);
    let words = ["replay", "serial", "1", "--shrink", "--format", "json", "-j", "2"];
    let ran = place.run(&[&words[..], &["--max-runs", "20"]].concat()).exits(3);
    let part = object(&ran);
    assert_eq!(
        (part["shrunk"]["minimal"].as_bool(), part["shrunk"]["runs"].as_u64()),
        (Some(false), Some(20))
    );
    let ran = place.run(&words).exits(3);
    let whole = object(&ran);
    exactly_the_three_are_found(&whole);
    assert_eq!((whole["failed"].as_u64(), whole["of"].as_u64()), (Some(10), Some(10)));
    let home = place.path("logs/serial/.replays/run001");
    let (recorded, counted) = (runs(&home), whole["shrunk"]["runs"].as_u64().unwrap());
    assert_eq!(recorded as u64, counted);
    assert!(counted < 120, "{counted} runs");
    // Once more it is only read.
    let ran = place.run(&words).exits(3);
    assert_eq!(object(&ran), whole);
    assert_eq!(runs(&home), recorded);
}

#[test]
fn a_crash_that_happens_only_in_sixty_of_a_hundred_runs_is_found_all_the_same() {
    let place = place();
    place.run(&["--backend", "local", "-e", "1", "-E", "RATE=0.6"]).exits(3);
    let ran = place
        .run(&["replay", "serial", "1", "--shrink", "--format", "json", "-j", "2"])
        .exits(3);
    let object = object(&ran);
    exactly_the_three_are_found(&object);
    let (failed, of) = (object["failed"].as_u64().unwrap(), object["of"].as_u64().unwrap());
    assert!(failed < of && failed * 4 > of, "{failed} of {of}");
}

#[test]
fn the_same_holds_in_containers_and_none_stays() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    place.run(&["-i", "host", "-p", "2", "-e", "1"]);
    // With two workers the three need not meet; alone they do.
    place.run(&["-i", "host", "-e", "1"]).exits(3);
    let ran = place
        .run(&["replay", "serial", "1", "--shrink", "--format", "json", "-j", "4"])
        .exits(3);
    exactly_the_three_are_found(&object(&ran));
    assert_eq!(engine::containers_of(place.dir.path()), "");
    let shell = place.command(&["replay", "serial", "1", "--shell"]);
    let ran = in_shell(shell, "python3 -m pytest -q -p reproduce_flaky_trail; echo code $?\n");
    assert!(ran.contains("code 134") && ran.contains("test_victim"), "{ran}");
}

/// Feeds a shell with a script and returns what it printed.
fn in_shell(mut command: std::process::Command, script: &str) -> String {
    use std::io::Write as _;
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .env("SHELL", "/bin/sh")
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_shell_on_this_machine_repeats_the_test_with_the_line_that_is_printed() {
    let place = place();
    place.run(&["--backend", "local", "-e", "1"]).exits(3);
    let shell = place.command(&["replay", "serial", "1", "--shell"]);
    let ran = in_shell(shell, "python3 -m pytest -q -p reproduce_flaky_trail; echo code $?\n");
    assert!(ran.contains("python3 -m pytest -p reproduce_flaky_trail\n"), "{ran}");
    assert!(ran.contains("code 134"), "{ran}");
}

#[test]
fn what_ran_in_a_worker_of_several_is_replayed_in_one_process() {
    let suite = "import os, pytest\n\nseen = []\n\n@pytest.mark.parametrize('n', range(20))\ndef test_part(n):\n    \
        seen.append(n)\n    assert len(seen) < 6, 'Router states have different numbers of events'\n";
    let place = Place::new(&[("test_a.py", suite)]);
    place.run(&["--backend", "local", "-p", "2", "-e", "1"]).exits(3);
    let ran = place
        .run(&["replay", "n2", "1", "--times", "2", "--format", "json"])
        .exits(3);
    let object = object(&ran);
    assert_eq!(
        (object["failed"].as_u64(), object["of"].as_u64()),
        (Some(2), Some(2)),
        "{}",
        ran.err()
    );
    assert_eq!(tests(&object).len(), 6);
    assert!(ran.err().contains(" in gw"), "{}", ran.err());
}

#[test]
fn of_a_run_in_which_a_test_failed_before_the_crash_the_crash_is_replayed() {
    let suite = "import os\n\ndef test_first():\n    assert False\n\ndef test_second():\n    os.abort()\n";
    let place = Place::new(&[("test_a.py", suite)]);
    place.run(&["--backend", "local", "-p", "1", "-e", "1"]).exits(3);
    let words = ["replay", "logs/n1/run001", "--times", "1", "--format", "json"];
    let crash = place.run(&words).exits(3);
    assert!(crash.err().contains("test_second crashed (B1)"), "{}", crash.err());
    assert_eq!(object(&crash)["failed"], 1);
    let asked = [&words[..], &["--test", "test_a.py::test_first"]].concat();
    let failure = place.run(&asked).exits(3);
    assert!(
        failure.err().contains("test_first failed (UNKNOWN)"),
        "{}",
        failure.err()
    );
    assert_eq!(object(&failure)["failed"], 1);
    let show = place.run(&["show", "logs/n1/run001"]).exits(0);
    let before = "one test ran before it in gw0\n  test_a.py::test_first\n";
    assert!(show.out().contains(before), "{}", show.out());
}
