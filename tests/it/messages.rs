//! Every error a user can meet, as one page: wording is reviewed there.

use std::fs;

use crate::cli::Place;
use crate::engine;

/// Error lines of a call, with what differs from run to run replaced.
fn errors(place: &Place, words: &[&str], code: i32) -> String {
    let ran = place.run(words).exits(code);
    let dir = place.dir.path().canonicalize().unwrap().display().to_string();
    let lines: Vec<String> = ran
        .err()
        .lines()
        .skip_while(|line| !line.starts_with("error: "))
        .map(|line| line.replace(&dir, "DIR").trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    format!(
        "$ reproduce-flaky {}  [exit {code}]\n{}\n",
        shell_words::join(words),
        lines.join("\n")
    )
}

#[test]
fn bad_input_gets_a_clear_error_with_the_thing_the_place_and_a_hint() {
    let place = Place::passing();
    let local = ["--backend", "local"];
    let mut page = String::new();
    let mut add = |words: &[&str], code| page += &(errors(&place, words, code) + "\n");

    add(&["-s", "9", "-e", "3"], 2);
    add(&["-t", "a/b"], 2);
    add(&["-p", "0"], 2);
    add(&["-s", "0"], 2);
    add(&["--retry", "9", "-e", "3", "--backend", "local"], 2);
    add(&["--timeout", "soon"], 2);
    add(&["--shm-size", "much"], 2);
    add(&["--cpuset", "0-x"], 2);
    add(&["--noise", "0"], 2);
    add(&["--condition", "luck"], 2);
    add(&["--starve", "all"], 2);
    add(&[&local[..], &["--cpuset", "0,1023"]].concat(), 1);
    add(&["--on-hang", "wait"], 2);
    add(&["--nonsense"], 2);
    add(&["-n", "4"], 2);
    add(&["-k", "router"], 2);
    add(&["show", "9"], 2);
    add(&["histroy"], 2);
    add(&["absent"], 2);
    add(&["tests/absent.py::test_x"], 2);
    add(&["help", "nothing"], 2);

    fs::write(
        place.path("broken.toml"),
        "[[signature]]\nid = \"A9\"\ntitle = \"x\"\nscope = [\"failure\"]\nany = ['(']\n",
    )
    .unwrap();
    add(&[&local[..], &["--signatures", "broken.toml"]].concat(), 1);
    fs::write(
        place.path("unknown.toml"),
        "[[signature]]\nid = \"A9\"\ntitel = \"x\"\n",
    )
    .unwrap();
    add(&[&local[..], &["--signatures", "unknown.toml"]].concat(), 1);
    add(&[&local[..], &["--signatures", "absent.toml"]].concat(), 1);

    fs::write(place.path("afile"), "").unwrap();
    add(&[&local[..], &["--logs-dir", "afile", "-e", "1"]].concat(), 1);

    place.run(&[&local[..], &["-e", "1"]].concat()).exits(0);
    add(&[&local[..], &["-e", "1", "--", "-k", "other"]].concat(), 1);

    place.run(&["export", "logs", "-o", "out.tar.zst"]).exits(0);
    add(&["export", "logs", "-o", "out.tar.zst"], 1);
    add(&["export", "afile", "-o", "x.tar.zst"], 1);
    add(&["export", "logs", "-o", "x.tar.zst", "--redact", "("], 2);
    add(&["import", "afile"], 1);
    add(&["import", "absent"], 1);
    fs::write(place.path("logs/serial/run001/run.log"), "other").unwrap();
    add(&["import", "out.tar.zst"], 1);

    add(&["cancel", "logs/serial"], 2);
    add(&["status", "logs/serial", "--jobs", "4"], 2);
    add(&["merge", "logs/all", "nowhere"], 1);
    add(&["--engine", "slurm", "--sbatch=--array=1-9"], 2);
    add(&["--engine", "slurm", "--arm", "a", "--arm", "b", "-e", "1"], 2);

    fs::write(place.path("logs/serial/run001/outcome.json"), "{\"format\":1,").unwrap();
    fs::write(place.path("reproduce-flaky.toml"), "jbos = 4\n").unwrap();
    add(&["-e", "1"], 2);
    fs::remove_file(place.path("reproduce-flaky.toml")).unwrap();

    insta::assert_snapshot!(page);
}

#[test]
fn what_the_engine_cannot_do_is_found_before_the_first_iteration() {
    if !engine::daemon() {
        return;
    }
    let place = Place::passing();
    let mut page = String::new();
    page.push_str(&errors(&place, &["-i", "no-such-image:ci", "-e", "1"], 1));
    assert!(
        !place.path("logs").exists(),
        "nothing is written for a sweep that cannot start"
    );
    insta::assert_snapshot!(page);
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let place = Place::passing();
    let ran = place
        .command(&["-i", "host", "-e", "1"])
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        err.contains("error: no container engine answers at `") && err.contains("/nonexistent/docker.sock`"),
        "{err}"
    );
    assert!(
        err.contains("\nhint: start the Docker service, set DOCKER_HOST, or use --backend local"),
        "{err}"
    );
}

#[test]
fn a_corrupted_outcome_is_said_judged_again_and_nothing_is_lost() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    let outcome = place.path("logs/serial/run001/outcome.json");
    fs::write(&outcome, "{\"format\":1,").unwrap();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    assert_eq!(place.rows("logs/serial").len(), 2);
    assert_eq!(place.rows("logs/serial")[&1]["verdict"], "passed");
}

#[test]
fn what_cannot_be_replayed_is_said_with_what_would_help() {
    let suite = "import os\n\ndef test_a():\n    pass\n\ndef test_b():\n    assert os.environ.get('GREEN')\n";
    let place = Place::new(&[
        ("test_a.py", suite),
        ("broken/test_c.py", "import absent_module\n"),
        ("old/run001/run.log", "x\n"),
        ("alone/test.log", "x\n"),
    ]);
    let local = ["--backend", "local", "-e", "1"];
    let sweep = |words: &[&str], code| {
        place.run(&[&local[..], words].concat()).exits(code);
    };
    sweep(&["-t", "green", "-E", "GREEN=1", "--", "test_a.py"], 0);
    sweep(&["-t", "red", "--", "test_a.py"], 3);
    sweep(&["-t", "collect", "--", "broken"], 3);
    sweep(&["-t", "quiet", "--no-trail", "--", "test_a.py"], 3);
    // A session that died where nothing names a test.
    fs::write(place.path("conftest.py"), "import os\nos.abort()\n").unwrap();
    sweep(&["-t", "early", "--", "test_a.py"], 3);
    fs::remove_file(place.path("conftest.py")).unwrap();
    let mut page = String::new();
    let mut add = |words: &[&str], code| page += &(errors(&place, &[&["replay"][..], words].concat(), code) + "\n");

    add(&["logs/serial_green/run001"], 1);
    add(&["serial_green", "7"], 1);
    add(&["logs/absent"], 1);
    add(&["logs/serial_red"], 2);
    add(&["serial_red", "1", "--test", "test_a.py::test_a"], 2);
    add(&["serial_collect", "1"], 1);
    add(&["serial_quiet", "1"], 1);
    add(&["serial_early", "1"], 1);
    add(&["old/run001"], 1);
    add(&["alone/test.log"], 1);
    add(&["serial_red", "1", "--shrink", "--shell"], 2);
    add(&["serial_red", "1", "--max-runs", "5"], 2);
    add(&["serial_red", "1", "--times", "0"], 2);

    place.run(&["replay", "serial_red", "1", "--times", "1"]).exits(3);
    let home = place.path("logs/serial_red/.replays/run001");
    for list in fs::read_dir(&home).unwrap() {
        let path = list.unwrap().path().join("sweep.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        spec["image_id"] = "another".into();
        fs::write(&path, spec.to_string()).unwrap();
    }
    add(&["serial_red", "1", "--times", "1"], 1);
    fs::remove_dir_all(&home).unwrap();

    insta::assert_snapshot!(page);
}
