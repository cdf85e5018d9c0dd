//! `worker`: one iteration, run where somebody placed it, recorded by whoever comes first.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::cli::{Place, until};
use crate::engine;

/// Tests that wait for a file named after who runs them.
const GATED: &str = "import os, time
def test_gate():
    open('in-' + os.environ['WHO'], 'w').close()
    while not os.path.exists('gate-' + os.environ['WHO']): time.sleep(0.02)
";

fn sweep(place: &Place, words: &[&str]) {
    let words = [&["--engine", "list", "--backend", "local"], words].concat();
    place.run(&words).exits(0);
}

fn worker(place: &Place, iteration: &str) -> Command {
    place.command(&["worker", "logs/serial", "--iteration", iteration])
}

fn start(place: &Place, iteration: &str, who: &str) -> Child {
    let child = worker(place, iteration)
        .env("WHO", who)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the test to begin", || place.path(&format!("in-{who}")).exists());
    child
}

fn json(place: &Place, path: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(place.path(path)).unwrap()).unwrap()
}

/// Names of the attempts of the sweep that are no result, each with its reason.
fn lost(place: &Place) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(place.path("logs/serial/.attempts"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let reason = fs::read_to_string(entry.path().join("lost.txt")).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), reason)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_failing_test_is_an_answer_and_the_worker_says_so_with_zero() {
    let place = Place::endings();
    sweep(&place, &["-e", "9"]);
    for iteration in ["1", "2", "8"] {
        assert_eq!(worker(&place, iteration).status().unwrap().code(), Some(0));
    }
    let rows = place.rows("logs/serial");
    let verdicts: Vec<&str> = rows.values().map(|row| row["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["passed", "failed", "failed"]);
    let exit = json(&place, "logs/serial/run008/exit.json");
    assert_eq!(exit["signal"], 9);
    for field in ["node", "cores", "load", "co_runners", "attempt"] {
        assert!(!exit[field].is_null(), "{field} in {exit}");
    }
    assert!(exit["attempt"].as_str().unwrap().starts_with("run008."));
    assert!(json(&place, "logs/serial/sweep.json")["image_id"].is_string());
}

#[test]
fn an_iteration_that_is_recorded_is_not_run_again() {
    let place = Place::passing();
    sweep(&place, &["-e", "1"]);
    assert_eq!(worker(&place, "1").status().unwrap().code(), Some(0));
    let before = fs::read(place.path("logs/serial/run001/exit.json")).unwrap();
    assert_eq!(worker(&place, "1").status().unwrap().code(), Some(0));
    assert_eq!(fs::read(place.path("logs/serial/run001/exit.json")).unwrap(), before);
    assert_eq!(place.rows("logs/serial").len(), 1);
}

#[test]
fn of_two_executions_the_first_to_publish_wins_and_the_other_is_kept_as_superseded() {
    let place = Place::new(&[("test_gate.py", GATED)]);
    sweep(&place, &["-e", "1", "-E", "WHO"]);
    let mut first = start(&place, "1", "first");
    let mut second = start(&place, "1", "second");
    fs::write(place.path("gate-second"), "").unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(0));
    let attempt = json(&place, "logs/serial/run001/exit.json")["attempt"].clone();
    fs::write(place.path("gate-first"), "").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(json(&place, "logs/serial/run001/exit.json")["attempt"], attempt);
    assert_eq!(place.rows("logs/serial").len(), 1);
    let lost = lost(&place);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].1.contains("another process recorded this iteration first"));
}

#[test]
fn a_worker_that_is_cut_short_publishes_nothing() {
    let place = Place::new(&[("test_gate.py", GATED)]);
    sweep(&place, &["-e", "1", "-E", "WHO"]);
    let mut child = start(&place, "1", "me");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!place.path("logs/serial/run001").exists());
    assert!(!place.path("logs/serial/results.csv").exists());
    assert!(lost(&place)[0].1.contains("ended by the user"));
}

#[test]
fn a_session_that_got_the_same_signal_first_is_no_result_either() {
    let suite = "import os, time
def test_gate():
    open('in-me', 'w').write(str(os.getpid()))
    time.sleep(1000)
";
    let place = Place::new(&[("test_gate.py", suite)]);
    sweep(&place, &["-e", "1"]);
    let mut child = start(&place, "1", "me");
    until("the session's number", || {
        !fs::read_to_string(place.path("in-me")).unwrap().is_empty()
    });
    let session: i32 = fs::read_to_string(place.path("in-me")).unwrap().parse().unwrap();
    for pid in [
        rustix::process::Pid::from_raw(session).unwrap(),
        rustix::process::Pid::from_child(&child),
    ] {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!place.path("logs/serial/run001").exists());
}

#[test]
fn a_node_with_another_python_gives_no_answer() {
    let place = Place::passing();
    sweep(&place, &["-e", "2"]);
    assert_eq!(worker(&place, "1").status().unwrap().code(), Some(0));
    let mut spec = json(&place, "logs/serial/sweep.json");
    spec["image_id"] = "host-sha256:0".into();
    fs::write(place.path("logs/serial/sweep.json"), spec.to_string()).unwrap();
    let output = worker(&place, "2").output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: `logs/serial` holds a sweep of"));
    assert!(!place.path("logs/serial/run002").exists());
    let lost = lost(&place);
    assert!(
        lost.iter()
            .any(|(name, reason)| name.starts_with("run002.") && reason.contains("holds a sweep of"))
    );
}

#[test]
fn an_engine_that_breaks_the_attempt_leaves_no_record() {
    let place = Place::passing();
    place.run(&["--engine", "list", "-i", "host", "-e", "1"]).exits(0);
    let status = worker(&place, "1")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(75));
    assert!(!place.path("logs/serial/run001").exists());
    assert!(lost(&place)[0].1.contains("no container engine answers"));
}

#[test]
fn where_no_engine_answers_podman_serves_for_the_workers_lifetime() {
    if !engine::has("podman") {
        return crate::place::skip(crate::place::Need::Podman, "no Podman");
    }
    let place = Place::passing();
    place.run(&["--engine", "list", "-i", "host", "-e", "1"]).exits(0);
    // A context whose socket is not there hides the engine that this machine may have.
    let digest = "3fc9b689459d738f8c88a3a48aa9e33542016b7a4052e001aaa536fca74813cb";
    fs::create_dir_all(place.path(&format!("docker/contexts/meta/{digest}"))).unwrap();
    fs::write(
        place.path(&format!("docker/contexts/meta/{digest}/meta.json")),
        r#"{"Endpoints":{"docker":{"Host":"unix:///nonexistent/docker.sock"}}}"#,
    )
    .unwrap();
    let output = worker(&place, "1")
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONFIG", place.path("docker"))
        .env("DOCKER_CONTEXT", "something")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(place.rows("logs/serial")[&1]["verdict"], "passed", "{err}");
    assert_eq!(place.rows("logs/serial")[&1]["backend"], "docker");
    let services = Command::new("pgrep")
        .args(["-f", "reproduce-flaky-podman-.*podman.sock"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&services.stdout),
        "",
        "the service ends with the worker"
    );
}

#[test]
fn there_is_no_worker_without_a_sweep() {
    let place = Place::passing();
    let output = worker(&place, "1").output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.contains("error: failed to open `logs/serial`"), "{err}");
}

#[test]
fn what_a_killed_worker_left_in_a_container_is_removed_by_the_next_one() {
    if !engine::daemon() {
        return;
    }
    let place = Place::new(&[("test_gate.py", GATED)]);
    place
        .run(&["--engine", "list", "-i", "host", "-e", "1", "-E", "WHO"])
        .exits(0);
    let mut first = start(&place, "1", "first");
    let left = engine::containers_of(place.dir.path());
    assert_eq!(left.lines().count(), 1, "{left}");
    first.kill().unwrap();
    first.wait().unwrap();
    fs::write(place.path("gate-second"), "").unwrap();
    let status = worker(&place, "1").env("WHO", "second").status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(engine::containers_of(place.dir.path()), "");
    assert_eq!(place.rows("logs/serial")[&1]["verdict"], "passed");
}
