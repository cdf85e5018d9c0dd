//! What must not leak, and what must not be believed: secrets, hostile text, other people's eyes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::cli::Place;
use crate::engine::daemon;

/// Values that the caller has and nobody is to read.
const PLANTED: [(&str, &str); 3] = [
    ("HF_TOKEN", "hf_planted_5ecret_one"),
    ("MY_KEY", "planted-5ecret-two"),
    ("UNRELATED_KEY", "planted-5ecret-three"),
];

/// Every file below a directory, names and bytes.
fn everything_below(dir: &Path, found: &mut Vec<u8>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        found.extend_from_slice(entry.path().to_string_lossy().as_bytes());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            everything_below(&entry.path(), found);
        } else if kind.is_file() {
            found.extend(fs::read(entry.path()).unwrap());
        }
    }
}

fn command_lines(found: &mut Vec<u8>) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        found.extend(fs::read(process.path().join("cmdline")).unwrap_or_default());
    }
}

#[track_caller]
fn nothing_planted_in(found: &[u8], where_: &str) {
    for (_, value) in PLANTED {
        assert!(
            memchr::memmem::find(found, value.as_bytes()).is_none(),
            "`{value}` is in {where_}"
        );
    }
}

fn secrets_stay_out(flags: &[&str]) {
    // A test that fails, so that everything there is to say is said, and that shows that it has the values.
    let test = "import os, time\ndef test_a():\n    assert os.environ['HF_TOKEN'].startswith('hf_') and os.environ['MY_KEY']\n    open('up', 'w').close()\n    while not os.path.exists('go'): time.sleep(0.01)\n    assert 0, 'Router states have different numbers of events'\n";
    let place = Place::new(&[("test_a.py", test)]);
    let words = [flags, &["-e", "1", "-E", "MY_KEY", "--verbose", "--timeout", "50s"]].concat();
    let mut seen = Vec::new();
    let planned = place
        .command(&[&words[..], &["--dry-run"]].concat())
        .envs(PLANTED)
        .output()
        .unwrap();
    seen.extend(planned.stdout);
    seen.extend(planned.stderr);
    let sweep = place
        .command(&words)
        .envs(PLANTED)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = std::time::Instant::now() + crate::sessions::PATIENCE;
    while !place.path("up").exists() && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    command_lines(&mut seen);
    fs::write(place.path("go"), "").unwrap();
    let ran = sweep.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    seen.extend(ran.stdout);
    seen.extend(ran.stderr);
    for words in [
        &["summary", "logs/serial"][..],
        &["summary", "logs/serial", "--format", "html"],
        &["summary", "logs/serial", "--format", "junit"],
        &["show", "logs/serial/run001"],
        &["status", "logs"],
        &["classify", "logs", "--format", "json"],
        &["replay", "logs/serial/run001", "--times", "1"],
    ] {
        let read = place.command(words).envs(PLANTED).output().unwrap();
        seen.extend(read.stdout);
        seen.extend(read.stderr);
    }
    everything_below(place.dir.path(), &mut seen);
    assert!(memchr::memmem::find(&seen, b"MY_KEY").is_some(), "names are no secrets");
    nothing_planted_in(&seen, "what was written, shown or started");
}

#[test]
fn values_of_variables_are_in_no_file_no_event_no_report_and_no_command_line() {
    secrets_stay_out(&["--backend", "local"]);
}

#[test]
fn nor_are_those_of_a_container() {
    if daemon() {
        secrets_stay_out(&["--image", "host"]);
    }
}

#[test]
fn terminal_escapes_are_kept_in_files_and_never_shown() {
    let test = "import pytest
EVIL = '\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mRouter states have different numbers of events\\x9b5n'
@pytest.mark.parametrize('x', [EVIL])
def test_a(x):
    print(EVIL)
    assert 0, EVIL
";
    let place = Place::new(&[("test_a.py", test)]);
    let ran = place.run(&["--backend", "local", "-e", "1"]).exits(3);
    let log = fs::read(place.path("logs/serial/run001/run.log")).unwrap();
    assert!(log.contains(&0x1b), "the log is as it was printed");
    let mut shown = ran.out() + &ran.err();
    for words in [
        &["summary", "logs/serial"][..],
        &["show", "logs/serial/run001"],
        &["classify", "logs"],
        &["compare", "logs/serial", "0/9"],
        &["status", "logs"],
        &["signatures", "suggest", "logs"],
    ] {
        let read = place.run(words);
        shown += &(read.out() + &read.err());
    }
    assert!(shown.contains("A2"), "{shown}");
    let hidden: Vec<char> = shown.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert_eq!(hidden, Vec::<char>::new(), "{shown:?}");
}

#[test]
fn words_of_a_foreign_tree_are_one_line_each_and_obeyed_by_nobody() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    let evil = "X\n::error::owned\u{1b}[2J\u{7}\u{202e}\u{c}::error::owned";
    for run in ["run001", "run002"] {
        let outcome = serde_json::json!({
            "format": 1, "iteration": 1, "verdict": "failed", "outcome": "failed", "categories": [evil],
            "failing_tests": [evil], "notes": [evil], "counts": {},
            "evidence": [{"category": evil, "file": "run.log", "line": 1, "text": evil, "test": evil}],
        });
        fs::write(
            place.path("logs/serial").join(run).join("outcome.json"),
            outcome.to_string(),
        )
        .unwrap();
    }
    let path = place.path("logs/serial/sweep.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["ended"] = evil.into();
    fs::write(&path, spec.to_string()).unwrap();
    for words in [
        &["summary", "logs/serial", "--all"][..],
        &["show", "logs/serial/run001"],
        &["status", "logs"],
        &["compare", "0/9", "logs/serial"],
        &["compare", "logs/serial", "0/9", "--gate"],
        &["compare", "0/9", "logs/serial", "--format", "markdown"],
        &["history", "logs"],
        &["history", "logs", "--format", "markdown"],
        &["plan", "logs/serial"],
        &["show", "logs/serial/run001\n::error::owned"],
        &["export", "logs", "-o", "out.tar.zst"],
        &["import", "out.tar.zst", "--logs-dir", "in"],
        &["classify", "logs"],
    ] {
        let ran = place.run(words);
        let shown = ran.out() + &ran.err();
        let obeyed: Vec<&str> = shown
            .lines()
            .filter(|line| line.trim_start().starts_with("::error"))
            .collect();
        assert_eq!(obeyed, [""; 0], "{words:?}");
        let hidden: Vec<char> = shown
            .chars()
            .filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}')
            .collect();
        assert_eq!(hidden, Vec::<char>::new(), "{words:?}: {shown:?}");
    }
    // What a page of GitHub's is to obey is obeyed: one command a line, and nobody else's.
    let github = place
        .run(&["compare", "0/9", "logs/serial", "--format", "github"])
        .out();
    assert!(
        github.lines().all(|line| line.starts_with("::warning title=")),
        "{github}"
    );
}

#[test]
fn private_keeps_everybody_else_out() {
    let test = "import os\ndef test_a():\n    open(os.environ['DYN_TEST_OUTPUT_PATH'] + '/own.log', 'w').close()\n";
    for flags in [&["--backend", "local"][..], &["--image", "host"]] {
        if flags.contains(&"host") && !daemon() {
            continue;
        }
        let place = Place::new(&[("test_a.py", test)]);
        place.run(&[flags, &["-e", "2", "--private"]].concat()).exits(0);
        let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
        for name in ["logs/serial", "logs/serial/run001", "logs/serial/run002"] {
            assert_eq!(mode(name), 0o700, "{name}");
        }
        assert!(place.path("logs/serial/run002/own.log").exists());
    }
}

#[test]
fn options_that_break_isolation_are_named_in_the_summary() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let path = place.path("logs/serial/sweep.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["backend"] = "docker".into();
    spec["container"]["network"] = "host".into();
    spec["container"]["volumes"] =
        serde_json::json!(["/var/run/docker.sock:/var/run/docker.sock", "/:/host:ro", "/data:/data"]);
    fs::write(&path, spec.to_string()).unwrap();
    let shown = place.run(&["summary", "logs/serial"]).exits(0).out();
    for words in [
        "not isolated: the network is this machine's (--network host)",
        "not isolated: `/var/run/docker.sock` can start any container (--volume)",
        "not isolated: `/` is all of this machine (--volume)",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    assert!(!shown.contains("/data"), "{shown}");
}
