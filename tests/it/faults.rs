//! Faults, injected for real: after each no recorded iteration is lost or doubled, nothing half-written is read, and
//! what is said says what to do.

mod stamps;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reproduce_flaky::failpoint::Step;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::Place;
use crate::engine::own::Engine;
use crate::engine::{OwnImage, containers_of, daemon, debian, docker};
use crate::place::end_processes_of;
use crate::sessions::PATIENCE;

const LOCAL: [&str; 4] = ["--backend", "local", "--progress", "none"];
const HOST: [&str; 4] = ["--image", "host", "--progress", "none"];

/// A sweep of three iterations has each of them once, whole, and in every list.
#[track_caller]
fn three_are_recorded(place: &Place) {
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let lines = fs::read_to_string(place.path("logs/serial/results.txt")).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for number in 1..=3 {
        let run = place.path(&format!("logs/serial/run{number:03}"));
        let outcome: serde_json::Value = serde_json::from_slice(&fs::read(run.join("outcome.json")).unwrap()).unwrap();
        assert_eq!(outcome["outcome"], "passed", "{outcome}");
        let log = fs::read_to_string(run.join("run.log")).unwrap();
        assert_eq!(log.matches("test session starts").count(), 1, "{log}");
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "this never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the tool at a step of its first iteration, looks at what is there, and resumes.
#[track_caller]
fn killed_at(step: Step, flags: &[&str]) {
    let place = Place::passing();
    let words = [flags, &["-e", "3"]].concat();
    let died = place
        .command(&words)
        .env("RF_FAIL_AT", format!("{step:?}"))
        .output()
        .unwrap();
    assert_eq!(
        died.status.signal(),
        Some(9),
        "{step:?}: {}",
        String::from_utf8_lossy(&died.stderr)
    );
    end_processes_of(place.dir.path());
    let is_recorded = matches!(step, Step::Published | Step::Listed);
    let seen = place.run(&["summary", "logs/serial", "--format", "json"]);
    if is_recorded {
        let summary: serde_json::Value = serde_json::from_str(&seen.out()).unwrap();
        assert_eq!(summary["iterations"]["recorded"], 1, "{step:?}: {summary}");
        assert_eq!(summary["iterations"]["passed"], 1, "{step:?}: {summary}");
    } else {
        assert!(!place.path("logs/serial/run001").exists(), "{step:?}");
    }
    place.run(&words).exits(0);
    three_are_recorded(&place);
}

#[test]
fn a_kill_at_any_step_of_an_iteration_costs_that_iteration_at_most() {
    for step in Step::ALL {
        // Nothing is made ready ahead without containers.
        if step != Step::Ready {
            killed_at(step, &LOCAL);
        }
    }
}

#[test]
fn a_kill_at_any_step_of_an_iteration_leaves_no_container_behind_once_the_sweep_is_resumed() {
    if !daemon() {
        return;
    }
    for step in [Step::Ready, Step::Started, Step::Ended, Step::Published] {
        let place = Place::passing();
        let words = [&HOST[..], &["-e", "3"]].concat();
        let died = place
            .command(&words)
            .env("RF_FAIL_AT", format!("{step:?}"))
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(9), "{step:?}");
        place.run(&words).exits(0);
        three_are_recorded(&place);
        assert_eq!(containers_of(place.dir.path()), "", "{step:?}");
    }
}

/// Something on an engine's socket that answers each request without end; tells how many bytes it got rid of.
fn endless(socket: &Path) -> std::thread::JoinHandle<usize> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        // An answer that comes before its question is no HTTP.
        let _ = connection.read(&mut [0; 4096]).unwrap();
        let piece = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        (0..4096).take_while(|_| connection.write_all(&piece).is_ok()).count() << 20
    })
}

#[test]
fn an_engine_that_answers_without_end_is_not_listened_to() {
    let place = Place::passing();
    let socket = place.path("engine.sock");
    let engine = endless(&socket);
    let ran = place
        .command(&["gc"])
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("it answers more than an engine would"), "{said}");
    let taken = engine.join().unwrap();
    assert!(taken <= 32 << 20, "{taken} bytes were taken in");
}

/// A test whose first iteration waits to be let go.
const WAITING: &str = "import os, time
def test_a():
    if os.environ['REPRODUCE_FLAKY_ITERATION'] == '1':
        open('up', 'a').write('x')
        while not os.path.exists('go'): time.sleep(0.01)
";

#[test]
fn an_engine_that_is_restarted_costs_an_attempt_and_the_sweep_goes_on() {
    let Some(mut engine) = Engine::start() else { return };
    let place = Place::new(&[("test_a.py", WAITING)]);
    let mut sweep = engine
        .sweep(&place, &[])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| place.path("up").exists());
    engine.down();
    fs::write(place.path("go"), "").unwrap();
    assert!(engine.up());
    let code = sweep.wait().unwrap().code();
    let events = fs::read_to_string(place.path("logs/serial/events.jsonl")).unwrap();
    assert_eq!(code, Some(0), "{events}");
    three_are_recorded(&place);
    assert_eq!(events.matches("\"attempt_lost\"").count(), 1, "{events}");
    let left = Command::new("docker")
        .args(["-H", &engine.address(), "ps", "-aq"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn an_engine_that_stood_still_makes_no_hang() {
    let Some(engine) = Engine::start() else { return };
    // It goes on printing; what it prints comes through the engine, since it may be kept.
    let test = "import os, time
def test_a():
    open('up', 'a').write('x')
    while not os.path.exists('go'):
        print('working', flush=True)
        time.sleep(0.1)
";
    let place = Place::new(&[("test_a.py", test)]);
    let flags = ["--silence", "3s", "--on-hang", "keep", "--keep-for", "1m"];
    let mut sweep = engine
        .sweep(&place, &[&flags[..], &["--", "-s"]].concat())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| place.path("up").exists());
    engine.stop();
    // Longer than a session may be silent.
    std::thread::sleep(Duration::from_secs(7));
    engine.go_on();
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    three_are_recorded(&place);
}

#[test]
fn an_engine_that_is_gone_for_good_ends_the_sweep_with_words_and_what_was_recorded_stays() {
    let Some(mut engine) = Engine::start() else { return };
    let test = WAITING.replace("'1'", "'2'");
    let place = Place::new(&[("test_a.py", &test)]);
    let sweep = engine
        .sweep(&place, &["--max-attempts", "1"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| place.path("up").exists());
    engine.down();
    let ended = sweep.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(matches!(ended.status.code(), Some(1 | 4)), "{:?} {words}", ended.status);
    assert!(place.path("logs/serial/run001/outcome.json").exists());
    fs::write(place.path("go"), "").unwrap();
    assert!(engine.up());
    let resumed = engine.sweep(&place, &["--retry", "errored"]).output().unwrap();
    assert_eq!(
        resumed.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&resumed.stderr)
    );
    three_are_recorded(&place);
}

#[test]
fn a_container_that_somebody_removes_is_a_lost_attempt_and_is_tried_again() {
    if !daemon() {
        return;
    }
    let place = Place::new(&[("test_a.py", WAITING)]);
    let words = [&HOST[..], &["-e", "3"]].concat();
    let mut sweep = place
        .command(&words)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| place.path("up").exists());
    let name = containers_of(place.dir.path())
        .lines()
        .find(|line| line.contains("run001"))
        .and_then(|line| line.split(' ').next().map(str::to_owned))
        .unwrap();
    docker(&["rm", "-f", &name]).unwrap();
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    three_are_recorded(&place);
    let events = fs::read_to_string(place.path("logs/serial/events.jsonl")).unwrap();
    assert_eq!(events.matches("\"attempt_lost\"").count(), 1, "{events}");
    assert!(events.contains("somebody else"), "{events}");
}

#[test]
fn an_image_that_is_removed_in_the_middle_ends_the_sweep_with_words_and_what_was_recorded_stays() {
    if !daemon() || !debian() {
        return;
    }
    let place = Place::passing();
    let image = OwnImage::copy("removed");
    let name = image.name();
    let archive = place.path("image.tar").display().to_string();
    docker(&["save", "-o", &archive, name]).unwrap();
    let words = ["--image", name, "--progress", "none", "--no-prestart", "-e", "3000"];
    let mut sweep = place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| place.path("logs/serial/run001").exists());
    // The engine refuses while a container of the image runs: the tool stands still until the session of the moment has
    // ended, so that none is started in between.
    let tool = Pid::from_child(&sweep);
    kill_process(tool, Signal::STOP).unwrap();
    wait_until(|| docker(&["rmi", "-f", name]).is_some() && docker(&["image", "inspect", name]).is_none());
    kill_process(tool, Signal::CONT).unwrap();
    let status = sweep.wait().unwrap();
    let mut said = String::new();
    sweep.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("image `{name}`")) && said.contains("hint: "),
        "{said}"
    );
    let recorded = place.rows("logs/serial").len();
    assert!((1..3000).contains(&recorded), "{recorded}");
    docker(&["load", "-i", &archive]).unwrap();
    let last = (recorded + 2).to_string();
    place
        .run(&[&words[..5], &["-e", &last, "--retry", "errored"]].concat())
        .exits(0);
    let rows = place.rows("logs/serial");
    assert_eq!(rows.len(), recorded + 2);
    assert!(rows.values().all(|row| row["verdict"] == "passed"), "{rows:?}");
}
