//! `status` while sweeps run, and after their processes are gone.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::cli::{Place, until};

fn slow() -> Place {
    Place::new(&[(
        "test_slow.py",
        "import time\n\ndef test_slow():\n    print('routing', flush=True)\n    time.sleep(600)\n",
    )])
}

fn start(place: &Place) -> Child {
    let words = ["--backend", "local", "-e", "4", "-j", "2", "--", "-s"];
    place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn sweeps(place: &Place, words: &[&str]) -> Vec<Value> {
    let out = place
        .run(&[&["status", "--format", "json"], words].concat())
        .exits(0)
        .out();
    let status: Value = serde_json::from_str(&out).unwrap();
    status["sweeps"].as_array().unwrap().clone()
}

#[test]
fn a_running_sweep_is_seen_from_anywhere_with_its_iterations_until_its_process_is_gone() {
    let place = slow();
    assert!(
        sweeps(&place, &["--logs-dir", "none"])
            .iter()
            .all(|sweep| !is_of(sweep, &place))
    );
    let mut sweep = start(&place);
    let is_printing = |status: &Value| {
        let running = status["in_flight"].as_array().unwrap();
        running.len() == 2
            && running
                .iter()
                .all(|one| one["last_line"].to_string().contains("routing"))
    };
    until("two iterations that print", || {
        sweeps(&place, &[])
            .iter()
            .any(|status| is_of(status, &place) && is_printing(status))
    });
    let status = sweeps(&place, &["logs/serial"]).remove(0);
    assert_eq!(
        (&status["running"], &status["planned"], &status["recorded"]),
        (&true.into(), &4.into(), &0.into())
    );
    let running = &status["in_flight"][0];
    assert_eq!(
        (&running["iteration"], &running["pid"]),
        (&1.into(), &sweep.id().into())
    );
    assert!(running["elapsed_s"].as_f64().unwrap() >= 0.0);

    let text = place.run(&["status"]).exits(0).out();
    assert!(text.contains("logs/serial  running\n  0 of 4 recorded"), "{text}");
    assert!(text.contains("2 iterations in flight"), "{text}");

    let elsewhere = Place::passing();
    assert!(
        sweeps(&elsewhere, &[])
            .iter()
            .any(|status| is_of(status, &place) && status["running"] == true)
    );

    sweep.kill().unwrap();
    sweep.wait().unwrap();
    let status = sweeps(&place, &["logs/serial"]).remove(0);
    assert_eq!(
        (&status["running"], &status["in_flight"]),
        (&false.into(), &Value::Array(Vec::new()))
    );
    crate::place::end_processes_of(place.dir.path());
}

/// Whether it is the sweep of this place: by its relative name in the place, by its full one elsewhere.
fn is_of(status: &Value, place: &Place) -> bool {
    let name = status["sweep"].as_str().unwrap();
    let full = place.dir.path().canonicalize().unwrap().join("logs/serial");
    name == "logs/serial" || name == full.display().to_string()
}

#[test]
fn a_sweep_that_ended_says_how() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    let status = sweeps(&place, &["logs"]).remove(0);
    assert_eq!(
        (&status["running"], &status["passed"], &status["ended"]),
        (&false.into(), &2.into(), &"complete".into())
    );
    let text = place.run(&["status", "logs/serial"]).exits(0).out();
    assert_eq!(
        text,
        "logs/serial  not running (complete)\n  2 of 2 recorded: 2 passed, 0 failed, 0 errored\n"
    );
    let empty = tempfile::tempdir().unwrap();
    let named = place
        .run(&["status", empty.path().to_str().unwrap(), "--format", "json"])
        .exits(0)
        .out();
    assert!(named.contains("\"sweeps\": []"), "{named}");
}
