//! Sweeps on a real Slurm of three nodes: every iteration is recorded exactly once, whatever befalls the nodes.

pub(crate) mod cluster;
mod nodes;
mod queue;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};

use crate::cli::{Place, Ran, until};
use cluster::{Cluster, ran};

/// A test that waits for a file: `go`, or one named after the node and the restart that it runs in.
const GATED: &str = "import os, time
def test_gate():
    me = os.environ['SLURMD_NODENAME'] + '-' + os.environ.get('SLURM_RESTART_COUNT', '0')
    open('in-' + os.environ['REPRODUCE_FLAKY_ITERATION'] + '-' + me, 'w').close()
    while not os.path.exists('go') and not os.path.exists('go-' + me): time.sleep(0.05)
";

/// A sweep on a cluster, by processes of its nodes.
fn command(place: &Place, cluster: &Cluster, words: &[&str]) -> Command {
    let words = [
        &["--engine", "slurm", "--backend", "local", "--progress", "plain"],
        words,
    ]
    .concat();
    place_command(place, cluster, &words)
}

fn place_command(place: &Place, cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = place.command(words);
    command.envs(cluster.environment());
    command
}

fn start(place: &Place, cluster: &Cluster, words: &[&str]) -> Child {
    command(place, cluster, words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(place: &Place, cluster: &Cluster, words: &[&str]) -> Ran {
    ran(start(place, cluster, words))
}

fn exits(place: &Place, last: u32) -> Vec<serde_json::Value> {
    let read = |iteration: u32| {
        let path = place.path(&format!("logs/serial/run{iteration:03}/exit.json"));
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
    };
    (1..=last).map(read).collect()
}

/// Each iteration is recorded, and stands once in the table.
#[track_caller]
fn recorded_once(place: &Place, last: u32) -> BTreeMap<u32, BTreeMap<String, String>> {
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    let lines = fs::read_to_string(place.path("logs/serial/results.txt")).unwrap();
    assert_eq!(lines.lines().count(), last as usize, "{lines}");
    rows
}

/// Most iterations that ran at one moment, from what each says of its start and its length.
fn most_at_once(exits: &[serde_json::Value]) -> usize {
    let spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = exits
        .iter()
        .map(|exit| {
            let start: DateTime<Utc> = exit["started_at"].as_str().unwrap().parse().unwrap();
            let millis = exit["duration_s"].as_f64().unwrap() * 1000.0;
            #[expect(clippy::cast_possible_truncation, reason = "a test lasts less than a million years")]
            let length = chrono::Duration::milliseconds(millis as i64);
            (start, start + length)
        })
        .collect();
    let at = |moment: DateTime<Utc>| {
        spans
            .iter()
            .filter(|(from, to)| *from <= moment && moment < *to)
            .count()
    };
    spans.iter().map(|(from, _)| at(*from)).max().unwrap()
}

/// Reasons of attempts that are no result, by name.
fn lost(place: &Place) -> BTreeMap<String, String> {
    let attempts = fs::read_dir(place.path("logs/serial/.attempts"))
        .unwrap()
        .map(Result::unwrap);
    attempts
        .map(|entry| {
            let reason = fs::read_to_string(entry.path().join("lost.txt")).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), reason)
        })
        .collect()
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn twenty_iterations_run_four_at_once_on_three_nodes_and_a_failing_one_is_an_answer() {
    let Some(cluster) = Cluster::shared() else { return };
    let place = Place::new(&[(
        "test_one.py",
        "import os, time
def test_one():
    time.sleep(0.3)
    assert os.environ['REPRODUCE_FLAKY_ITERATION'] not in ('3', '11'), 'three'
",
    )]);
    let ran = run(&place, &cluster, &["-e", "20", "-j", "4"]).exits(3);
    assert!(ran.err().contains("note: handed to Slurm as job "), "{}", ran.err());
    assert!(ran.out().contains("2/20 failed"), "{}", ran.out());
    let rows = recorded_once(&place, 20);
    assert_eq!(rows[&11]["verdict"], "failed");
    let exits = exits(&place, 20);
    let most = most_at_once(&exits);
    assert!((2..=4).contains(&most), "{most} at once");
    let nodes: std::collections::BTreeSet<&str> = exits.iter().map(|exit| exit["node"].as_str().unwrap()).collect();
    assert!(
        nodes.len() > 1 && nodes.is_subset(&["n1", "n2", "n3"].into()),
        "{nodes:?}"
    );
    // The same again hands over nothing.
    let ran = run(&place, &cluster, &["-e", "20", "-j", "4"]).exits(3);
    assert!(!ran.err().contains("handed to Slurm"), "{}", ran.err());
    assert_eq!(
        fs::read_dir(place.path("logs/serial/tickets")).unwrap().count(),
        2,
        "one ticket and the lock"
    );
}

#[test]
fn what_is_cancelled_leaves_no_false_record_and_the_same_command_resumes() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    fs::write(place.path("go"), "").unwrap();
    run(&place, &cluster, &["-e", "2", "-j", "2"]).exits(0);
    fs::remove_file(place.path("go")).unwrap();
    let sweep = start(&place, &cluster, &["-e", "6", "-j", "2"]);
    until("two tests", || {
        let running = cluster.running();
        running.len() == 2
            && running
                .iter()
                .all(|(index, node)| place.path(&format!("in-{index}-{node}-0")).exists())
    });
    let cancel = place_command(&place, &cluster, &["cancel", "logs/serial"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&cancel.stdout),
        "4 iterations taken back; what is recorded stays\n"
    );
    ran(sweep).exits(130);
    assert_eq!(place.rows("logs/serial").len(), 2);
    assert_eq!(
        lost(&place)
            .values()
            .filter(|reason| reason.contains("ended by the user"))
            .count(),
        2
    );
    fs::write(place.path("go"), "").unwrap();
    run(&place, &cluster, &["-e", "6", "-j", "2"]).exits(0);
    recorded_once(&place, 6);
}

#[test]
fn an_interrupt_detaches_and_the_same_command_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "5", "-j", "1"]);
    until("the first test", || !cluster.running().is_empty());
    rustix::process::kill_process(rustix::process::Pid::from_child(&sweep), rustix::process::Signal::INT).unwrap();
    let detached = ran(sweep).exits(130);
    assert!(
        detached.err().contains("note: reproduce-flaky cancel logs/serial"),
        "{}",
        detached.err()
    );
    assert_eq!(cluster.running().len(), 1);
    let more = place_command(&place, &cluster, &["status", "logs/serial", "--jobs", "3"])
        .output()
        .unwrap();
    assert!(more.status.success(), "{more:?}");
    until("three at once", || cluster.running().len() == 3);
    let again = start(&place, &cluster, &["-e", "5", "-j", "3"]);
    fs::write(place.path("go"), "").unwrap();
    let again = ran(again).exits(0);
    assert!(
        again.err().contains("5 iterations are queued or running already"),
        "{}",
        again.err()
    );
    assert!(!again.err().contains("handed to Slurm"), "{}", again.err());
    recorded_once(&place, 5);
}

#[test]
fn doctor_looks_at_a_node_through_srun() {
    let Some(cluster) = Cluster::shared() else { return };
    let place = Place::passing();
    let words = ["doctor", "--engine", "slurm", "--backend", "local", "--format", "json"];
    let output = place_command(&place, &cluster, &words).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["can_run"], true, "{found}");
    let whats: Vec<&str> = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["what"].as_str().unwrap())
        .collect();
    assert!(whats.starts_with(&["slurm", "python", "logs"]), "{whats:?}");
    let nowhere = [&words[..], &["--sbatch=--partition=nowhere"]].concat();
    let output = place_command(&place, &cluster, &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("error: `srun` refused: "),
        "{output:?}"
    );
}

#[test]
fn containers_run_on_the_nodes_too() {
    if !crate::engine::daemon() {
        return;
    }
    let Some(cluster) = Cluster::shared() else { return };
    let place = Place::passing();
    let words = [
        "--engine",
        "slurm",
        "-i",
        "host",
        "-e",
        "3",
        "-j",
        "2",
        "--progress",
        "plain",
    ];
    let output = place_command(&place, &cluster, &words).output().unwrap();
    Ran::of(output).exits(0);
    let rows = recorded_once(&place, 3);
    assert!(
        rows.values()
            .all(|row| row["backend"] == "docker" && row["node"].starts_with('n')),
        "{rows:?}"
    );
    assert_eq!(crate::engine::containers_of(place.dir.path()), "");
}

#[test]
fn without_slurm_the_missing_program_is_named() {
    let place = Place::passing();
    let output = place
        .command(&["--engine", "slurm", "--backend", "local", "-e", "1"])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: `scontrol` is not on this machine"), "{err}");
    assert!(err.contains("hint: run this where Slurm's commands are"), "{err}");
}
