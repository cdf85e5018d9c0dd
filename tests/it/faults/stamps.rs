//! What time, odd names and other versions of the tool do to what is recorded.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{LOCAL, WAITING, three_are_recorded, wait_until};
use crate::cli::Place;
use crate::debian::Programs;
use crate::place::Need;

#[test]
fn a_clock_that_is_set_back_while_an_iteration_runs_changes_no_duration() {
    let Some(programs) = Programs::of(Need::Faketime, &["faketime"], &["faketime"]) else {
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
    if os.environ['REPRODUCE_FLAKY_ITERATION'] != '1': return
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
