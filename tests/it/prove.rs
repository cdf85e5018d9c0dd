//! `prove` from end to end: what it announces, when it stops, what it concludes, and that a resume comes to the same.

mod control;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{Place, Ran, until};
use crate::engine::{containers_of, daemon};

/// Iterations whose numbers a variable lists fail, error, or wait for a file.
const SUITE: &str = r#"import os, time

ITERATION = os.environ["REPRODUCE_FLAKY_ITERATION"]

def listed(name):
    return ITERATION in os.environ.get(name, "").split(",")

def test_sync():
    while listed("WAITS") and not os.path.exists("gate"):
        time.sleep(0.05)
    if listed("FAILS"):
        raise AssertionError("Router 1 has 78 events, Standalone A has 71 events")
    if listed("OTHERS"):
        assert 1 == 2
    if listed("ERRS"):
        raise RuntimeError("Failed to fetch model 'm' from HuggingFace: error sending request for url (https://huggingface.co/api/m)")
"#;

const LOCAL: [&str; 4] = ["--backend", "local", "--progress", "none"];

/// A place with a base of six runs of which these fail in A2: 3/6 takes nine clean runs. Each base is run once, and
/// copied for whoever asks for it again.
fn base(fails: &'static str) -> Place {
    static RUN: Mutex<BTreeMap<&str, Arc<Place>>> = Mutex::new(BTreeMap::new());
    let mut run = RUN.lock().unwrap();
    let first = run.entry(fails).or_insert_with(|| {
        let place = Place::new(&[("test_sync.py", SUITE)]);
        let fails = format!("FAILS={fails}");
        let words = [&LOCAL[..], &["-e", "6", "-j", "2", "-E", &fails]].concat();
        place.run(&words).exits(3);
        Arc::new(place)
    });
    first.copied()
}

fn prove(place: &Place, words: &[&str]) -> Ran {
    place.run(&[&["prove", "logs/serial", "--progress", "none"], words].concat())
}

/// The object on the last line.
fn json(ran: &Ran) -> Value {
    serde_json::from_str(ran.out().lines().last().unwrap()).unwrap()
}

fn recorded(place: &Place, sweep: &str) -> usize {
    let runs = fs::read_dir(place.path(sweep)).into_iter().flatten().flatten();
    runs.filter(|entry| entry.file_name().to_string_lossy().starts_with("run"))
        .count()
}

#[track_caller]
fn is_fewer(proved: &Value) {
    assert_eq!(
        (
            &proved["state"],
            &proved["class"],
            &proved["design"],
            &proved["announced"]
        ),
        (&"fewer".into(), &"A2".into(), &"recorded".into(), &9.into()),
        "{proved}"
    );
    assert_eq!(proved["base"], serde_json::json!({"failed": 3, "of": 6}));
    assert_eq!(proved["new"], serde_json::json!({"failed": 0, "of": 9}));
    assert!((proved["p"].as_f64().unwrap() - 20.0 / 455.0).abs() < 1e-12, "{proved}");
    assert_eq!(proved["runs"], 9);
}

#[test]
fn a_complete_fix_is_shown_by_the_announced_runs_and_not_one_more() {
    let place = base("1,3,5");
    let ran = prove(&place, &["-E", "FAILS=", "-j", "4", "--trust-base", "--format", "json"]).exits(0);
    is_fewer(&json(&ran));
    assert_eq!(recorded(&place, "logs/serial_prove_A2"), 9);
    let err = ran.err();
    assert!(
        err.contains("A2: 3/6 before; if it is gone, 9 clean runs show it (5 %); a failure of A2 ends it"),
        "{err}"
    );
    assert!(err.contains("or --control: about 10 blocks of one run each"), "{err}");
    // The mode, the tests and the rest are the base's; the sweep is one like any other.
    let spec: Value =
        serde_json::from_slice(&fs::read(place.path("logs/serial_prove_A2/sweep.json")).unwrap()).unwrap();
    assert_eq!(spec["proof"]["class"], "A2");
    assert_eq!(spec["backend"], "local");
    place.run(&["summary", "logs/serial_prove_A2"]).exits(0);
    // Asked again, it says the same and runs nothing.
    let again = prove(&place, &["-E", "FAILS=", "-j", "4", "--trust-base"]).exits(0);
    assert_eq!(again.out(), "A2: fewer: 0/9 after 3/6 (p = 0.044)\n");
    assert!(again.err().contains("nothing is run"), "{}", again.err());
    assert_eq!(recorded(&place, "logs/serial_prove_A2"), 9);
}

#[test]
fn a_fix_that_fails_again_is_not_shown_and_the_run_is_named_with_its_evidence() {
    let place = base("1,3,5");
    let ran = prove(&place, &["-E", "FAILS=3"]).exits(3);
    let out = ran.out();
    assert!(
        out.starts_with("A2: not shown: it failed again in run 3 (1/3 after 3/6)\n  run.log:"),
        "{out}"
    );
    assert!(
        out.contains("Router 1 has 78 events, Standalone A has 71 events"),
        "{out}"
    );
    let show = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("reproduce-flaky "))
        .unwrap();
    let words: Vec<&str> = show.split(' ').collect();
    assert_eq!(words, ["show", "logs/serial_prove_A2/run003"]);
    place.run(&words).exits(0);
    // Another fix is another proof.
    let err = prove(&place, &["-E", "FAILS="]).exits(1).err();
    assert!(
        err.contains(
            "`logs/serial_prove_A2` was begun as another proof (variables)\nhint: name the new proof with --tag"
        ),
        "{err}"
    );
    let ran = prove(&place, &["-E", "FAILS=", "-t", "second", "--format", "json"]).exits(0);
    is_fewer(&json(&ran));
}

#[test]
fn a_plan_that_allows_failures_goes_on_after_one() {
    let place = base("1,2,3,4,5,6");
    let words = ["-E", "FAILS=1", "--to", "0.2", "--power", "0.7", "--format", "json"];
    let ran = prove(&place, &words).exits(0);
    let err = ran.err();
    assert!(
        err.contains("clean runs, or ") && err.contains("with one failure"),
        "{err}"
    );
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["new"]["failed"]),
        (&"fewer".into(), &1.into()),
        "{proved}"
    );
    let shown = [
        "prove",
        "logs/serial",
        "--progress",
        "none",
        "-E",
        "FAILS=",
        "-t",
        "other",
    ];
    place.run(&shown).exits(0);
}

#[test]
fn a_failure_of_another_class_is_shown_beside_it_and_decides_nothing() {
    let place = base("1,3,5");
    let ran = prove(&place, &["-E", "FAILS=", "-E", "OTHERS=2"]).exits(0);
    let out = ran.out();
    assert!(
        out.starts_with("A2: fewer: 0/9 after 3/6 (p = 0.044)\n\nas seen beside it, and not proved:\n"),
        "{out}"
    );
    assert!(out.contains("UNKNOWN"), "{out}");
}

#[test]
fn everything_is_run_with_full_and_looked_at_once() {
    let place = base("1,3,5");
    let ran = prove(
        &place,
        &["-E", "FAILS=2", "--full", "-j", "3", "--trust-base", "--format", "json"],
    )
    .exits(3);
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["new"], &proved["runs"]),
        (
            &"not shown".into(),
            &serde_json::json!({"failed": 1, "of": 9}),
            &9.into()
        ),
        "{proved}"
    );
}

#[test]
fn runs_that_errored_are_in_no_count_and_others_take_their_place() {
    let place = base("1,3,5");
    let ran = prove(&place, &["-E", "FAILS=", "-E", "ERRS=2,4", "--format", "json"]).exits(0);
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["new"], &proved["runs"]),
        (&"fewer".into(), &serde_json::json!({"failed": 0, "of": 9}), &11.into()),
        "{proved}"
    );
}

#[test]
fn runs_that_only_error_end_without_a_decision_and_the_same_command_goes_on() {
    let place = base("1,3,5");
    let numbers = (1..=40).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let all = format!("ERRS={numbers}");
    let words = ["-E", "FAILS=", "-E", &all, "--format", "json"];
    let ran = prove(&place, &words).exits(4);
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["p"], &proved["new"]["of"]),
        (&"open".into(), &Value::Null, &0.into()),
        "{proved}"
    );
    assert!(
        ran.err().contains("warning: stopped without a decision: infra"),
        "{}",
        ran.err()
    );
    let before = proved["runs"].as_u64().unwrap();
    let again = json(&prove(&place, &words).exits(4));
    assert!(again["runs"].as_u64().unwrap() > before, "{again}");
    // A wrong path is not run again and again.
    let wrong = prove(
        &place,
        &[
            "-t",
            "wrong",
            "-j",
            "1",
            "--trust-base",
            "--format",
            "json",
            "--",
            "nosuch",
        ],
    )
    .exits(4);
    assert_eq!(json(&wrong)["runs"], 1);
}

fn start(place: &Place, words: &[&str]) -> Child {
    let words = [&["prove", "logs/serial", "--progress", "none"], words].concat();
    let mut command = place.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_proof_that_was_killed_in_the_middle_comes_to_the_same_decision() {
    let place = base("1,3,5");
    let words = [
        "-E",
        "FAILS=",
        "-E",
        "WAITS=6",
        "-j",
        "2",
        "--trust-base",
        "--format",
        "json",
    ];
    let mut killed = start(&place, &words);
    until("five runs", || recorded(&place, "logs/serial_prove_A2") >= 5);
    killed.kill().unwrap();
    killed.wait().unwrap();
    crate::place::end_processes_of(place.dir.path());
    // What becomes of the base meanwhile changes nothing of the plan.
    let more = [&LOCAL[..], &["-e", "8", "-E", "FAILS=1,3,5"]].concat();
    place.run(&more).exits(3);
    fs::write(place.path("gate"), "").unwrap();
    let ran = prove(&place, &words).exits(0);
    is_fewer(&json(&ran));
    assert!(
        ran.err()
            .contains("the base was 3/6 when this proof began, and is 3/8 now"),
        "{}",
        ran.err()
    );
    assert_eq!(place.rows("logs/serial_prove_A2").len(), 9);
}

#[test]
fn a_proof_that_is_interrupted_is_open_and_goes_on() {
    let place = base("1,3,5");
    let words = ["-E", "FAILS=", "-E", "WAITS=4", "--format", "json"];
    let stopped = start(&place, &words);
    until("three runs and a fourth that waits", || {
        recorded(&place, "logs/serial_prove_A2") == 3
    });
    kill_process(Pid::from_child(&stopped), Signal::INT).unwrap();
    fs::write(place.path("gate"), "").unwrap();
    let ran = Ran::of(stopped.wait_with_output().unwrap()).exits(4);
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["new"]["failed"]),
        (&"open".into(), &0.into()),
        "{proved}"
    );
    is_fewer(&json(&prove(&place, &words).exits(0)));
}

#[test]
fn two_processes_share_a_proof_and_agree() {
    let place = base("1,3,5");
    let words = ["-E", "FAILS=", "--format", "json"];
    let both = [start(&place, &words), start(&place, &words)];
    for child in both {
        let ran = Ran::of(child.wait_with_output().unwrap()).exits(0);
        is_fewer(&json(&ran));
    }
    assert_eq!(place.rows("logs/serial_prove_A2").len(), 9);
}

#[test]
fn a_fix_in_containers_is_proved_and_no_container_stays() {
    if !daemon() {
        return;
    }
    let place = Place::new(&[("test_sync.py", SUITE)]);
    let words = [
        "-i",
        "host",
        "--progress",
        "none",
        "-e",
        "6",
        "-j",
        "2",
        "-E",
        "FAILS=1,3,5,7,8,9,10",
    ];
    place.run(&words).exits(3);
    is_fewer(&json(&prove(&place, &["-E", "FAILS=", "--format", "json"]).exits(0)));
    // Another directory holds the fix, and the base runs where it ran.
    let fixed = Place::new(&[("test_sync.py", &SUITE.replace("78 events", "nothing to say"))]);
    let logs = place.path("logs/serial").display().to_string();
    let ran = fixed.run(&["prove", &logs, "--control", "--progress", "none"]).exits(0);
    assert!(ran.out().starts_with("A2: fewer: 0/8 beside 5/8"), "{}", ran.out());
    for dir in [place.dir.path(), fixed.dir.path()] {
        assert_eq!(containers_of(dir), "");
    }
}
