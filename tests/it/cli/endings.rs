//! Every way in which a session ends is told apart, on both backends, by the same function.

use std::process::Command;

use super::{Place, Ran};
use crate::engine;

/// What each iteration of the suite of endings comes to: verdict, outcome, categories, exit code, signal.
const ENDINGS: [(u32, &str, &str, &str, &str, &str); 12] = [
    (1, "passed", "passed", "", "0", ""),
    (2, "failed", "failed", "A1", "1", ""),
    (3, "failed", "failed", "A2", "1", ""),
    (4, "failed", "failed", "UNKNOWN", "1", ""),
    (5, "errored", "infra", "A5", "1", ""),
    (6, "failed", "crashed", "B1", "134", "6"),
    (7, "failed", "crashed", "B1", "134", "6"),
    (8, "failed", "crashed", "B1", "137", "9"),
    (9, "failed", "crashed", "B1", "0", ""),
    (10, "failed", "crashed", "B1", "134", "6"),
    (11, "failed", "timed_out", "A3", "1", ""),
    (12, "passed", "passed", "", "0", ""),
];

#[track_caller]
fn endings_are_told_apart(place: &Place) {
    let rows = place.rows("logs/serial");
    assert_eq!(rows.len(), ENDINGS.len());
    for (iteration, verdict, outcome, categories, code, signal) in ENDINGS {
        let row = &rows[&iteration];
        let seen = ["verdict", "outcome", "categories", "exit_code", "signal"].map(|column| row[column].as_str());
        assert_eq!(
            seen,
            [verdict, outcome, categories, code, signal],
            "iteration {iteration}: {row:?}"
        );
        let test = match iteration {
            2 => "test_endings.py::test_router_decisions",
            3 => "test_endings.py::test_indexers_sync",
            4 => "test_endings.py::test_of_something_else",
            5 => "test_endings.py::test_model",
            6..=9 => "test_endings.py::test_process",
            // The session had finished its tests when it aborted.
            1 | 10 | 12 => "",
            _ => "test_endings.py::test_time",
        };
        assert_eq!(row["failing_tests"], test, "iteration {iteration}");
        assert_eq!(row["ended_by"], "itself", "iteration {iteration}");
    }
}

#[test]
fn every_ending_is_told_apart_in_processes_of_this_machine() {
    let place = Place::endings();
    place
        .run(&["--backend", "local", "-p", "serial", "-s", "1", "-e", "12", "-j", "4"])
        .exits(3);
    endings_are_told_apart(&place);
}

#[test]
fn every_ending_is_told_apart_in_containers_and_none_stays() {
    if !engine::daemon() {
        return;
    }
    let place = Place::endings();
    place
        .run(&["-i", "host", "-p", "serial", "-s", "1", "-e", "12", "-j", "4"])
        .exits(3);
    endings_are_told_apart(&place);
    assert_eq!(engine::containers_of(place.dir.path()), "");
    let mut show = place.command(&["show", "serial", "1"]);
    show.env("TMPDIR", place.dir.path());
    let shown = Ran::of(show.output().unwrap()).exits(0).out();
    let (_, by_hand) = shown
        .split_once("\nby hand\n  ")
        .expect("the line that does the same without the tool");
    assert!(
        by_hand.starts_with("docker run --rm ") && by_hand.contains(" -m pytest "),
        "{by_hand}"
    );
    // What it writes takes the place of nothing that is recorded.
    assert!(!by_hand.contains("logs/serial/run001"), "{by_hand}");
    let ran = Command::new("sh").args(["-c", by_hand]).output().unwrap();
    assert!(
        ran.status.success(),
        "{by_hand}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
