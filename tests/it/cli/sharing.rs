//! Several processes on one directory, and one that is interrupted.

use std::fs;
use std::process::{Child, Stdio};

use super::{Place, published, until};
use crate::engine;

fn spawn(place: &Place, words: &[&str]) -> Child {
    place
        .command(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[track_caller]
fn four_processes_share_a_directory(place: &Place, backend: &[&str]) {
    let words = [backend, &["-s", "1", "-e", "16", "-j", "2"]].concat();
    let mut processes: Vec<Child> = (0..4).map(|_| spawn(place, &words)).collect();
    let sweep = place.path("logs/serial");
    until("the first results", || published(&sweep) >= 3);
    let mut killed = processes.remove(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    for mut process in processes {
        assert_eq!(process.wait().unwrap().code(), Some(0));
    }
    place.run(&words).exits(0);
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    let lines = fs::read_to_string(sweep.join("results.txt")).unwrap();
    assert_eq!(lines.lines().count(), 16);
}

#[test]
fn four_processes_on_one_directory_run_each_iteration_once_even_if_one_is_killed() {
    four_processes_share_a_directory(&Place::passing(), &["--backend", "local"]);
}

#[test]
fn the_same_holds_for_containers_and_the_killed_ones_are_removed() {
    if !engine::daemon() {
        return;
    }
    let place = Place::passing();
    four_processes_share_a_directory(&place, &["-i", "host"]);
    assert_eq!(engine::containers_of(place.dir.path()), "");
}

#[test]
fn an_interrupted_sweep_ends_with_130_writes_its_summary_and_leaves_no_container() {
    if !engine::daemon() {
        return;
    }
    let place = Place::new(&[("test_slow.py", "import time\n\ndef test_slow():\n    time.sleep(0.5)\n")]);
    let mut sweep = place
        .command(&["-i", "host", "-e", "500"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the first result", || published(&place.path("logs/serial")) >= 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(sweep.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
    assert!(place.path("logs/serial/summary.txt").exists());
    assert_eq!(engine::containers_of(place.dir.path()), "");
    let recorded = published(&place.path("logs/serial"));
    assert!(recorded < 500, "{recorded}");
    assert_eq!(place.rows("logs/serial").len(), recorded);
}
