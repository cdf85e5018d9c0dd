//! `merge`: sweeps made in different places become one, with nothing lost, doubled or overwritten.

use std::fs;
use std::path::Path;

use crate::cli::{Place, Ran};

const FAILING_THIRD: &str = "import os
def test_one():
    assert os.environ['REPRODUCE_FLAKY_ITERATION'] != '3', 'three'
";

/// A place with sweeps of one suite, each below a directory of its own: first and last iteration.
fn shards(shards: &[(&str, &str, &str)]) -> Place {
    let place = Place::new(&[("test_one.py", FAILING_THIRD)]);
    for (name, first, last) in shards {
        let words = ["--backend", "local", "--logs-dir", name, "-s", first, "-e", last, "-q"];
        place.run(&words);
    }
    place
}

fn merge(place: &Place, words: &[&str]) -> Ran {
    place.run(&[&["merge", "all/serial"], words].concat())
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn shards_become_one_sweep_and_each_run_says_where_it_came_from() {
    let place = shards(&[("a", "1", "2"), ("b", "3", "4")]);
    let ran = merge(&place, &["a/serial", "b/serial"]).exits(0);
    assert_eq!(ran.out(), "4 iterations copied from 2 sweeps, 0 were there already\n");
    let rows = place.rows("all/serial");
    let verdicts: Vec<&str> = rows.values().map(|row| row["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["passed", "passed", "failed", "passed"]);
    let from = json(&place.path("all/serial/run003/merged.json"));
    let sweep = place.path("b/serial").canonicalize().unwrap();
    assert_eq!(from["sweep"], sweep.to_str().unwrap());
    assert_eq!(from["iteration"], 3);
    let exit = |dir: &str| fs::read(place.path(dir).join("run003/exit.json")).unwrap();
    assert_eq!(exit("all/serial"), exit("b/serial"));
    let spec = json(&place.path("all/serial/sweep.json"));
    assert_eq!((&spec["first"], &spec["last"]), (&1.into(), &4.into()));
    assert!(
        fs::read_to_string(place.path("all/serial/summary.txt"))
            .unwrap()
            .contains("1/4 failed")
    );
    assert_eq!(fs::read_dir(place.path("all/serial/.attempts")).unwrap().count(), 0);
}

#[test]
fn of_two_answers_to_one_iteration_the_first_stays_where_that_is_asked() {
    let place = shards(&[("a", "1", "2"), ("b", "2", "3")]);
    merge(&place, &["a/serial", "b/serial"]).exits(1);
    let ran = merge(&place, &["--keep-first", "a/serial", "b/serial"]).exits(0);
    assert_eq!(
        ran.out(),
        "3 iterations copied from 2 sweeps, 0 were there already, 1 left out for an earlier answer\n"
    );
    let exit = |sweep: &str| fs::read(place.path(sweep).join("run002/exit.json")).unwrap();
    assert_eq!(exit("all/serial"), exit("a/serial"));
    assert_ne!(exit("all/serial"), exit("b/serial"));
    merge(&place, &["--keep-first", "--renumber", "a/serial"]).exits(2);
}

#[test]
fn merging_again_copies_nothing() {
    let place = shards(&[("a", "1", "2")]);
    merge(&place, &["a/serial"]).exits(0);
    let ran = merge(&place, &["a/serial", "--renumber"]).exits(0);
    assert_eq!(ran.out(), "0 iterations copied from 1 sweeps, 2 were there already\n");
    assert_eq!(place.rows("all/serial").len(), 2);
}

#[test]
fn a_number_that_is_taken_is_refused_unless_it_may_change() {
    let place = shards(&[("a", "1", "3"), ("b", "2", "3")]);
    let ran = merge(&place, &["a/serial", "b/serial"]).exits(1);
    assert!(
        ran.err()
            .contains("error: `b/serial` has iterations whose numbers are taken by others: 2-3"),
        "{}",
        ran.err()
    );
    assert!(
        ran.err().contains("hint: --renumber gives them the next free numbers"),
        "{}",
        ran.err()
    );
    assert!(!place.path("all").exists());
    merge(&place, &["a/serial", "b/serial", "--renumber"]).exits(0);
    let rows = place.rows("all/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(
        (rows[&3]["verdict"].as_str(), rows[&5]["verdict"].as_str()),
        ("failed", "failed")
    );
    assert_eq!(json(&place.path("all/serial/run005/merged.json"))["iteration"], 3);
}

#[test]
fn a_dry_run_says_what_would_be_copied_and_copies_nothing() {
    let place = shards(&[("a", "1", "1")]);
    let ran = merge(&place, &["a/serial", "--dry-run"]).exits(0);
    assert_eq!(ran.out(), "all/serial/run001 <- a/serial/run001\n");
    assert!(!place.path("all").exists());
}

#[test]
fn sweeps_of_different_things_stay_apart() {
    let place = shards(&[("a", "1", "1")]);
    place.run(&[
        "--backend",
        "local",
        "--logs-dir",
        "b",
        "-s",
        "2",
        "-e",
        "2",
        "-q",
        "--",
        "-k",
        "one",
    ]);
    let ran = merge(&place, &["a/serial", "b/serial"]).exits(1);
    assert!(
        ran.err().contains(
            "error: `b/serial` is of something else: `a/serial` holds a sweep with pytest arguments none, not `-k one`"
        ),
        "{}",
        ran.err()
    );
    assert!(!place.path("all").exists());
    let spec = place.path("a/serial/sweep.json");
    let mut other = json(&spec);
    other["image_id"] = "host-sha256:0".into();
    fs::create_dir_all(place.path("c")).unwrap();
    fs::write(place.path("c/sweep.json"), other.to_string()).unwrap();
    merge(&place, &["a/serial", "c"]).exits(1);
    let ran = merge(&place, &["nowhere"]).exits(1);
    assert!(
        ran.err().contains("error: `nowhere` does not say what it ran"),
        "{}",
        ran.err()
    );
}

#[test]
fn a_copy_that_was_cut_short_is_no_run_and_the_same_call_goes_on() {
    let place = shards(&[("a", "1", "2")]);
    merge(&place, &["a/serial"]).exits(0);
    // As a power cut leaves it: one run not there yet, half of its copy aside.
    fs::remove_dir_all(place.path("all/serial/run002")).unwrap();
    let half = place.path("all/serial/.attempts/run002.merging-elsewhere-1");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("run.log"), "half").unwrap();
    let ran = merge(&place, &["a/serial"]).exits(0);
    assert_eq!(ran.out(), "1 iterations copied from 1 sweeps, 1 were there already\n");
    assert_eq!(place.rows("all/serial").len(), 2);
    assert!(!half.exists(), "nobody will ever finish it");
    let log = |dir: &str| fs::read(place.path(dir).join("run002/run.log")).unwrap();
    assert_eq!(log("all/serial"), log("a/serial"));
}
