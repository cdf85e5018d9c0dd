//! Reading what sweeps left: `classify` against ripgrep, `summary` and `compare` against the pipelines of grep that
//! they replace, in one run on one machine.
//!
//! `cargo bench --bench reading [-- MEGABYTES ITERATIONS KILOBYTES]`: size of the tree that is classified, number of
//! recorded iterations and size of each one's log; 2000, 10000 and what pytest itself prints unless told otherwise; with 0
//! megabytes nothing is classified. The peers take turns; each figure is the median of the ratios of five pairs, our time
//! over theirs, with their range. How long the page of all iterations takes to open is measured where Chromium is in
//! `PATH`, or named by `CHROMIUM`. ripgrep searches for the
//! patterns of the built-in signatures (`rg -c -f`), both with the threads they take by themselves. Without ripgrep that
//! part is left out, and said to be.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TOOL: &str = env!("CARGO_BIN_EXE_reproduce-flaky");
const ROUNDS: usize = 5;
/// Size of one log of the tree that is judged, in bytes.
const LOG_SIZE: usize = 5_000_000;
const TESTS: usize = 30;
const VICTIM: &str = "tests/router/test_router_e2e_with_mockers.py::test_case_7[variant-3]";

/// What the script's users type to read a sweep: passed and failed by code, failing tests, messages, deaths.
const PIPELINES: &str = r#"
grep -lx 0 "$1"/run*/.exit_code | wc -l
grep -Lx 0 "$1"/run*/.exit_code | wc -l
grep -l FAILED "$1"/run*/run.log | wc -l
grep -h ^FAILED "$1"/run*/run.log | sed 's/ - .*//' | sort | uniq -c | sort -rn
grep -h AssertionError "$1"/run*/run.log | sort | uniq -c | sort -rn
grep -l 'Fatal Python error' "$1"/run*/run.log | wc -l
"#;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let megabytes = numbers.first().copied().unwrap_or(2000);
    let iterations = numbers.get(1).copied().unwrap_or(10_000);
    let log_size = numbers.get(2).copied().unwrap_or(0) * 1000;
    let dir = tempfile::tempdir().unwrap();
    if megabytes > 0 {
        classification(dir.path(), megabytes);
    }
    recorded(dir.path(), iterations, log_size);
}

fn classification(dir: &Path, megabytes: usize) {
    let tree = dir.join("logs");
    let logs = (megabytes * 1_000_000 / LOG_SIZE).max(1);
    for number in 1..=logs {
        let run = tree.join(format!("run{number:03}"));
        fs::create_dir_all(&run).unwrap();
        write_log(&run, LOG_SIZE, number % 10 == 0);
    }
    let patterns = dir.join("patterns");
    fs::write(&patterns, built_in_patterns()).unwrap();
    let ours = || command(TOOL, &["classify", "--format", "json", path(&tree)]);
    let theirs = || command("rg", &["-c", "-f", path(&patterns), path(&tree)]);
    println!("classify, {logs} logs of {} MB:", LOG_SIZE / 1_000_000);
    if Command::new("rg").arg("--version").output().is_ok() {
        race("rg -c with the same patterns", ours, theirs);
    } else {
        println!("  left out: there is no ripgrep (rg) here");
    }
    let one = dir.join("one.log");
    let mut joined = BufWriter::new(fs::File::create(&one).unwrap());
    for number in 1..=logs {
        joined
            .write_all(&fs::read(tree.join(format!("run{number:03}/run.log"))).unwrap())
            .unwrap();
    }
    joined.flush().unwrap();
    let peak = peak_memory_mb(&["classify", "--format", "json", path(&one)]);
    println!("  a single log of {megabytes} MB: {peak} MB of memory at most");
    fs::remove_file(one).unwrap();
    fs::remove_dir_all(tree).unwrap();
}

fn recorded(dir: &Path, iterations: usize, log_size: usize) {
    let sweeps = [dir.join("serial_before"), dir.join("serial_after")];
    for sweep in &sweeps {
        for number in 1..=iterations {
            let run = sweep.join(format!("run{number:03}"));
            fs::create_dir_all(&run).unwrap();
            write_log(&run, log_size, number % 25 == 0);
        }
        let judged = command(TOOL, &["classify", "--write", path(sweep)]).status().unwrap();
        assert!(judged.success());
    }
    let [before, after] = [path(&sweeps[0]), path(&sweeps[1])];
    println!("{iterations} recorded iterations:");
    let pipelines = |sweep: &str| command("sh", &["-c", PIPELINES, "sh", sweep]);
    race(
        "the pipelines of grep",
        || command(TOOL, &["summary", before]),
        || pipelines(before),
    );
    let both = || {
        command(
            "sh",
            &["-c", &format!("{PIPELINES}\nshift\n{PIPELINES}"), "sh", before, after],
        )
    };
    race(
        "the pipelines of both",
        || command(TOOL, &["compare", before, after]),
        both,
    );
    race(
        "the pipelines of grep",
        || command(TOOL, &["status", before]),
        || pipelines(before),
    );
    let peak = peak_memory_mb(&["status", "--logs-dir", path(dir)]);
    println!("  status of both: {peak} MB of memory at most");
    page(dir, before);
}

/// How long a browser takes to open the page of a sweep: read, laid out and painted.
fn page(dir: &Path, sweep: &str) {
    let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    if Command::new(&browser).arg("--version").output().is_err() {
        println!("  the page: left out, there is no chromium here");
        return;
    }
    let file = dir.join("report.html");
    let words = ["summary", sweep, "--format", "html", "-o", path(&file)];
    assert!(command(TOOL, &words).status().unwrap().success());
    let open = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/browser.py");
        let output = Command::new("python3")
            .args([script, &browser, path(&file)])
            .output()
            .unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        seen["open_s"].as_f64().unwrap()
    };
    let mut taken: Vec<f64> = (0..ROUNDS).map(|_| open()).collect();
    taken.sort_by(f64::total_cmp);
    println!(
        "  the page ({:.1} MB) opens in {:.2} s ({:.2}-{:.2})",
        fs::metadata(&file).unwrap().len() as f64 / 1e6,
        taken[ROUNDS / 2],
        taken[0],
        taken[ROUNDS - 1]
    );
}

/// Runs two commands in turn and prints the median of the ratios of their times.
fn race(peer: &str, ours: impl Fn() -> Command, theirs: impl Fn() -> Command) {
    time(ours());
    time(theirs());
    let mut pairs: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (time(ours()), time(theirs()))).collect();
    pairs.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    let ratio = |at: usize| pairs[at].0 / pairs[at].1;
    let (ours_s, theirs_s) = pairs[ROUNDS / 2];
    let name = ours().get_args().next().unwrap().to_string_lossy().into_owned();
    println!(
        "  {name} {ours_s:.3} s, {peer} {theirs_s:.2} s: ratio {:.2} ({:.2}-{:.2})",
        ratio(ROUNDS / 2),
        ratio(0),
        ratio(ROUNDS - 1)
    );
}

fn time(mut command: Command) -> f64 {
    let began = Instant::now();
    let status = command.status().unwrap();
    assert!(status.code().is_some(), "{command:?} was killed");
    began.elapsed().as_secs_f64()
}

/// The most memory that a command of the tool took, as the kernel counts it.
fn peak_memory_mb(words: &[&str]) -> u64 {
    // The file is read once the process has ended and before it is waited for.
    let mut child = command(TOOL, words).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak_kb = peak.unwrap_or(0).max(peak_kb);
        if child.try_wait().unwrap().is_some() {
            return peak_kb / 1000;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A session of thirty tests that prints `size` bytes of a service's log, with its exit code beside it.
fn write_log(run: &Path, size: usize, is_failed: bool) {
    let mut log = String::with_capacity(size + 8192);
    log += "============================= test session starts ==============================\n\
        platform linux -- Python 3.11.2, pytest-8.3.4, pluggy-1.5.0\nrootdir: /workspace\ncollected 30 items\n\n";
    for test in 0..TESTS {
        let is_victim = is_failed && test == 7;
        let word = if is_victim { "FAILED" } else { "PASSED" };
        let _ = writeln!(
            log,
            "tests/router/test_router_e2e_with_mockers.py::test_case_{test}[variant-{}] {word} [{:3}%]",
            test % 4,
            (test + 1) * 100 / TESTS
        );
    }
    log += if is_failed {
        "\n=================================== FAILURES ===================================\n\
            _________________________ test_case_7[variant-3] _________________________\n\n    def f():\n\
            >       assert a == b, message\nE       AssertionError: Router states have different numbers of events\n\n\
            tests/router/test_router_e2e_with_mockers.py:12: AssertionError\n"
    } else {
        "==================================== PASSES ====================================\n\
            _________________________ test_case_7[variant-3] _________________________\n"
    };
    log += "----------------------------- Captured stdout call -----------------------------\n";
    let mut number = 0_u64;
    while log.len() < size {
        number += 1;
        let _ = writeln!(
            log,
            "2026-11-01T10:{:02}:{:02}.{:03}Z  INFO kv_router::indexer: applied event {number} of worker {} to block {:#x}{}",
            number / 60_000 % 60,
            number / 1000 % 60,
            number % 1000,
            number % 8,
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            " token".repeat(usize::try_from(number % 7).unwrap())
        );
    }
    log += "=========================== short test summary info ============================\n";
    if is_failed {
        let _ = writeln!(
            log,
            "FAILED {VICTIM} - AssertionError: Router states have different numbers of events"
        );
        log += "========================= 1 failed, 29 passed in 40.00s =========================\n";
    } else {
        log += "============================== 30 passed in 40.00s ==============================\n";
    }
    fs::write(run.join("run.log"), log).unwrap();
    fs::write(run.join(".exit_code"), if is_failed { "1\n" } else { "0\n" }).unwrap();
}

/// The patterns of the built-in signatures, one a line.
fn built_in_patterns() -> String {
    let mut patterns = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("signatures")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let table: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
        for signature in table["signature"].as_array().unwrap() {
            for pattern in signature
                .get("any")
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten()
            {
                let _ = writeln!(patterns, "{}", pattern.as_str().unwrap());
            }
        }
    }
    patterns
}
