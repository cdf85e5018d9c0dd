//! Sweeps that are stopped: by signals that their sessions get too, by stop rules, and by standing still.

use std::fs;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Place, until};

/// A test that says who it is and waits for a file, printing all the while.
const GATED: &str = "import os, time

def test_gate():
    with open('pid', 'w') as file:
        file.write(str(os.getpid()))
    os.rename('pid', 'in')
    beats = 0
    while not os.path.exists('gate'):
        print('beat', flush=True)
        beats += 1
        with open('beats', 'w') as file:
            file.write(str(beats))
        time.sleep(0.1)
";

fn start(place: &Place, words: &[&str]) -> Child {
    let words = [
        &["--backend", "local", "--progress", "none", "-e", "1"],
        words,
        &["--", "-s"],
    ]
    .concat();
    let child = place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the session to begin", || place.path("in").exists());
    child
}

fn session(place: &Place) -> Pid {
    let pid = fs::read_to_string(place.path("in")).unwrap();
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

fn beats(place: &Place) -> u64 {
    let text = fs::read_to_string(place.path("beats")).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// What batch systems and terminals do: every process of the job gets the signal, whichever is first.
#[test]
fn a_session_that_dies_of_the_signal_that_stops_the_sweep_is_no_answer() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        for is_tool_first in [false, true] {
            let place = Place::new(&[("test_gate.py", GATED)]);
            let mut tool = start(&place, &[]);
            let mut both = [session(&place), Pid::from_child(&tool)];
            if is_tool_first {
                both.reverse();
            }
            for pid in both {
                kill_process(pid, signal).unwrap();
            }
            assert_eq!(tool.wait().unwrap().code(), Some(130));
            assert!(
                !place.path("logs/serial/run001").exists(),
                "{signal:?}, {is_tool_first}"
            );
            // The same command goes on from there.
            fs::write(place.path("gate"), "").unwrap();
            place.run(&["--backend", "local", "-e", "1", "--", "-s"]).exits(0);
            assert_eq!(place.rows("logs/serial")[&1]["verdict"], "passed");
        }
    }
}

#[test]
fn a_session_that_ends_itself_by_a_signal_is_an_answer_where_nobody_asks_to_stop() {
    let suite = "import os, signal\n\ndef test_end():\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()\n";
    let place = Place::new(&[("test_end.py", suite)]);
    place.run(&["--backend", "local", "-e", "1"]).exits(3);
    assert_eq!(place.rows("logs/serial")[&1]["signal"], "15");
}

#[test]
fn a_tool_that_stood_still_makes_no_hang_of_a_session_that_went_on() {
    let place = Place::new(&[("test_gate.py", GATED)]);
    let mut tool = start(&place, &["--silence", "5s"]);
    let pid = Pid::from_child(&tool);
    kill_process(pid, Signal::STOP).unwrap();
    // By its own count the session goes on for longer than it may be silent.
    let before = beats(&place);
    until("the session to go on", || beats(&place) > before + 75);
    kill_process(pid, Signal::CONT).unwrap();
    let before = beats(&place);
    until("the session to outlive the look at it", || beats(&place) > before + 15);
    fs::write(place.path("gate"), "").unwrap();
    assert_eq!(tool.wait().unwrap().code(), Some(0));
    let exit: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("logs/serial/run001/exit.json")).unwrap()).unwrap();
    assert_eq!(exit["ended_by"], "itself");
    assert!(
        exit["quiet_s"].as_f64().unwrap() < 7.5,
        "the time nobody listened is no silence: {exit}"
    );
}

#[test]
fn a_stop_rule_marks_the_sweep_whoever_ends_last_and_whoever_merges_it() {
    let suite = "import os\n\ndef test_odd():\n    assert int(os.environ['REPRODUCE_FLAKY_ITERATION']) % 2\n";
    let place = Place::new(&[("test_odd.py", suite)]);
    let sweep = ["--backend", "local", "-e", "6"];
    place.run(&[&sweep[..], &["--until", "any=1"]].concat()).exits(3);
    place.run(&sweep).exits(3);
    let method = |sweep: &str| {
        let out = place.run(&["summary", sweep, "--format", "json"]).exits(0).out();
        let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
        summary["rate"]["method"].as_str().unwrap().to_owned()
    };
    assert_eq!(method("logs/serial"), "confidence_sequence");
    let status = place.run(&["status", "logs/serial"]).exits(0).out();
    assert!(status.contains("not running (complete)"), "{status}");
    place.run(&["merge", "logs/merged", "logs/serial"]).exits(0);
    assert_eq!(method("logs/merged"), "confidence_sequence");
    // Once more into what is there: the reasons of both.
    place.run(&["--backend", "local", "-e", "6", "-t", "fixed"]).exits(3);
    place
        .run(&["merge", "logs/serial_fixed", "logs/serial", "--renumber"])
        .exits(0);
    assert_eq!(method("logs/serial_fixed"), "confidence_sequence");
}
