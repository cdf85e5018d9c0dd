//! What is replayed where nothing named the test: hangs, runs without a trail, refusals.

use std::fs;

use super::{VICTIM, object, place, tests};
use crate::cli::Place;

#[test]
fn runs_without_a_trail_are_replayed_as_far_as_the_console_tells() {
    let place = place();
    place
        .run(&["--backend", "local", "-e", "1", "--no-trail", "-t", "v", "--", "-v"])
        .exits(3);
    let ran = place
        .run(&["replay", "serial_v", "1", "--times", "1", "--format", "json"])
        .exits(3);
    assert_eq!(tests(&object(&ran)).len(), 41);
    place
        .run(&["--backend", "local", "-e", "1", "--no-trail", "-t", "q"])
        .exits(3);
    let ran = place.run(&["replay", "serial_q", "1", "--test", VICTIM]).exits(1);
    assert!(
        ran.err().contains("nothing tells what ran before") && ran.err().contains("\nhint: "),
        "{}",
        ran.err()
    );
}

/// Three tests: the second makes the session hang when it is over, with nothing to blame; the third hangs in the
/// recorded run only, if it is told to.
const LATE_HANG: &str = "
import atexit, os, time

def test_a():
    pass

def test_b():
    atexit.register(time.sleep, 1000)

def test_c():
    if os.environ.get('FIRST') and 'REPRODUCE_FLAKY_REPLAY' not in os.environ:
        time.sleep(1000)
";

#[test]
fn a_hang_after_the_last_test_is_replayed_by_what_it_was_and_keeps_the_test_that_it_needs() {
    let place = Place::new(&[("test_a.py", LATE_HANG)]);
    place
        .run(&["--backend", "local", "-e", "1", "--silence", "6s"])
        .exits(3);
    assert_eq!(place.rows("logs/serial")[&1]["failing_tests"], "");
    let words = [
        "replay",
        "serial",
        "1",
        "--shrink",
        "--times",
        "3",
        "-j",
        "4",
        "--silence",
        "6s",
    ];
    let ran = place.run(&[&words[..], &["--format", "json"]].concat()).exits(3);
    let object = object(&ran);
    assert_eq!(tests(&object), ["test_a.py::test_b", "test_a.py::test_c"]);
    assert_eq!(
        (object["category"].as_str(), object["shrunk"]["minimal"].as_bool()),
        (Some("A4"), Some(true))
    );
}

#[test]
fn a_replay_that_hangs_without_the_test_being_named_says_nothing_about_its_list() {
    let place = Place::new(&[("test_a.py", LATE_HANG)]);
    place
        .run(&["--backend", "local", "-e", "1", "--silence", "6s", "-E", "FIRST=1"])
        .exits(3);
    assert_eq!(place.rows("logs/serial")[&1]["failing_tests"], "test_a.py::test_c");
    let ran = place
        .run(&[
            "replay",
            "serial",
            "1",
            "--times",
            "2",
            "-j",
            "2",
            "--silence",
            "6s",
            "--format",
            "json",
        ])
        .exits(4);
    let object = object(&ran);
    assert_eq!(
        (
            object["failed"].as_u64(),
            object["of"].as_u64(),
            object["errored"].as_u64()
        ),
        (Some(0), Some(0), Some(2))
    );
    assert_eq!(tests(&object).last(), Some(&"test_a.py::test_c"));
}

#[test]
fn what_cannot_be_replayed_is_said_with_a_hint() {
    let place = Place::new(&[("test_a.py", "def test_a():\n    pass\n\ndef test_b():\n    assert 0\n")]);
    place
        .run(&["--backend", "local", "-e", "1", "-t", "green", "--", "-k", "not test_b"])
        .exits(0);
    place.run(&["--backend", "local", "-e", "1", "-t", "red"]).exits(3);
    for (words, code, said) in [
        (
            &["replay", "serial_green", "1"][..],
            1,
            "nothing failed in `logs/serial_green/run001`: it passed",
        ),
        (&["replay", "serial_green", "7"], 1, "no iteration 7 in "),
        (&["replay", "serial_red"], 2, "`logs/serial_red` is not one run"),
        (
            &["replay", "serial_red", "1", "--test", "test_a.py::test_a"],
            2,
            "did not fail in `logs/serial_red/run001`",
        ),
    ] {
        let ran = place.run(words).exits(code);
        assert!(
            ran.err().contains(said) && ran.err().contains("\nhint: "),
            "{}",
            ran.err()
        );
    }
    // A failure that does not come back ends with 0.
    fs::write(
        place.path("test_a.py"),
        "def test_a():\n    pass\n\ndef test_b():\n    pass\n",
    )
    .unwrap();
    let ran = place.run(&["replay", "serial_red", "1", "--times", "3"]).exits(0);
    assert!(
        ran.out().contains("did not fail again with UNKNOWN: 0/3 runs"),
        "{}",
        ran.out()
    );
    // Without the test there is nothing to learn.
    fs::write(place.path("test_a.py"), "def test_a():\n    pass\n").unwrap();
    place
        .run(&[
            "replay",
            "serial_red",
            "1",
            "--times",
            "4",
            "--test",
            "test_a.py::test_b",
        ])
        .exits(0);
    fs::remove_dir_all(place.path("logs/serial_red/.replays")).unwrap();
    let ran = place.run(&["replay", "serial_red", "1", "--times", "2"]).exits(4);
    assert!(
        ran.out().contains("no run says whether it fails again"),
        "{}",
        ran.out()
    );
}
