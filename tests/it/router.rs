//! The example that is the proof: it builds, and its variants fail in the ways that are theirs, as the tool's own tests
//! see it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::{Ran, rows};
use crate::engine::{daemon, gdb};

/// Runs the tool where the example's settings are.
fn run(words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce-flaky"));
    command
        .args(words)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/router"))
        .stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

/// Runs two variants side by side until it is decided which fails less often, and compares them.
///
/// # Panics
/// The first has no failures of the class, the second has some, or the difference might be chance.
#[track_caller]
fn the_second_has_none_of(class: &str, variants: [&str; 2], flags: &str, tests: &str) {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().to_str().unwrap();
    let arms = variants.map(|variant| format!("{variant} -E ROUTER_VARIANT={variant} {flags}"));
    let swept = run(&[
        "-p",
        "serial",
        "-e",
        "40",
        "--stop",
        "decided",
        "--logs-dir",
        logs,
        "--progress",
        "none",
        "--arm",
        &arms[0],
        "--arm",
        &arms[1],
        "--",
        "-k",
        tests,
    ])
    .exits(3);
    assert!(
        swept.err().contains("stopped by the rule `decided`"),
        "{}\n{}",
        swept.out(),
        swept.err()
    );
    let sweeps = variants.map(|variant| Path::new(logs).join(format!("serial_{variant}")).display().to_string());
    let compared = run(&[
        "compare", &sweeps[0], &sweeps[1], "--expect", "fewer", "--format", "json",
    ]);
    let compared: Value = serde_json::from_str(&compared.out()).unwrap();
    let classes = compared["classes"].as_array().unwrap();
    let found = classes.iter().find(|found| found["id"] == class);
    let found = found.unwrap_or_else(|| panic!("none of the failures is {class}: {compared}"));
    assert_eq!(
        (&found["verdict"], &found["new"]["failed"]),
        (&"fewer".into(), &0.into()),
        "{compared}"
    );
}

#[test]
fn ties_in_a_hash_maps_order_break_routing_and_the_larger_tree_does_not() {
    if !daemon() {
        return;
    }
    // Answers so quick that events come late whatever else the machine does.
    let flags = "-E ROUTER_TOKEN_TIME_S=0.0005";
    the_second_has_none_of("A1", ["fix9", "fix14"], flags, "test_router_decisions and jetstream");
}

#[test]
fn a_publisher_left_behind_aborts_the_next_test_and_one_of_its_own_does_not() {
    if !daemon() {
        return;
    }
    the_second_has_none_of(
        "B1",
        ["baseline", "scoped"],
        "",
        "test_kv_push_router_bindings and True",
    );
}

#[test]
fn the_autopsy_of_its_hang_names_the_cell_that_two_threads_wait_for() {
    if !daemon() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Renewed so often that the second runtime nearly always comes in between.
    let renewals = "ROUTER_RENEW_EVERY_S=0.002";
    let tests = "test_indexers_sync and nats_core";
    run(&[
        "-e",
        "9",
        "--until",
        "A4",
        "--silence",
        "5s",
        "-E",
        renewals,
        "--logs-dir",
        dir.path().to_str().unwrap(),
        "--",
        "-k",
        tests,
    ])
    .exits(3);
    let hung = run_of(dir.path(), "serial", "A4");
    let log = read(&hung.join("test_indexers_sync[nats_core]/test.log.txt"));
    assert!(
        log.trim_end()
            .ends_with("Creating second KV router with its own runtime"),
        "{log}"
    );
    let stacks = read(&hung.join("autopsy/stacks.txt"));
    assert!(
        stacks.contains("test_router_e2e_with_mockers.py"),
        "the Python frames: {stacks}"
    );
    if gdb() {
        assert!(
            stacks.contains("once_cell") && stacks.contains("get_or_init"),
            "{stacks}"
        );
    }
}

#[test]
fn an_abort_among_four_workers_is_repeated_from_the_tests_that_ran_before_it() {
    if !daemon() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let words = [
        "-p",
        "4",
        "-e",
        "30",
        "--until",
        "B1",
        "-E",
        "ROUTER_VARIANT=baseline",
        // No lease is renewed in so short a time, so nothing hangs.
        "-E",
        "ROUTER_RENEW_EVERY_S=60",
        "--logs-dir",
    ];
    run(&[&words[..], &[dir.path().to_str().unwrap()]].concat()).exits(3);
    let crashed = run_of(dir.path(), "n4", "B1");
    let replayed = run(&["replay", crashed.to_str().unwrap()]).exits(3);
    assert!(replayed.out().contains("failed again with B1"), "{}", replayed.out());
}

/// The first iteration of a sweep that is of a class.
#[track_caller]
fn run_of(logs: &Path, sweep: &str, class: &str) -> PathBuf {
    let rows = rows(&logs.join(sweep));
    let found = rows.iter().find(|(_, row)| row["categories"].contains(class));
    let (number, _) = found.unwrap_or_else(|| panic!("none is {class}: {rows:?}"));
    logs.join(sweep).join(format!("run{number:03}"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
