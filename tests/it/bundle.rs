//! `export` and `import`: what leaves the machine, what does not, and what is never let in.

mod forged;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::Place;

/// Secrets, put together here so that no scanner of sources takes them for real ones.
fn planted() -> Vec<String> {
    let long = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1";
    vec![
        format!("hf_{long}"),
        format!("ghp_{long}"),
        format!("github_pat_{long}"),
        "AKIA".to_owned() + "QWERTYUIOPASDFGH",
        "xoxb-".to_owned() + "123456-abcdefgh",
        format!("eyJ{long}.eyJ{long}.{long}"),
        format!("bearer-{long}-9"),
        "pa55-in-a-url".to_owned(),
        "MIIEowIBAAKCAQEAabcdefghijklmnopqrstuvwxyz".to_owned(),
        "customer-4711-name".to_owned(),
        "correct-horse-7".to_owned(),
        "swept-by-flag-8".to_owned(),
    ]
}

/// A suite that prints everything it should not, fails, and writes it into files and names of files.
fn leaky() -> Place {
    let [hf, gh, pat, aws, slack, jwt, bearer, url, key, customer, ..] = &planted()[..] else {
        panic!("there are more");
    };
    let suite = format!(
        "import os, pathlib\n\
         def test_leak():\n    \
             print('{hf} {gh} {pat}', {{'k': '{aws}'}}, 'x{slack}')\n    \
             print('Authorization: Bearer {bearer}')\n    \
             print('https://me:{url}@example.invalid/x')\n    \
             print('-----BEGIN RSA PRIVATE KEY-----\\n{key}\\n{key}\\n-----END RSA PRIVATE KEY-----')\n    \
             print(os.environ['DB_PASSWORD'], os.environ['GIVEN'], '{customer}')\n    \
             out = pathlib.Path(os.environ['DYN_TEST_OUTPUT_PATH']) / 'test_leak[{hf}]'\n    \
             out.mkdir(parents=True)\n    \
             (out / 'test.log.txt').write_text('x' * 262140 + '{jwt} ' + 'y' * 100000 + os.environ['DB_PASSWORD'])\n    \
             (out / 'dump.gz').write_bytes(b'\\x1f\\x8b' + b'{gh}')\n    \
             assert False, 'Router states have different numbers of events {hf}'\n"
    );
    let place = Place::new(&[("test_leak.py", suite.as_str())]);
    fs::write(
        place.path("reproduce-flaky.toml"),
        "redact = [\"customer-\\\\d+-name\"]\n",
    )
    .unwrap();
    let words = [
        "--backend",
        "local",
        "-e",
        "2",
        "-E",
        "GIVEN=swept-by-flag-8",
        "-E",
        "DB_PASSWORD",
    ];
    let ran = place
        .command(&words)
        .env("DB_PASSWORD", "correct-horse-7")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    place
}

fn export(place: &Place, words: &[&str]) -> std::process::Output {
    let mut command = place.command(&[&["export"], words].concat());
    command.env("DB_PASSWORD", "correct-horse-7").output().unwrap()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(fs::File::open(path).unwrap())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn no_planted_secret_is_anywhere_in_a_bundle_and_the_rest_is() {
    let place = leaky();
    let log = fs::read(place.path("logs/serial/run001/run.log")).unwrap();
    for secret in planted() {
        let is_there = has(&log, &secret) || secret.starts_with("eyJ");
        assert!(is_there, "the suite prints {secret}");
    }
    let ran = export(&place, &["serial", "-o", "out.tar.zst", "--format", "json"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let closing: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let bytes = unpacked(&place.path("out.tar.zst"));
    for secret in planted() {
        assert!(!has(&bytes, &secret), "{secret} is in the bundle");
    }
    for kind in [
        "hf token",
        "github token",
        "aws key",
        "slack token",
        "jwt",
        "bearer token",
        "url password",
        "private key",
        "DB_PASSWORD",
        "GIVEN",
        "--redact 1",
    ] {
        assert!(
            closing["redacted"][kind].as_u64().is_some_and(|n| n >= 2),
            "{kind}: {closing}"
        );
        assert!(has(&bytes, &format!("[redacted: {kind}]")), "{kind}");
    }
    assert_eq!(closing["left_out"].as_array().unwrap().len(), 2, "{closing}");
    for kept in [
        "README.txt",
        "manifest.json",
        "outcome.json",
        "exit.json",
        "tests.jsonl",
        "Event synchronization",
        "reproduce-flaky replay logs/serial/run001",
        "\"format\": 1",
    ] {
        assert!(has(&bytes, kept), "{kept}");
    }
    let text = String::from_utf8(export(&place, &["serial", "-o", "text.tar.zst"]).stdout).unwrap();
    assert!(
        text.contains("places redacted: ") && text.contains("left out, since nobody can see"),
        "{text}"
    );
}

#[test]
fn an_imported_sweep_reads_as_the_one_it_was() {
    let place = leaky();
    place
        .run(&["export", "logs/serial/run002", "logs/serial", "-o", "out.tar.zst"])
        .exits(0);
    let text = place
        .run(&["import", "out.tar.zst", "--logs-dir", "other"])
        .exits(0)
        .out();
    assert!(text.contains("other/serial: 2 runs imported"), "{text}");
    let log = |logs: &str| {
        let log = fs::read(place.path(logs).join("serial/run001/run.log")).unwrap();
        log.split(|byte| *byte == b'\n').count()
    };
    assert_eq!(log("logs"), log("other"), "lines keep their numbers");
    let shown = place.run(&["show", "other/serial", "1"]).exits(0).out();
    assert!(
        shown.contains("failed A2") && shown.contains("[redacted: hf token]"),
        "{shown}"
    );
    let of = |logs: &str| {
        let sweep = format!("{logs}/serial");
        let out = place.run(&["summary", &sweep, "--format", "json"]).exits(0).out();
        let summary: Value = serde_json::from_str(&out).unwrap();
        [
            summary["iterations"].clone(),
            summary["rate"].clone(),
            summary["categories"][0]["runs"].clone(),
        ]
    };
    assert_eq!(of("logs"), of("other"));
    let judged = place.run(&["classify", "other", "--format", "json"]).exits(0).out();
    assert_eq!(judged.matches("\"categories\":[\"A2\"]").count(), 2, "{judged}");
    assert_eq!(place.rows("other/serial").len(), 2);
    let spec = fs::read_to_string(place.path("other/serial/sweep.json")).unwrap();
    assert!(spec.contains("GIVEN") && !spec.contains("swept"), "{spec}");

    let again = place
        .run(&["import", "out.tar.zst", "--logs-dir", "other"])
        .exits(0)
        .out();
    assert!(again.contains("0 runs imported, 2 there already"), "{again}");
    fs::write(place.path("other/serial/run001/run.log"), "mine").unwrap();
    fs::remove_dir_all(place.path("other/serial/run002")).unwrap();
    let refused = place
        .run(&["import", "out.tar.zst", "--logs-dir", "other"])
        .exits(1)
        .err();
    assert!(
        refused.contains("error: `other/serial/run001` is there already, and is another one\nhint: "),
        "{refused}"
    );
    assert_eq!(fs::read(place.path("other/serial/run001/run.log")).unwrap(), b"mine");
    assert!(!place.path("other/serial/run002").exists(), "all or nothing");
}

#[test]
fn several_runs_sweeps_and_trees_go_into_one_bundle() {
    let place = Place::passing();
    for tag in ["a", "b"] {
        place.run(&["--backend", "local", "-e", "2", "-t", tag]).exits(0);
    }
    fs::create_dir_all(place.path("old/serial_a/run007")).unwrap();
    fs::write(
        place.path("old/serial_a/run007/pytest.log"),
        "===== 1 failed in 0.1s =====\n",
    )
    .unwrap();
    place
        .run(&[
            "export",
            "logs/serial_b/run002",
            "logs/serial_a",
            "old",
            "-o",
            "x.tar.zst",
        ])
        .exits(0);
    place.run(&["import", "x.tar.zst", "--logs-dir", "in"]).exits(0);
    for run in [
        "serial_a/run001",
        "serial_a/run002",
        "serial_b/run002",
        "serial_a-2/run007",
    ] {
        assert!(place.path("in").join(run).join("outcome.json").is_file(), "{run}");
    }
    assert!(!place.path("in/serial_b/run001").exists());
    let refused = place.run(&["export", "logs", "-o", "x.tar.zst"]).exits(1).err();
    assert!(
        refused.contains("error: `x.tar.zst` exists already\nhint: name another file with --output"),
        "{refused}"
    );
    place.run(&["import", "x.tar.zst", "--logs-dir", "in"]).exits(0);
    place.run(&["export", "none", "-o", "y.tar.zst"]).exits(1);
    place
        .run(&["export", "logs", "-o", "y.tar.zst", "--redact", "("])
        .exits(2);
    place.run(&["export", "logs", "-o", "no/such/y.tar.zst"]).exits(1);
    assert!(!place.path("y.tar.zst").exists());
    let left: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".bundle-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn memory_does_not_grow_with_the_logs() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let mut log = fs::OpenOptions::new()
        .append(true)
        .open(place.path("logs/serial/run001/run.log"))
        .unwrap();
    let line = format!("{}\n", "0123456789 ".repeat(9000));
    for _ in 0..1000 {
        log.write_all(line.as_bytes()).unwrap();
    }
    let token = planted().remove(0);
    log.write_all(token.as_bytes()).unwrap();
    drop(log);
    let call = |words: &str| {
        // The log alone is a hundred megabytes.
        let script = format!(
            "ulimit -v 90000; exec {} {words}",
            env!("CARGO_BIN_EXE_reproduce-flaky")
        );
        let ran = Command::new("sh")
            .args(["-c", &script])
            .current_dir(place.dir.path())
            .env("RAYON_NUM_THREADS", "1")
            .env("MALLOC_ARENA_MAX", "1")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    call("export logs -o x.tar.zst");
    call("import x.tar.zst --logs-dir in");
    let size = |logs: &str| {
        fs::metadata(place.path(logs).join("serial/run001/run.log"))
            .unwrap()
            .len()
    };
    let marker = "[redacted: hf token]".len();
    assert_eq!(size("in") + token.len() as u64, size("logs") + marker as u64);
}
