//! Answers that `--retry` replaced: whoever asks again until a test passes does not lower its rate.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::fs;
use std::sync::Arc;

use reproduce_flaky::stats::{Method, Rate};
use serde_json::{Value, json};

use crate::cli::Place;
use crate::shared::Shared;

/// Fails in every second iteration until somebody asks again.
const SUITE: &str = "\
import os
def test_flaky():
    number = int(os.environ['REPRODUCE_FLAKY_ITERATION'])
    assert number % 2 or os.path.exists('again'), 'Expected exactly 1 (worker_id, dp_rank) to have events'
";

fn parsed(place: &Place, words: &[&str]) -> Value {
    let out = place.run(&[words, &["--format", "json"]].concat()).exits(0).out();
    serde_json::from_str(&out).unwrap()
}

#[track_caller]
fn assert_every_answer_counts(place: &Place, count: &str) {
    let rate = Rate::new(count.parse().unwrap(), 0.95, Method::ConfidenceSequence);
    let sweep = "logs/serial";
    let summary = parsed(place, &["summary", sweep]);
    assert_eq!(summary["rate"]["method"], "confidence_sequence", "{summary}");
    let history = parsed(place, &["history", sweep]);
    let compared = parsed(place, &["compare", sweep, "0/10"]);
    for found in [
        &summary["rate"],
        &summary["categories"][0]["rate"],
        &summary["tests"][0],
        &history["nights"][0]["rates"]["any"],
        &compared["classes"][0]["base"],
        &parsed(place, &["plan", sweep])["base"],
        &parsed(place, &["status", sweep])["sweeps"][0]["rate"],
    ] {
        let ends = [&found["low"], &found["high"]].map(|end| end.as_f64().unwrap());
        assert_eq!(format!("{}/{}", found["failed"], found["of"]), count);
        assert!(
            (ends[0] - rate.low).abs() < 1e-9 && (ends[1] - rate.high).abs() < 1e-9,
            "{found}"
        );
    }
    let notes = compared["notes"].to_string();
    assert!(
        notes.contains("3 answers were replaced by --retry (3 failed), and every answer counts"),
        "{notes}"
    );
    for (format, words) in [
        ("text", format!("{count} failed: ")),
        ("markdown", format!("{count} failed: ")),
        ("html", format!("{count} failed: ")),
        ("svg", format!("{count} failed: ")),
        ("csv", format!(",{count},{rate},")),
        (
            "junit",
            format!("failed in 3 of {} iterations, {rate}", rate.count.of()),
        ),
    ] {
        let out = place.run(&["summary", sweep, "--format", format]).exits(0).out();
        assert!(out.contains(&words), "{format}: {words}: {out}");
    }
    let text = place.run(&["summary", sweep]).exits(0).out();
    let note = "note: 3 answers were replaced by --retry (3 failed), and every answer counts:";
    assert!(
        text.contains(note) && text.contains("serial/.attempts/run002.retried-1"),
        "{text}"
    );
}

/// A sweep of six with three failures, which passed when they were run again: the one that all tests share, and a copy.
fn asked_again() -> (Arc<Place>, Place) {
    static FIRST: Shared<Place> = Shared::new();
    let run = || {
        let place = Place::new(&[("test_flaky.py", SUITE)]);
        place.run(&["--backend", "local", "-e", "6"]).exits(3);
        assert_eq!(parsed(&place, &["summary", "logs/serial"])["rate"]["method"], "wilson");
        fs::write(place.path("again"), "").unwrap();
        let again = ["--backend", "local", "-e", "6", "--retry", "failed"];
        place.run(&again).exits(3);
        Some(place)
    };
    let first = FIRST.get(run).unwrap();
    let place = first.copied();
    (first, place)
}

fn failed_of(place: &Place, sweep: &str) -> String {
    let rate = &parsed(place, &["summary", sweep])["rate"];
    assert_eq!(rate["method"], "confidence_sequence", "{rate}");
    format!("{}/{}", rate["failed"], rate["of"])
}

#[test]
fn an_answer_that_a_retry_replaced_stays_in_every_rate() {
    let (_first, place) = asked_again();
    assert_every_answer_counts(&place, "3/9");
    let summary = parsed(&place, &["summary", "logs/serial"]);
    let iterations = json!({"planned": 6, "recorded": 6, "passed": 6, "failed": 0, "errored": 0, "missing": 0});
    assert_eq!(
        (&summary["iterations"], summary["replaced"].as_array().unwrap().len()),
        (&iterations, 3)
    );
    // Neither a resume nor another retry takes that back: a failure was reproduced.
    place.run(&["--backend", "local", "-e", "7"]).exits(3);
    place
        .run(&["--backend", "local", "-e", "7", "--retry", "errored"])
        .exits(3);
    assert_every_answer_counts(&place, "3/10");
}

#[test]
fn a_failure_that_was_run_again_is_evidence_against_a_rate_that_is_to_be_proven() {
    let (_first, place) = asked_again();
    // Eleven that pass would prove it.
    let ran = place
        .run(&["--backend", "local", "-e", "11", "--prove-below", "50%"])
        .exits(3);
    assert_eq!(place.rows("logs/serial").len(), 11);
    assert!(!ran.err().contains("stopped by the rule"), "{}", ran.err());
    assert_eq!(failed_of(&place, "logs/serial"), "3/14");
    let fresh = place
        .run(&["--backend", "local", "-t", "fresh", "-e", "11", "--prove-below", "50%"])
        .exits(0);
    assert!(
        fresh.err().contains("stopped by the rule `prove-below 50%`"),
        "{}",
        fresh.err()
    );
}

#[test]
fn an_answer_that_a_retry_replaced_goes_with_its_sweep_into_a_merge() {
    let (_first, place) = asked_again();
    // A number that is taken, so that everything of that iteration gets another one.
    place
        .run(&["--backend", "local", "-s", "2", "-e", "2", "--logs-dir", "other"])
        .exits(0);
    let words = ["merge", "all/serial", "other/serial", "logs/serial", "--renumber"];
    let dry = place.run(&[&words[..], &["--dry-run"]].concat()).exits(0).out();
    assert!(
        dry.contains("all/serial <- logs/serial/.attempts/run002.retried-1\n"),
        "{dry}"
    );
    let out = place.run(&words).exits(0).out();
    assert!(
        out.contains("3 answers that --retry had replaced came along, and count"),
        "{out}"
    );
    assert_eq!(failed_of(&place, "all/serial"), "3/10");
    let aside = place.path("all/serial/.attempts/run007.retried-1");
    let from = fs::read_to_string(aside.join("merged.json")).unwrap();
    assert!(from.contains("\"iteration\": 2"), "{from}");
    // Merged again, and from a copy of what was merged, nothing is counted twice.
    let again = place.run(&words).exits(0).out();
    assert_eq!(again, "0 iterations copied from 2 sweeps, 7 were there already\n");
    place.run(&["merge", "all/serial", "all/serial", "--renumber"]).exits(0);
    assert_eq!(failed_of(&place, "all/serial"), "3/10");
    let left = fs::read_dir(place.path("all/serial/.attempts")).unwrap().count();
    assert_eq!(left, 3);
}

#[test]
fn an_answer_that_a_retry_replaced_goes_with_its_sweep_into_a_bundle() {
    let (_first, place) = asked_again();
    let out = place.run(&["export", "logs/serial", "-o", "x.tar.zst"]).exits(0).out();
    assert!(
        out.contains("with 3 answers that --retry had replaced, which count as much"),
        "{out}"
    );
    let import = ["import", "x.tar.zst", "--logs-dir", "in"];
    let out = place.run(&import).exits(0).out();
    assert!(
        out.contains("in/serial: 6 runs imported, with 3 answers that --retry had replaced"),
        "{out}"
    );
    assert_eq!(failed_of(&place, "in/serial"), "3/9");
    let out = place.run(&import).exits(0).out();
    assert!(out.contains("0 runs imported, 6 there already\n"), "{out}");
    assert_eq!(failed_of(&place, "in/serial"), "3/9");
    let aside = place.path("in/serial/.attempts/run002.retried-1");
    assert!(aside.join("imported.json").is_file() && aside.join("run.log").is_file());
    // One run brings what it answered before, and no more.
    place
        .run(&["export", "logs/serial/run002", "-o", "one.tar.zst"])
        .exits(0);
    place.run(&["import", "one.tar.zst", "--logs-dir", "one"]).exits(0);
    assert_eq!(failed_of(&place, "one/serial"), "1/2");
}
