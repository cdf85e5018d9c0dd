//! Sessions that print very much: every byte is kept, or head and tail, and the tool stays small.

use std::path::Path;
use std::process::{Command, Stdio};

/// Most memory that the tool may take, in kB.
const SMALL: u64 = 64 << 10;

/// Runs one iteration on this machine and returns the most memory that the tool took, in kB.
fn peak_of(dir: &Path, flags: &[&str]) -> u64 {
    let mut sweep = Command::new(assert_cmd::cargo::cargo_bin!("reproduce-flaky"))
        .args(["--backend", "local", "-e", "1", "--progress", "none"])
        .args(flags)
        .args(["--", "-s"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", sweep.id());
    let mut peak = 0;
    loop {
        // It only grows, so that the last look is enough.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(ended) = sweep.try_wait().unwrap() {
            assert!(ended.success());
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn json(dir: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(dir.join("logs/serial/run001").join(name)).unwrap()).unwrap()
}

#[test]
fn every_byte_of_a_flood_is_kept_and_memory_does_not_grow_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let test = "import os\ndef test_a():\n    for n in range(400): os.write(1, b'%07d ' % n * 25_000)\n    os.write(1, b'\\n')\n";
    std::fs::write(dir.path().join("test_a.py"), test).unwrap();
    let peak = peak_of(dir.path(), &[]);
    assert!(peak > 0 && peak < SMALL, "{peak} kB");
    let log = std::fs::read(dir.path().join("logs/serial/run001/run.log")).unwrap();
    let flood: Vec<&[u8]> = log
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() > 1000)
        .collect();
    let [line] = flood.as_slice() else {
        panic!("{} long lines", flood.len())
    };
    let at = memchr::memmem::find(line, b"0000000 ").unwrap();
    assert_eq!(line.len() - at, 400 * 25_000 * 8);
    for (n, piece) in line[at..].chunks(25_000 * 8).enumerate() {
        assert!(piece.starts_with(format!("{n:07} ").as_bytes()) && piece.ends_with(format!("{n:07} ").as_bytes()));
    }
    assert_eq!(json(dir.path(), "outcome.json")["outcome"], "passed");
    assert_eq!(json(dir.path(), "exit.json").get("log_cut"), None);
}

#[test]
fn max_log_keeps_head_and_tail_and_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let test = "def test_a():\n    for n in range(200_000): print('line', n)\n    assert 0, 'the end is there'\n";
    std::fs::write(dir.path().join("test_a.py"), test).unwrap();
    let mut sweep = Command::new(assert_cmd::cargo::cargo_bin!("reproduce-flaky"));
    let flags = [
        "--backend",
        "local",
        "-e",
        "1",
        "--progress",
        "none",
        "--max-log",
        "64k",
        "--",
        "-s",
    ];
    let code = sweep
        .args(flags)
        .current_dir(dir.path())
        .output()
        .unwrap()
        .status
        .code();
    assert_eq!(code, Some(3));
    let log = std::fs::read_to_string(dir.path().join("logs/serial/run001/run.log")).unwrap();
    assert!(log.len() < (64 << 10) + 200, "{}", log.len());
    assert!(log.contains("test session starts") && log.contains("line 7\n"));
    assert!(log.contains("line 199999\n") && log.contains("AssertionError: the end is there"));
    let cut = json(dir.path(), "exit.json")["log_cut"].as_u64().unwrap();
    let line = format!("\n--- reproduce-flaky: {cut} bytes of output were cut here (--max-log) ---\n");
    assert!(cut > 2_000_000 && log.contains(&line), "{cut}");
    let outcome = json(dir.path(), "outcome.json");
    assert_eq!(outcome["outcome"], "failed");
    assert_eq!(outcome["failing_tests"][0], "test_a.py::test_a");
    let note = format!("{cut} bytes in the middle of run.log were not kept (--max-log)");
    assert!(outcome["notes"].as_array().unwrap().contains(&note.into()), "{outcome}");
}
