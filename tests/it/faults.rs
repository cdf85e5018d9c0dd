//! Faults, injected for real: after each no recorded iteration is lost or doubled, nothing half-written is read, and
//! what is said says what to do.

mod own_engine;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reproduce_flaky::failpoint::Step;

use crate::cli::Place;
use crate::debian::Programs;
use crate::engine::{OwnImage, containers_of, daemon, debian, docker};
use crate::place::end_processes_of;
use crate::sessions::PATIENCE;
use own_engine::Engine;

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
fn a_clock_that_is_set_back_while_an_iteration_runs_changes_no_duration() {
    let Some(programs) = Programs::of(&["faketime"], &["faketime"]) else {
        return;
    };
    let library = format!("usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let place = Place::new(&[("test_a.py", WAITING)]);
    let clock = place.path("clock");
    fs::write(&clock, "+0").unwrap();
    // The tool's clock, not the sessions'.
    let mut sweep = place
        .command(&[&LOCAL[..], &["-e", "3", "-E", "LD_PRELOAD="]].concat())
        .env("LD_PRELOAD", programs.dir(&library))
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| place.path("up").exists());
    fs::write(&clock, "-3600").unwrap();
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(0));
    three_are_recorded(&place);
    let started = |iteration: u32| -> chrono::DateTime<chrono::Utc> {
        let path = place.path(&format!("logs/serial/run{iteration:03}/exit.json"));
        let exit: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        exit["started_at"].as_str().unwrap().parse().unwrap()
    };
    assert!(started(2) < started(1), "the clock was set back");
    for row in place.rows("logs/serial").values() {
        let seconds: f64 = row["duration_s"].parse().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{row:?}");
    }
    for words in [
        &["summary", "logs/serial"][..],
        &["status", "logs"],
        &["show", "logs/serial/run001"],
    ] {
        place.run(words).exits(0);
    }
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
    let words = ["--image", name, "--progress", "none", "--no-prestart", "-e", "500"];
    let mut sweep = place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| place.path("logs/serial/run001").exists());
    // The engine refuses as long as a container runs, which is not so between two iterations.
    wait_until(|| docker(&["rmi", "-f", name]).is_some() && docker(&["image", "inspect", name]).is_none());
    let status = sweep.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut sweep.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("image `{name}`")) && said.contains("hint: "),
        "{said}"
    );
    let recorded = place.rows("logs/serial").len();
    assert!((1..500).contains(&recorded), "{recorded}");
    docker(&["load", "-i", &archive]).unwrap();
    let last = (recorded + 2).to_string();
    place
        .run(&[&words[..5], &["-e", &last, "--retry", "errored"]].concat())
        .exits(0);
    let rows = place.rows("logs/serial");
    assert_eq!(rows.len(), recorded + 2);
    assert!(rows.values().all(|row| row["verdict"] == "passed"), "{rows:?}");
}

#[test]
fn stamps_of_a_time_to_come_change_no_duration() {
    let place = Place::new(&[("test_a.py", "import os, time\ndef test_a():\n    time.sleep(0.2)\n")]);
    // Stamps of a time to come, as a clock leaves them that is set back afterwards.
    place.run(&[&LOCAL[..], &["-e", "1"]].concat()).exits(0);
    let path = place.path("logs/serial/run001/exit.json");
    let mut exit: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    exit["started_at"] = "2999-01-01T00:00:00Z".into();
    fs::write(&path, exit.to_string()).unwrap();
    place.run(&[&LOCAL[..], &["-e", "3"]].concat()).exits(0);
    three_are_recorded(&place);
    for row in place.rows("logs/serial").values() {
        let seconds: f64 = row["duration_s"].parse().unwrap();
        assert!((0.2..60.0).contains(&seconds), "{row:?}");
    }
    place.run(&["summary", "logs/serial", "--format", "json"]).exits(0);
}

#[test]
fn a_flood_on_stderr_many_files_and_odd_names_are_kept_and_read() {
    let test = "import os, sys
def test_a():
    out = os.environ['DYN_TEST_OUTPUT_PATH']
    for n in range(10_000): open(f'{out}/file{n}', 'w').close()
    os.makedirs(os.fsencode(out) + b'/name\\xff\\xfe')
    open(os.fsencode(out) + b'/name\\xff\\xfe/test.log.txt', 'w').write('Creating second KV router')
    os.symlink('/dev/zero', out + '/zero.log.txt')
    os.symlink(out, out + '/loop')
    os.mkfifo(out + '/pipe.log.txt')
    if os.getuid() == 0: os.mknod(out + '/null.log.txt', 0o20666, os.makedev(1, 5))
    for n in range(200): os.write(2, b'e' * 100_000)
    os.write(2, b'\\n')
";
    let place = Place::new(&[("test_a.py", test)]);
    place.run(&[&LOCAL[..], &["-e", "3", "--", "-s"]].concat()).exits(0);
    three_are_recorded(&place);
    let run = place.path("logs/serial/run001");
    assert!(fs::metadata(run.join("run.log")).unwrap().len() > 20_000_000);
    assert!(fs::read_dir(&run).unwrap().count() > 10_000);
    for words in [
        &["classify", "logs/serial"][..],
        &["summary", "logs/serial"],
        &["show", "logs/serial/run001"],
        &["status", "logs"],
    ] {
        place.run(words).exits(0);
    }
}

#[test]
fn what_another_version_of_the_tool_wrote_is_read_and_added_to() {
    let place = Place::passing();
    place.run(&[&LOCAL[..], &["-e", "1"]].concat()).exits(0);
    let spec = place.path("logs/serial/sweep.json");
    let edit = |path: &Path, change: &dyn Fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    };
    // A newer one knows fields that this one does not, an older one has not heard of others.
    edit(&spec, &|value| {
        value["tool"] = "99.0.0".into();
        value["a_field_to_come"] = serde_json::json!({"x": [1, 2]});
        value.as_object_mut().unwrap().remove("max_attempts_of_a_day");
    });
    edit(&place.path("logs/serial/run001/exit.json"), &|value| {
        value["a_field_to_come"] = 7.into();
        value.as_object_mut().unwrap().remove("attempts");
    });
    edit(&place.path("logs/serial/run001/outcome.json"), &|value| {
        value["a_field_to_come"] = "x".into();
    });
    place.run(&[&LOCAL[..], &["-e", "3"]].concat()).exits(0);
    three_are_recorded(&place);
}
