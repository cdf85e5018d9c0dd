//! Readers that go away, as `head` does: whatever the tool still had to say, it ends quietly.

use std::fs;
use std::process::Stdio;

use crate::cli::Place;

/// A tree of runs with more to say than a pipe holds.
fn large() -> Place {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    for number in 2..=1200 {
        let run = place.path("logs/serial").join(format!("run{number:03}"));
        fs::create_dir(&run).unwrap();
        let name = "a-long-name-of-a-test".repeat(10);
        let log = format!("FAILED test_a.py::test_{name} - assert 0\n===== 1 failed in 0.1s =====\n");
        fs::write(run.join("run.log"), log).unwrap();
    }
    place
}

#[test]
fn a_reader_that_goes_away_ends_every_command_quietly() {
    let place = large();
    for words in [
        &["classify", "--format", "json", "logs"][..],
        &["classify", "logs"],
        &["summary", "logs", "--all"],
        &["summary", "logs", "--format", "json", "--all"],
        &["summary", "logs", "--format", "csv", "--table", "iterations", "--all"],
        &["signatures", "list"],
        &["signatures", "check"],
        &["completions", "bash"],
        &["man"],
        &["merge", "other", "logs/serial", "--dry-run"],
        &["status", "logs"],
        &["plan", "1/9"],
        &["--help"],
    ] {
        let mut command = place.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything was read.
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{words:?}: {err}");
        assert!(!err.contains("panicked") && !err.contains("error:"), "{words:?}: {err}");
    }
}

#[test]
fn nobody_who_reads_stderr_is_needed_for_a_sweep_to_go_on() {
    let place = Place::passing();
    let mut command = place.command(&["--backend", "local", "-e", "3", "--verbose"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(place.rows("logs/serial").len(), 3);
}
