//! `compare` on sweeps of ours: what differs between them, arms side by side, sweeps that were ended early.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be written fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use chrono::{DateTime, TimeDelta, Utc};
use reproduce_flaky::judge::{Exit, Outcome, OutcomeKind};
use reproduce_flaky::spec::{ArmPlace, EnvVar, Spec};
use reproduce_flaky::stats::{Method, Rate};
use serde_json::Value;

use crate::place::run;

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_760_000_000, 0).unwrap()
}

fn spec(image: &str, last: u32) -> Spec {
    Spec {
        tool: "0.1.0".to_owned(),
        created_at: start(),
        last,
        image: image.to_owned(),
        image_id: Some(format!("sha256:{image}")),
        versions: BTreeMap::from([("pytest".to_owned(), "8.3.4".to_owned())]),
        pytest_args: vec!["tests".to_owned()],
        ..Spec::default()
    }
}

/// Writes a sweep: its specification, and an iteration for each outcome, a minute apart.
fn write(dir: &Path, spec: &Spec, outcomes: &[OutcomeKind]) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("sweep.json"), serde_json::to_vec(spec).unwrap()).unwrap();
    for (iteration, kind) in (1..).zip(outcomes) {
        let run = dir.join(format!("run{iteration:03}"));
        fs::create_dir_all(&run).unwrap();
        let exit = Exit {
            code: Some(i32::from(*kind != OutcomeKind::Passed)),
            started_at: Some(spec.created_at + TimeDelta::minutes(i64::from(iteration))),
            duration_s: Some(30.0),
            node: Some("host".to_owned()),
            image_id: spec.image_id.clone(),
            ..Exit::default()
        };
        let mut outcome = Outcome::new(*kind);
        if *kind == OutcomeKind::Failed {
            outcome.categories.push("A1".to_owned());
            outcome.failing_tests.push("tests/a.py::test_x".to_owned());
        }
        fs::write(run.join("run.log"), "").unwrap();
        fs::write(run.join("exit.json"), serde_json::to_vec(&exit).unwrap()).unwrap();
        fs::write(run.join("outcome.json"), serde_json::to_vec(&outcome).unwrap()).unwrap();
    }
}

fn compare(dir: &Path, words: &[&str]) -> Value {
    let mut command = Command::cargo_bin("reproduce-flaky").unwrap();
    let output = command
        .current_dir(dir)
        .args([&["compare"], words, &["--format", "json"]].concat())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const F: OutcomeKind = OutcomeKind::Failed;
const P: OutcomeKind = OutcomeKind::Passed;

#[test]
fn another_image_is_the_change_and_everything_else_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("one"), &spec("app1", 10), &[P; 10]);
    let mut other = spec("app2", 10);
    other.created_at += TimeDelta::days(1);
    write(&dir.path().join("image"), &other, &[P; 10]);
    let notes = compare(dir.path(), &["one", "image"])["notes"].to_string();
    assert!(notes.contains("image: `app1` before, `app2` now"), "{notes}");
    assert!(!notes.contains("same conditions"), "{notes}");

    other.jobs = 4;
    other.pytest_args.push("-x".to_owned());
    other.env.push(EnvVar {
        name: "TOKEN".to_owned(),
        value: Some("secret".to_owned()),
    });
    write(&dir.path().join("all"), &other, &[P; 10]);
    let notes = compare(dir.path(), &["one", "all"])["notes"].to_string();
    for words in [
        "pytest arguments: `tests` before, `tests -x` now",
        "jobs: `1` before, `4` now",
        "variable TOKEN: `not set` before, `set` now",
        "not run under the same conditions (jobs, pytest arguments, variable TOKEN)",
    ] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    assert!(!notes.contains("secret"), "{notes}");
}

#[test]
fn arms_that_were_run_side_by_side_have_an_e_value_and_other_sweeps_none() {
    let dir = tempfile::tempdir().unwrap();
    let arm = |name: &str, image: &str, seed| Spec {
        arm: Some(ArmPlace {
            name: name.to_owned(),
            arms: vec!["old".to_owned(), "new".to_owned()],
            seed,
        }),
        created_at: start() + TimeDelta::seconds(if name == "old" { 0 } else { 17 }),
        ..spec(image, 5)
    };
    write(&dir.path().join("old"), &arm("old", "app1", 7), &[F; 5]);
    write(&dir.path().join("new"), &arm("new", "app2", 7), &[P; 5]);
    write(&dir.path().join("apart"), &arm("new", "app2", 8), &[P; 5]);
    let e_value = compare(dir.path(), &["old", "new"])["e_value"].as_f64().unwrap();
    assert!((e_value - 135.384_958_027_328_6).abs() < 1e-6);
    assert_eq!(compare(dir.path(), &["old", "apart"])["e_value"], Value::Null);
    assert_eq!(compare(dir.path(), &["2/75", "new"])["e_value"], Value::Null);
}

#[test]
fn a_sweep_that_a_stop_rule_ended_shows_the_interval_that_may_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("old"), &spec("app1", 50), &[F, P, P, F, P]);
    let mut ended = spec("app2", 50);
    ended.created_at += TimeDelta::hours(1);
    ended.ended = Some("until A1=2".to_owned());
    write(&dir.path().join("new"), &ended, &[P, F, P, P, P, F]);
    let comparison = compare(dir.path(), &["old", "new"]);
    let (low, high) = reproduce_flaky::stats::confidence_sequence("2/6".parse().unwrap(), 0.05);
    let shown = &comparison["classes"][0]["new"];
    assert!((shown["low"].as_f64().unwrap() - low).abs() < 1e-9);
    assert!((shown["high"].as_f64().unwrap() - high).abs() < 1e-9);
    let notes = comparison["notes"].to_string();
    assert!(notes.contains("`new`: ended by its stop rule `until A1=2`"), "{notes}");
    assert!(notes.contains("`old`: not complete, 45 iterations missing"), "{notes}");
}

#[test]
fn one_watched_stop_rule_makes_every_interval_of_a_sweep_the_one_that_may_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let mut ended = spec("app2", 50);
    ended.ended = Some("until A1=2".to_owned());
    write(&dir.path().join("new"), &ended, &[P, F, P, P, P, F]);
    let json = |words: &[&str]| {
        let (code, out, err) = run(dir.path(), &[words, &["--format", "json"]].concat());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let (low, high) = reproduce_flaky::stats::confidence_sequence("2/6".parse().unwrap(), 0.05);
    let (summary, history) = (json(&["summary", "new"]), json(&["history", "new"]));
    for rate in [
        &summary["rate"],
        &summary["categories"][0]["rate"],
        &summary["tests"][0],
        &history["nights"][0]["rates"]["any"],
        &history["nights"][0]["rates"]["A1"],
        &json(&["plan", "new"])["base"],
        &json(&["status", "new"])["sweeps"][0]["rate"],
    ] {
        assert_eq!((&rate["failed"], &rate["of"]), (&2.into(), &6.into()), "{rate}");
        assert!((rate["low"].as_f64().unwrap() - low).abs() < 1e-9, "{rate}");
        assert!((rate["high"].as_f64().unwrap() - high).abs() < 1e-9, "{rate}");
    }
    let rate = Rate::new("2/6".parse().unwrap(), 0.95, Method::ConfidenceSequence);
    for format in ["junit", "html", "csv", "markdown", "text", "svg"] {
        let (_, out, _) = run(dir.path(), &["summary", "new", "--format", format]);
        assert!(out.contains(&rate.to_string()), "{format}: {out}");
    }
}

#[test]
fn errored_iterations_are_in_no_count_and_in_the_notes() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("one"),
        &spec("app1", 4),
        &[P, F, OutcomeKind::Infra, OutcomeKind::NoTests],
    );
    let comparison = compare(dir.path(), &["one", "0/1"]);
    assert_eq!(comparison["base"]["of"], 2);
    let notes = comparison["notes"].to_string();
    assert!(notes.contains("2 iterations errored, outside the counts"), "{notes}");
    assert!(notes.contains("`0/1`: one iteration shows next to nothing"), "{notes}");
}

#[test]
fn a_sweep_that_is_still_running_is_compared_as_it_stands_and_said_to_run() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("one"), &spec("app1", 4), &[P, F, P]);
    let claims = dir.path().join("one/.claims");
    fs::create_dir(&claims).unwrap();
    let claim = fs::File::create(claims.join("004.lock")).unwrap();
    claim.lock().unwrap();
    let notes = compare(dir.path(), &["one", "0/10"])["notes"].to_string();
    assert!(notes.contains("`one`: still running, 1 iteration in flight"), "{notes}");
    claim.unlock().unwrap();
    let notes = compare(dir.path(), &["one", "0/10"])["notes"].to_string();
    assert!(notes.contains("`one`: not complete, 1 iteration missing"), "{notes}");
}
