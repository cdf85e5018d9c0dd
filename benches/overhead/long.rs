//! A sweep of thousands of empty sessions: what it holds on to, and what it leaves on the engine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::container::{PYTEST, tool, write_test};

pub(crate) fn measure(dir: &Path, iterations: usize) {
    write_test(dir, Duration::ZERO);
    let logs = tempfile::tempdir_in(dir).unwrap();
    let mut sweep = tool()
        .args([
            "--image",
            "host",
            "--progress",
            "none",
            "-j",
            "2",
            "-e",
            &iterations.to_string(),
        ])
        .arg("--logs-dir")
        .arg(logs.path())
        .args(["--pytest-nodeid", "test_bench.py", "--"])
        .args(PYTEST)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    println!("| recorded | after, s | resident, KiB | open files | threads | containers |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let began = Instant::now();
    let process = format!("/proc/{}", sweep.id());
    let mut next = (iterations / 10).max(1);
    while sweep.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(200));
        let recorded =
            fs::read_to_string(logs.path().join("serial/results.txt")).map_or(0, |text| text.lines().count());
        if recorded < next {
            continue;
        }
        next += (iterations / 10).max(1);
        let Ok(status) = fs::read_to_string(format!("{process}/status")) else {
            break;
        };
        let of = |name: &str| -> String {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default()
                .trim_matches([':', '\t', ' ', 'k', 'B'])
                .to_owned()
        };
        let files = fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        println!(
            "| {recorded} | {:.0} | {} | {files} | {} | {} |",
            began.elapsed().as_secs_f64(),
            of("VmRSS"),
            of("Threads"),
            containers(logs.path())
        );
    }
    assert!(sweep.wait().unwrap().success());
    println!("containers left: {}", containers(logs.path()));
}

/// Containers of the sweep, of whatever state.
fn containers(logs: &Path) -> usize {
    let format = "{{.Label \"reproduce-flaky.sweep\"}}";
    let output = Command::new("docker")
        .args(["ps", "-a", "--format", format])
        .output()
        .unwrap();
    let logs = logs.canonicalize().unwrap().display().to_string();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with(&logs))
        .count()
}
