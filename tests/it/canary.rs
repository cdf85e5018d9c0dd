//! `demo --check`: what a nightly job runs first, so that one whose sessions run nothing does not pass for a good one.

use std::fs;

use crate::cli::{Place, Ran};

#[test]
fn the_canary_is_green_where_failures_are_told_apart_and_leaves_nothing() {
    let place = Place::passing();
    let temporary = place.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = place.command(&["demo", "--check", "--backend", "local", "--progress", "none"]);
    let ran = Ran::of(command.env("TMPDIR", &temporary).output().unwrap()).exits(0);
    assert!(ran.out().ends_with("are told apart here\n"), "{}", ran.out());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn the_canary_is_red_where_no_session_runs_anything() {
    let place = Place::passing();
    let mut command = place.command(&[
        "demo",
        "--check",
        "--backend",
        "local",
        "--progress",
        "none",
        "--dir",
        "demo",
    ]);
    // As a variable that somebody left in the job's environment: pytest collects, runs nothing and exits with 0.
    let ran = Ran::of(command.env("PYTEST_ADDOPTS", "--collect-only").output().unwrap()).exits(1);
    assert!(
        ran.err()
            .contains("error: the demonstration did not show what it promises"),
        "{}",
        ran.err()
    );
    assert!(
        ran.err().contains("serial run004: crashed B1 expected"),
        "{}",
        ran.err()
    );
}
