//! Starvation: threads and processes of a container that are stopped again and again, what is written down of it, and
//! that nothing of the session's own account suffers.

mod refused;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::cli::Place;
use crate::engine;
use crate::sessions::{PATIENCE, Sweep, drain, run};
use reproduce_flaky::judge::starvation::Means;
use reproduce_flaky::spec::Recipe;

fn starved(share: &str) -> Sweep {
    let mut sweep = Sweep::new("host");
    sweep.spec.container.starve = Some(share.parse().unwrap());
    sweep
}

/// A process with threads of its own that waits for a child, and counts what it hears of it.
const FAMILY: &str = "
import os, signal, subprocess, sys, threading, time
heard = 0
def hear(*_):
    global heard
    heard += 1
signal.signal(signal.SIGCHLD, hear)
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(4)]
for thread in threads: thread.start()
child = subprocess.Popen(['sleep', '100'])
until = time.monotonic() + 4
while time.monotonic() < until: time.sleep(0.01)
print('heard', heard)
child.kill()
print('ended', child.wait())
over.set()
";

#[tokio::test]
async fn windows_are_written_down_keep_to_their_share_and_no_parent_hears_of_them() {
    if !engine::daemon() {
        return;
    }
    let sweep = starved("50%");
    let backend = sweep.open().await.unwrap();
    let (output, ended) = run(&*backend, &sweep.python(FAMILY)).await.unwrap();
    assert_eq!(output, "heard 0\nended -9\n");
    assert_eq!((ended.code, ended.starved), (Some(0), Means::Stop));
    let started = ended.started_at.unwrap().timestamp_micros() as f64 / 1e6;
    let windows = ended.windows;
    assert!(!windows.is_empty());
    let mut stopped = 0.0;
    for window in &windows {
        // All that was taken before had been saved up by then; a millisecond is what the clock is read apart.
        let share = stopped / (window.at - started);
        assert!(share <= 0.5 + 0.001 * windows.len() as f64, "{share} before {window:?}");
        stopped += window.duration_s;
    }
    assert!(windows.iter().any(|window| window.thread.is_some()), "{windows:?}");
    assert!(windows.iter().any(|window| window.thread.is_none()), "{windows:?}");
    backend.close().await;
}

#[tokio::test]
async fn only_what_is_named_is_stopped() {
    if !engine::daemon() {
        return;
    }
    let sweep = starved("60%:sleep");
    let backend = sweep.open().await.unwrap();
    let (_, ended) = run(&*backend, &sweep.python(FAMILY)).await.unwrap();
    assert!(!ended.windows.is_empty());
    for window in &ended.windows {
        assert_eq!(window.process, "sleep");
    }
    backend.close().await;
}

#[tokio::test]
async fn codes_and_signals_are_those_of_the_session_whatever_is_stopped_when_it_ends() {
    if !engine::daemon() {
        return;
    }
    let storm = "
import os, signal, subprocess, sys, threading
got = 0
def get(*_):
    global got
    got += 1
signal.signal(signal.SIGUSR1, get)
def spin():
    for _ in range(20):
        thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
threads = [threading.Thread(target=spin) for _ in range(3)]
for thread in threads: thread.start()
for code in range(12):
    assert subprocess.run(['sh', '-c', 'exit %d' % code]).returncode == code
    before = got
    os.kill(os.getpid(), signal.SIGUSR1)
    while got == before: pass
for thread in threads: thread.join()
";
    let sweep = starved("90%");
    let backend = sweep.open().await.unwrap();
    let ends = [
        ("sys.exit(7)", (Some(7), None)),
        ("os.kill(os.getpid(), 9)", (Some(137), Some(9))),
        ("os.abort()", (Some(134), Some(6))),
        ("os._exit(137)", (Some(137), None)),
    ];
    for (last, facts) in ends {
        let (output, ended) = run(&*backend, &sweep.python(&format!("{storm}{last}\n")))
            .await
            .unwrap();
        assert_eq!((ended.code, ended.signal), facts, "{last}: {output}");
        assert!(!output.contains("AssertionError"), "{last}: {output}");
    }
    backend.close().await;
}

#[tokio::test]
async fn a_debugger_inside_works_while_everything_else_is_starved() {
    if !engine::daemon() || !engine::has("gdb") {
        return;
    }
    let program = "
import subprocess
for _ in range(3):
    ran = subprocess.run(['gdb', '-batch', '-ex', 'run', '--args', 'sleep', '0.1'], capture_output=True, text=True)
    print('exited normally' in ran.stdout or ran.stdout + ran.stderr)
";
    let sweep = starved("50%");
    let backend = sweep.open().await.unwrap();
    let (output, _) = run(&*backend, &sweep.python(program)).await.unwrap();
    assert_eq!(output, "True\nTrue\nTrue\n");
    backend.close().await;
}

#[tokio::test]
async fn without_an_init_process_nothing_is_stopped_and_that_is_said() {
    if !engine::daemon() {
        return;
    }
    let mut sweep = starved("90%");
    sweep.spec.container.without = vec![Recipe::Init];
    let backend = sweep.open().await.unwrap();
    let notes = backend.probe().await.unwrap().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("the condition starve has no effect: ")),
        "{notes:?}"
    );
    let attempt = sweep.python("import os; print([name for name in os.environ if 'STARVE' in name])");
    let mut session = backend.prepare(&attempt).await.unwrap().start().await.unwrap();
    assert_eq!(drain(&mut *session).await.unwrap(), "[]\n");
    let ended = session.finish().await.unwrap();
    assert_eq!((ended.starved, ended.windows.len()), (Means::None, 0));
    backend.close().await;
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_autopsy_sees_no_stopped_thread_and_the_windows_are_kept_with_the_run() {
    if !engine::daemon() {
        return;
    }
    let test = "
import threading
def test_hangs():
    for _ in range(6): threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Event().wait()
";
    let place = Place::new(&[("test_a.py", test)]);
    let words = [
        "-i",
        "host",
        "-e",
        "1",
        "--progress",
        "none",
        "--starve",
        "90%",
        "--timeout",
        "4s",
    ];
    place.run(&words).exits(3);
    let run = place.path("logs/serial/run001");
    let processes = fs::read_to_string(run.join("autopsy/processes.txt")).unwrap();
    assert!(processes.contains("python3"), "{processes}");
    assert!(!processes.contains("tracing stop"), "{processes}");
    let exit = document(&run.join("exit.json"));
    assert_eq!(exit["conditions"]["starve"], "90%");
    assert_eq!(exit["conditions"]["seed"], 1);
    let lines = fs::read_to_string(run.join("starved.jsonl")).unwrap();
    let windows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!windows.is_empty());
    let stopped: f64 = windows
        .iter()
        .map(|window| window["duration_s"].as_f64().unwrap())
        .sum();
    let duration = exit["duration_s"].as_f64().unwrap();
    assert!(
        duration > 4.0 + stopped - 0.5,
        "windows count against no deadline: {duration} s with {stopped} s"
    );
    let text = place.run(&["summary", "logs/serial"]).exits(0).out();
    assert!(text.contains("starve 90%"), "{text}");
}

/// The states of a container's processes, as this machine shows them.
fn states(name: &str) -> Vec<String> {
    let listed = engine::docker(&["top", name, "-eLo", "pid,stat"]).unwrap_or_default();
    let states = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    states.map(str::to_owned).collect()
}

#[test]
fn nothing_stays_stopped_when_the_tool_is_killed() {
    if !engine::daemon() {
        return;
    }
    let test = "
import time
def test_waits():
    open('ready', 'w').close()
    time.sleep(1000)
";
    let place = Place::new(&[("test_a.py", test)]);
    // A sweep of another test that begins meanwhile removes what the killed one left.
    assert!(
        (0..5).any(|_| is_let_go_when_killed(&place)),
        "the container was removed each time"
    );
}

/// Kills a sweep while something is stopped and waits until nothing is; `false` where somebody removed the container.
fn is_let_go_when_killed(place: &Place) -> bool {
    let words = ["-i", "host", "-e", "1", "--progress", "none", "--starve", "90%"];
    let _ = fs::remove_file(place.path("ready"));
    let mut tool = place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    let is_stopped = |states: &[String]| states.iter().any(|state| state.starts_with('t'));
    let name = loop {
        assert!(Instant::now() < until, "nothing was ever stopped");
        // A session that still has something to print ends when nobody reads it any more.
        if !place.path("ready").exists() {
            std::thread::yield_now();
            continue;
        }
        let names = engine::containers_of(place.dir.path());
        if let Some(name) = names
            .lines()
            .filter_map(|line| line.split(' ').next())
            .find(|name| name.contains("-run001"))
            && is_stopped(&states(name))
        {
            break name.to_owned();
        }
    };
    tool.kill().unwrap();
    tool.wait().unwrap();
    // At nine tenths of the time, so many looks in a row would not miss one.
    let mut clean = 0;
    while clean < 30 {
        assert!(Instant::now() < until + PATIENCE, "something stays stopped");
        let states = states(&name);
        if states.is_empty() {
            return false;
        }
        clean = if is_stopped(&states) { 0 } else { clean + 1 };
    }
    engine::docker(&["rm", "-f", &name]);
    true
}

/// A sweep as if every iteration had been starved: the windows of a thread called `culprit` go with the failure, those of
/// another one are as many in all runs.
fn with_windows(place: &Place, sweep: &str) {
    for run in 1..=24 {
        let dir = place.path(&format!("logs/{sweep}/run{run:03}"));
        let mut exit = document(&dir.join("exit.json"));
        exit["conditions"] = serde_json::json!({"starve": "20%", "seed": run});
        fs::write(dir.join("exit.json"), exit.to_string()).unwrap();
        let trail = fs::read_to_string(dir.join("tests.jsonl")).unwrap();
        let mut lines = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let start = lines.find(|line| line["event"] == "start").unwrap();
        // A moment later: seconds as a fraction are a little off.
        let at = start["at_ns"].as_f64().unwrap() / 1e9 + 1e-4;
        let window = |thread: &str, at: f64| {
            let window = serde_json::json!({"at": at, "duration_s": 0.001, "process": "python3", "pid": 7, "thread": thread, "tid": 8, "threads": 1});
            format!("{window}\n")
        };
        let mut text = String::new();
        if run % 4 == 0 {
            text += &window("culprit", at);
        }
        if run % 3 == 0 {
            text += &window("pool-3", at);
        }
        // After the test, and before it.
        text += &window("late", at + 1000.0);
        text += &window("early", at - 1000.0);
        fs::write(dir.join("starved.jsonl"), text).unwrap();
    }
}

#[test]
fn summary_show_and_compare_say_what_goes_with_a_failure() {
    let test = "
import os, time
def test_a():
    time.sleep(0.02)
    assert int(os.environ['REPRODUCE_FLAKY_ITERATION']) % 4 or 'PLAIN' in os.environ
";
    let place = Place::new(&[("test_a.py", test)]);
    let words = ["--backend", "local", "-j", "2", "-e", "24", "--progress", "none", "-t"];
    place
        .run(&[&words[..], &["starved", "--starve", "20%"]].concat())
        .exits(3);
    place.run(&[&words[..], &["plain", "-E", "PLAIN=1"]].concat()).exits(0);
    with_windows(&place, "serial_starved");
    let goes_with = "test_a.py::test_a: what was stopped in its first 0.1 s goes with its failure: thread culprit (6/6";
    let plain = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let summary = plain(place.run(&["summary", "logs/serial_starved"]).exits(0).out());
    assert!(summary.contains(goes_with), "{summary}");
    let object: Value = serde_json::from_str(
        &place
            .run(&["summary", "logs/serial_starved", "--format", "json"])
            .exits(0)
            .out(),
    )
    .unwrap();
    let starved = &object["starved"][0];
    assert_eq!(
        (&starved["test"], &starved["names"]),
        (&"test_a.py::test_a".into(), &2.into())
    );
    let [culprit, pool] = [0, 1].map(|at| &starved["suspects"][at]);
    assert_eq!(
        (&culprit["name"], &culprit["goes_with"]),
        (&"thread culprit".into(), &true.into())
    );
    assert_eq!(
        (&pool["name"], &pool["goes_with"]),
        (&"thread pool-*".into(), &false.into())
    );
    assert_eq!(culprit["spared"], serde_json::json!({"failed": 0, "of": 18}));
    let shown = plain(place.run(&["show", "logs/serial_starved/run004"]).exits(0).out());
    assert!(
        shown.contains("under starve 20%") && shown.contains("thread culprit for 1 ms, 0.000 s into"),
        "{shown}"
    );
    assert!(shown.contains(goes_with), "{shown}");
    let compared = plain(
        place
            .run(&["compare", "logs/serial_plain", "logs/serial_starved"])
            .exits(0)
            .out(),
    );
    assert!(
        compared.contains("seen under `starve 20%` alone (0/24 without)"),
        "{compared}"
    );
    // Two runs tell nothing.
    place.run(&["summary", "logs/serial_plain"]).exits(0);
    for run in 5..=24 {
        fs::remove_dir_all(place.path(&format!("logs/serial_starved/run{run:03}"))).unwrap();
    }
    let few = plain(place.run(&["summary", "logs/serial_starved"]).exits(0).out());
    assert!(
        few.contains("goes with its failure cannot be told; the likeliest is thread culprit (1/1"),
        "{few}"
    );
}
