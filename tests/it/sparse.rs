//! Reports of what nobody would run: numbers far apart, and judgements with very many names. Memory is limited to what
//! a small sweep needs and a little more.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FORMATS: [&str; 7] = ["text", "markdown", "json", "csv", "junit", "svg", "html"];

/// A run that failed, by its judgement.
fn run(sweep: &Path, iteration: u32, categories: usize, tests: usize) {
    let dir = sweep.join(format!("run{iteration:03}"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("run.log"), "").unwrap();
    fs::write(dir.join("exit.json"), r#"{"code":1,"ended_by":"itself"}"#).unwrap();
    let list = |prefix: &str, n: usize| {
        let mut text = String::new();
        for number in 0..n {
            let _ = write!(text, "{}\"{prefix}{number}\"", if number > 0 { "," } else { "" });
        }
        text
    };
    let outcome = format!(
        r#"{{"format":1,"iteration":{iteration},"verdict":"failed","outcome":"failed","categories":[{}],
            "failing_tests":[{}],"evidence":[],"counts":{{}},"notes":[]}}"#,
        list("C", categories),
        list("tests/a.py::test_", tests),
    );
    fs::write(dir.join("outcome.json"), outcome).unwrap();
}

/// The tool with so many KiB of address space.
fn limited(dir: &Path, kib: u64, words: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v $0 && exec \"$@\"", &kib.to_string()])
        .arg(env!("CARGO_BIN_EXE_reproduce-flaky"))
        .args(words)
        .current_dir(dir)
        // Each thread's arena would take 64 MiB of address space for itself.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// The least address space, in KiB, in which a report of a small sweep is made: that of the program itself.
fn least(dir: &Path) -> u64 {
    run(&dir.join("small"), 1, 1, 1);
    let is_enough = |kib: &u64| {
        limited(dir, *kib, &["summary", "small", "--format", "html"])
            .status
            .success()
    };
    (1..400).map(|step| step * 8192).find(is_enough).unwrap()
}

#[track_caller]
fn assert_small(dir: &Path, least: u64, sweep: &str) {
    for format in FORMATS {
        let room = (if format == "html" { 256 } else { 64 }) << 10;
        let output = limited(dir, least + room, &["summary", sweep, "--format", format]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sweep} {format}: {:?}: {err}", output.status);
        assert!(
            output.stdout.len() < 16 << 20,
            "{sweep} {format}: {} bytes",
            output.stdout.len()
        );
    }
    for words in [
        &["status", sweep][..],
        &["plan", sweep],
        &["history", sweep],
        &["compare", sweep, "1/9"],
    ] {
        let output = limited(dir, least + (64 << 10), words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {:?}: {err}", output.status);
    }
}

#[test]
fn runs_whose_numbers_are_far_apart_cost_as_much_as_neighbors() {
    let dir = tempfile::tempdir().unwrap();
    let least = least(dir.path());
    for iteration in [1, 4_000_000_000, u32::MAX] {
        run(&dir.path().join("far"), iteration, 1, 1);
    }
    assert_small(dir.path(), least, "far");
    let output = limited(dir.path(), least + (64 << 10), &["summary", "far"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let missing = "4294967292 iterations missing: 2-3999999999, 4000000001-4294967294";
    assert!(text.contains(missing), "{text}");
}

#[test]
fn a_judgement_with_very_many_names_is_small_work() {
    let dir = tempfile::tempdir().unwrap();
    let least = least(dir.path());
    run(&dir.path().join("wide"), 1, 150_000, 150_000);
    run(&dir.path().join("wider"), 1, 50, 20_000);
    for sweep in ["wide", "wider"] {
        assert_small(dir.path(), least, sweep);
    }
    let output = limited(dir.path(), least + (64 << 10), &["show", "wide/run001"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
