//! Sweeps that came in with a bundle: what they ask for is another person's, and nothing of it happens unasked.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::cli::{Place, Ran};
use crate::engine::daemon;

/// Where the failing test is, which is also where `import` puts a file that the bundle carries as a test's log.
const TEST: &str = "in/serial/run001/evil/test_e.py";

/// Leaves a mark where it runs, and tells what it can see.
const SUITE: &str = "import os\n\
    def test_f():\n    \
        open('pwned', 'a').close()\n    \
        out = open(os.environ['DYN_TEST_OUTPUT_PATH'] + '/seen.txt', 'w')\n    \
        print(os.path.exists('/machine'), os.environ.get('MY_SECRET'), os.environ.get('GIVEN'), os.getuid(), file=out)\n    \
        out.close()\n    \
        assert 0\n";

/// A reader's directory with a bundle imported into it whose sweep asks for more than it should.
fn imported(change: impl FnOnce(&mut Value)) -> Place {
    let sender = Place::new(&[(TEST, SUITE)]);
    sender.run(&["--backend", "local", "-e", "1", "--", TEST]).exits(3);
    let kept = sender.path("logs/serial/run001/evil");
    fs::create_dir(&kept).unwrap();
    fs::copy(sender.path(TEST), kept.join("test_e.py")).unwrap();
    let path = sender.path("logs/serial/sweep.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut spec);
    fs::write(&path, spec.to_string()).unwrap();
    sender.run(&["export", "logs", "-o", "out.tar.zst"]).exits(0);
    let reader = Place::new(&[]);
    let bundle = sender.path("out.tar.zst").display().to_string();
    reader.run(&["import", &bundle, "--logs-dir", "in"]).exits(0);
    reader
}

/// Whether the bundle's code has run anywhere below the reader's directory.
fn has_run(place: &Place) -> bool {
    let found = Command::new("find")
        .arg(place.dir.path())
        .args(["-name", "pwned", "-o", "-name", "seen.txt"])
        .output()
        .unwrap();
    // The run that was recorded by its sender wrote one itself.
    let sent = place.path("in/serial/run001/seen.txt").display().to_string();
    String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .any(|line| line != sent)
}

fn call(place: &Place, words: &[&str]) -> Ran {
    let mut command = place.command(words);
    Ran::of(command.env("MY_SECRET", "mine").env("GIVEN", "mine").output().unwrap())
}

#[test]
fn replay_of_an_imported_run_does_not_run_the_bundles_code_here() {
    let place = imported(|spec| {
        spec["directory"] = json!(".");
        // A bundle cannot speak for itself.
        spec["imported_at"] = Value::Null;
    });
    for words in [
        &["replay", "in/serial/run001"][..],
        &["replay", "in/serial/run001", "--shrink"],
        &["replay", "in/serial/run001", "--shell"],
        &["replay", "serial", "1", "--logs-dir", "in", "--allow", "volumes"],
    ] {
        let err = call(&place, words).exits(1).err();
        assert!(
            err.contains("came in with a bundle, and nothing of it runs here unasked") && err.contains("-m pytest"),
            "{err}"
        );
        assert!(err.contains("\nhint: --allow container"), "{err}");
    }
    call(&place, &["worker", "in/serial", "--iteration", "2"]).exits(75);
    assert!(!has_run(&place));
    let spec = fs::read_to_string(place.path("in/serial/sweep.json")).unwrap();
    assert!(!spec.contains("\"imported_at\": null"), "{spec}");

    // Told to, it runs, in the reader's own directory.
    let told = [
        "replay",
        "in/serial/run001",
        "--times",
        "1",
        "--allow",
        "local,workspace",
    ];
    call(&place, &told).exits(3);
    assert!(place.path("pwned").exists());
}

#[test]
fn a_run_taken_into_a_sweep_of_ones_own_is_still_a_bundles() {
    let sender = Place::new(&[("test_a.py", "def test_a():\n    assert 0\n")]);
    sender.run(&["--backend", "local", "-e", "2"]).exits(3);
    let run = sender.path("logs/serial/run002").display().to_string();
    sender.run(&["export", &run, "-o", "out.tar.zst"]).exits(0);
    fs::remove_dir_all(sender.path("logs/serial/run002")).unwrap();
    let taken_in = |words: &[&str]| sender.run(&[&["import", "out.tar.zst"], words].concat()).exits(0);
    taken_in(&[]);
    taken_in(&[]);
    sender.run(&["replay", "serial", "1", "--times", "1"]).exits(3);
    sender.run(&["replay", "serial", "2", "--times", "1"]).exits(1);
    // Nor does it become one's own by being merged.
    sender.run(&["merge", "all", "logs/serial"]).exits(0);
    sender.run(&["replay", "all", "2", "--times", "1"]).exits(1);
    // A sweep of which all came with a bundle stays one wherever it is copied to.
    taken_in(&["--logs-dir", "in"]);
    sender.run(&["merge", "other", "in/serial"]).exits(0);
    sender.run(&["replay", "other", "2", "--times", "1"]).exits(1);
    let spec = fs::read_to_string(sender.path("other/sweep.json")).unwrap();
    assert!(spec.contains("imported_at"), "{spec}");
}

fn asks_for_everything(spec: &mut Value) {
    spec["backend"] = json!("docker");
    spec["image"] = json!("host");
    spec["image_id"] = Value::Null;
    spec["directory"] = json!("/");
    spec["container"]["volumes"] = json!(["/:/machine"]);
    spec["container"]["network"] = json!("host");
    spec["container"]["user"] = json!("4711:4711");
    spec["env"] = json!([{"name": "GIVEN"}]);
    spec["pass_env"] = json!(["MY_SECRET"]);
}

#[test]
fn replay_of_an_imported_run_opens_no_container_and_passes_no_variable_unasked() {
    let place = imported(asks_for_everything);
    let socket = place.path("docker.sock");
    let engine = UnixListener::bind(&socket).unwrap();
    engine.set_nonblocking(true).unwrap();
    for words in [
        &["replay", "in/serial/run001"][..],
        &["replay", "in/serial/run001", "--shell"],
        &["replay", "in/serial/run001", "--allow", "volumes,network,user,env"],
    ] {
        let mut command = place.command(words);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let err = Ran::of(command.output().unwrap()).exits(1).err();
        assert!(err.contains("in a container of `host`, with a copy of `"), "{err}");
        assert_eq!(words.len() < 4, err.contains("volumes: /:/machine"), "{err}");
        assert_eq!(words.len() < 4, err.contains("env: GIVEN, MY_SECRET"), "{err}");
    }
    assert!(engine.accept().is_err(), "nobody has called an engine");
    assert!(!has_run(&place));
    let shown = place.run(&["show", "in/serial/run001"]).exits(0).out();
    let by_hand = shown.split("\nby hand\n").nth(1).unwrap_or_default();
    for unwanted in ["/machine", "--network host", "4711", "MY_SECRET", "GIVEN"] {
        assert!(!by_hand.contains(unwanted), "{unwanted}: {by_hand}");
    }
}

#[test]
fn what_was_allowed_of_a_bundle_is_all_that_its_container_gets() {
    if !daemon() {
        return;
    }
    let seen = |allowed: &str| {
        let place = imported(asks_for_everything);
        let ran = call(
            &place,
            &["replay", "in/serial/run001", "--times", "1", "--allow", allowed],
        )
        .exits(3);
        assert!(
            !place.path("pwned").exists(),
            "the reader's directory is a copy in there"
        );
        let found = Command::new("find")
            .arg(place.path("in/serial/.replays"))
            .args(["-name", "seen.txt", "-exec", "cat", "{}", "+"])
            .output()
            .unwrap();
        (String::from_utf8(found.stdout).unwrap(), ran.err())
    };
    let own = rustix::process::geteuid().as_raw();
    let (little, err) = seen("container");
    assert_eq!(little, format!("False None None {own}\n"));
    assert!(err.contains("note: not allowed, and left out: network: host"), "{err}");
    let (more, err) = seen("container,volumes,env");
    assert_eq!(more, format!("True mine mine {own}\n"));
    assert!(!err.contains("left out: volumes"), "{err}");
}
