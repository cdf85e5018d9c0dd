//! The planted races of `examples/races`: they build anywhere, and a condition brings one of them out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::Place;
use crate::engine;
use crate::place::alone;

/// The example in a directory of its own, without what was built in the checkout.
fn example() -> Place {
    let place = Place::new(&[]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/races");
    for name in ["conftest.py", "test_races.py", "build"] {
        fs::copy(from.join(name), place.path(name)).unwrap();
    }
    for folder in ["c", "rust"] {
        fs::create_dir(place.path(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), place.path(folder).join(entry.file_name())).unwrap();
        }
    }
    place
}

#[test]
fn the_races_are_built_in_the_sessions_own_directory_and_pass_where_no_round_is_run() {
    if !engine::has("cc") || !engine::has("rustc") {
        return;
    }
    let place = example();
    let words = [
        "--backend",
        "local",
        "-e",
        "1",
        "--progress",
        "none",
        "-E",
        "RACES_ROUNDS=0",
    ];
    place.run(&words).exits(0);
    let log = fs::read_to_string(place.path("logs/serial/run001/run.log")).unwrap();
    assert!(log.contains("= 6 passed in "), "{log}");
    assert!(!place.path("built").exists());
}

/// How many of the sweep's iterations have a failing test of each name, and how many there were.
fn failures(place: &Place, sweep: &str) -> (BTreeMap<String, u32>, u32) {
    let (mut failed, mut runs) = (BTreeMap::new(), 0);
    for run in place.rows(sweep).into_values() {
        runs += u32::from(run["verdict"] != "errored");
        for test in run["failing_tests"].split(';').filter(|test| !test.is_empty()) {
            *failed.entry(test.to_owned()).or_default() += 1;
        }
    }
    (failed, runs)
}

/// Alone on the machine, for half an hour: what else runs is a condition too.
#[test]
fn most_of_the_races_come_more_often_when_threads_are_stopped() {
    if !alone() || !engine::daemon() || !engine::has("cc") || !engine::has("rustc") {
        return;
    }
    let place = example();
    assert!(Command::new(place.path("build")).status().unwrap().success());
    let words = ["-i", "host", "-e", "30", "--progress", "none", "-t"];
    for (tag, starve) in [("plain", &[][..]), ("starved", &["--starve", "40%"])] {
        let code = place.run(&[&words[..], &[tag], starve].concat()).code();
        assert!(matches!(code, Some(0 | 3)), "{tag}: {code:?}");
    }
    let (plain, of_plain) = failures(&place, "logs/serial_plain");
    let (starved, of_starved) = failures(&place, "logs/serial_starved");
    assert!(
        of_plain >= 25 && of_starved >= 25,
        "{of_plain} and {of_starved} runs have an answer"
    );
    let is_raised = |(test, failed): (&String, &u32)| {
        let before = format!("{}/{of_plain}", plain.get(test).unwrap_or(&0));
        let now = format!("{failed}/{of_starved}");
        let compared = place.run(&["compare", &before, &now, "--format", "json"]).out();
        let object: Value = serde_json::from_str(compared.lines().last().unwrap()).unwrap();
        let p = object["classes"][0]["p_greater"].as_f64().unwrap();
        (format!("{test}: {before}, then {now}: p = {p:.4}"), p < 0.05)
    };
    let found: Vec<(String, bool)> = starved.iter().map(is_raised).collect();
    let raised = found.iter().filter(|(_, is_raised)| *is_raised).count();
    assert!(raised >= 4, "{raised} of six came more often: {found:#?}");
}
