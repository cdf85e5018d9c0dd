//! Whole sweeps of sessions that hang, each in its own way: what is recorded, what is left to look at, what is kept.

use std::fs;
use std::time::Duration;

use crate::cli::Place;
use crate::engine;
use crate::sessions::{Sweep, drain, kill, read_until};

/// A way of hanging for each iteration.
const SUITE: &str = "
import atexit, ctypes, os, subprocess, sys, threading, time
import pytest

ITERATION = int(os.environ['REPRODUCE_FLAKY_ITERATION'])

def hang_in_second_router():
    ctypes.PyDLL(None).sleep(1000)

def wait_for_nobody():
    condition = threading.Condition()
    with condition:
        condition.wait()

def hang_in_collection():
    ctypes.PyDLL(None).sleep(1000)

if ITERATION == 4:
    hang_in_collection()

def hang_after_green():
    ctypes.PyDLL(None).sleep(1000)

@pytest.fixture
def router():
    yield
    if ITERATION == 3:
        hang_in_teardown()

def hang_in_teardown():
    time.sleep(1000)

CHILD = '''
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def ignore_everybody():
    time.sleep(1000)
ignore_everybody()
'''

def test_before():
    pass

def test_router(router):
    if ITERATION == 1:
        hang_in_second_router()
    if ITERATION == 2:
        wait_for_nobody()
    if ITERATION == 5:
        atexit.register(hang_after_green)
    if ITERATION == 6:
        subprocess.Popen([sys.executable, '-c', CHILD]).wait()

def test_after():
    pass
";

/// Of each iteration: the test that is named, the function that stands in the stacks, and a call of the kernel.
const SHAPES: [(&str, &str, &str); 6] = [
    ("test_hang.py::test_router", "in hang_in_second_router", "nanosleep("),
    ("test_hang.py::test_router", "in wait_for_nobody", "futex("),
    ("test_hang.py::test_router", "in hang_in_teardown", "nanosleep("),
    ("test_hang.py", "in hang_in_collection", "nanosleep("),
    // Nothing is to blame once all tests have passed.
    ("", "in hang_after_green", "nanosleep("),
    ("test_hang.py::test_router", "in ignore_everybody", "nanosleep("),
];

fn place() -> Place {
    Place::new(&[("test_hang.py", SUITE)])
}

#[track_caller]
fn is_a_hang(place: &Place, sweep: &str, iteration: u32, (test, function, call): (&str, &str, &str)) {
    let row = &place.rows(sweep)[&iteration];
    assert_eq!(
        (
            row["outcome"].as_str(),
            row["categories"].as_str(),
            row["failing_tests"].as_str()
        ),
        ("hung", "A4", test),
        "iteration {iteration}"
    );
    let stacks = fs::read_to_string(place.path(&format!("{sweep}/run{iteration:03}/autopsy/stacks.txt"))).unwrap();
    assert!(
        stacks.contains(function) && stacks.contains(call),
        "iteration {iteration}: {stacks}"
    );
}

#[track_caller]
fn every_shape_is_a_hang(flags: &[&str]) {
    let place = place();
    place
        .run(&[flags, &["-e", "6", "-j", "3", "--silence", "6s", "--grace", "2s"]].concat())
        .exits(3);
    for (iteration, shape) in (1..).zip(SHAPES) {
        is_a_hang(&place, "logs/serial", iteration, shape);
    }
    let left = place.path("logs/serial/run001/.stacks");
    assert!(!left.exists(), "what the stacks were written to is no part of the run");
}

#[test]
fn every_way_of_hanging_on_this_machine_is_named_and_leaves_its_stacks() {
    every_shape_is_a_hang(&["--backend", "local"]);
}

#[test]
fn every_way_of_hanging_in_a_container_is_named_and_leaves_its_stacks() {
    if engine::daemon() {
        every_shape_is_a_hang(&["-i", "host"]);
    }
}

#[test]
fn a_hang_in_a_worker_of_several_is_named_at_the_deadline() {
    let place = place();
    place
        .run(&[
            "--backend",
            "local",
            "-p",
            "2",
            "-e",
            "1",
            "--timeout",
            "8s",
            "--grace",
            "2s",
        ])
        .exits(3);
    is_a_hang(&place, "logs/n2", 1, SHAPES[0]);
    assert_eq!(place.rows("logs/n2")[&1]["ended_by"], "deadline");
}

#[test]
fn a_hung_session_of_this_machine_is_not_kept_and_that_is_said() {
    let place = place();
    let ran = place
        .run(&["--backend", "local", "-e", "1", "--silence", "5s", "--on-hang", "keep"])
        .exits(3);
    assert!(ran.err().contains("a session that hangs is not kept"), "{}", ran.err());
    assert_eq!(place.rows("logs/serial")[&1]["outcome"], "hung");
}

#[test]
fn a_hung_container_is_kept_until_its_time_is_over_and_the_sweep_goes_on() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    let words = [
        "-i",
        "host",
        "-e",
        "7",
        "-s",
        "6",
        "--silence",
        "6s",
        "--on-hang",
        "keep",
        "--keep-for",
        "30m",
    ];
    let ran = place.run(&words).exits(3);
    let (rows, said) = (place.rows("logs/serial"), ran.err());
    assert_eq!(
        (rows[&6]["outcome"].as_str(), rows[&6]["exit_code"].as_str()),
        ("hung", "")
    );
    assert_eq!(rows[&7]["outcome"], "passed");
    let names = engine::containers_of(place.dir.path());
    let name = names.split(' ').next().unwrap();
    assert!(said.contains(&format!("docker exec -it {name} sh")), "{said}\n{names}");
    let shown = place.run(&["show", "serial", "6"]).exits(0).out();
    assert!(
        shown.contains("left running until ") && shown.contains(&format!("docker exec -it {name} sh")),
        "{shown}"
    );
    // It runs, and what hung is in there.
    let processes = engine::docker(&["exec", name, "python3", "-c", LIST]).unwrap();
    assert!(processes.contains("ignore_everybody"), "{processes}");
    // Its sweep is gone, but its time is not over.
    let gc = place.run(&["gc"]).exits(0).out();
    assert!(gc.contains("kept until ") && gc.contains(name), "{gc}");
    assert_eq!(engine::containers_of(place.dir.path()), names);
    let (begin, _) = name.rsplit_once('-').unwrap();
    engine::docker(&["rename", name, &format!("{begin}-1000000000")]).unwrap();
    place.run(&["gc"]).exits(0);
    assert_eq!(engine::containers_of(place.dir.path()), "");
}

/// Prints the command lines of all processes.
const LIST: &str = "
import glob
for path in glob.glob('/proc/[0-9]*/cmdline'): print(open(path).read())
";

#[tokio::test]
async fn a_kept_container_is_removed_by_its_own_sweep_when_its_time_is_over() {
    if !engine::daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let attempt = sweep.python("print('HANGING NOW', flush=True); import time; time.sleep(1000)");
    let backend = sweep.open().await.unwrap();
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "HANGING NOW").await;
    assert!(session.can_be_kept());
    let kept = session.keep(Duration::from_millis(1)).await.unwrap();
    let ended = session.finish().await.unwrap();
    assert_eq!((ended.code, ended.finished_at), (None, None));
    assert!(ended.started_at.is_some());
    while engine::docker(&["inspect", &kept.container]).is_some() {
        tokio::task::yield_now().await;
    }
    backend.close().await;
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_kept() {
    if !engine::daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let attempt = sweep.python("print('done')");
    let backend = sweep.open().await.unwrap();
    let mut session = backend.start(&attempt).await.unwrap();
    drain(&mut *session).await.unwrap();
    let error = session.keep(Duration::from_secs(3600)).await.unwrap_err().to_string();
    assert!(error.contains("it ended while it was looked at"), "{error}");
    kill(session).await;
    backend.close().await;
    assert_eq!(engine::containers_of(sweep.workspace.parent().unwrap()), "");
}
