//! From the command to the first line of the first test, and from the session's end to the result on the screen, against
//! `docker run` of the same session, in pairs.
//!
//! The test writes down when it begins, by this machine's clock, which both share.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::container::{Container, PYTEST, tool};
use super::median;

const TEST: &str = "import time\nopen('began', 'w').write(repr(time.time()))\ndef test_a():\n    pass\n";

/// What the tool knows when it starts.
#[derive(Clone, Copy)]
enum Known {
    /// What earlier sweeps have found.
    All,
    /// Nothing of Python and image.
    Nothing,
}

pub(crate) fn measure(dir: &Path, container: &Container, rounds: usize) {
    fs::write(dir.join("test_bench.py"), TEST).unwrap();
    println!("| start | `docker run`, s | this tool, of that | from the session's end to the result, ms |");
    println!("| --- | --- | --- | --- |");
    for (name, known) in [("known", Known::All), ("unknown", Known::Nothing)] {
        ours(dir, known);
        let (mut ratios, mut theirs_s, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let (our, their) = if round % 2 == 0 {
                (ours(dir, known), theirs(dir, container))
            } else {
                let their = theirs(dir, container);
                (ours(dir, known), their)
            };
            ratios.push(our.0 / their);
            theirs_s.push(their);
            ends.push(our.1 * 1e3);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "| {name} | {:.2} | **{:.2}** ({:.2}-{:.2}) | {:.0} |",
            median(&theirs_s),
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1],
            median(&ends)
        );
    }
}

/// Seconds until the test began.
fn since(start: SystemTime, dir: &Path) -> f64 {
    let began: f64 = fs::read_to_string(dir.join("began")).unwrap().parse().unwrap();
    began - start.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn theirs(dir: &Path, container: &Container) -> f64 {
    let start = SystemTime::now();
    let ran = Command::new("docker")
        .args(["run", "--rm"])
        .args(&container.flags)
        .args(["--entrypoint", &container.python, &container.image])
        .args(["-m", "pytest", "test_bench.py"])
        .args(PYTEST)
        .stdout(Stdio::null())
        .status();
    assert!(ran.unwrap().success());
    since(start, dir)
}

/// Seconds until the test began, and from the session's end to the line of the result.
fn ours(dir: &Path, known: Known) -> (f64, f64) {
    let logs = tempfile::tempdir_in(dir).unwrap();
    if matches!(known, Known::Nothing) {
        assert!(tool().arg("gc").stdout(Stdio::null()).status().unwrap().success());
    }
    let start = SystemTime::now();
    let mut sweep = tool()
        .args(["--image", "host", "-e", "1", "--progress", "jsonl", "--logs-dir"])
        .arg(logs.path())
        .args(["--pytest-nodeid", "test_bench.py", "--"])
        .args(PYTEST)
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(sweep.stdout.take().unwrap()).lines();
    let mut shown = None;
    for line in lines.map(Result::unwrap) {
        if line.contains("iteration_finished") {
            shown = Some(SystemTime::now());
        }
    }
    assert!(sweep.wait().unwrap().success());
    let text = fs::read(logs.path().join("serial/run001/exit.json")).unwrap();
    let exit: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let from: chrono::DateTime<chrono::Utc> = exit["started_at"].as_str().unwrap().parse().unwrap();
    let ended = SystemTime::from(from) + Duration::from_secs_f64(exit["duration_s"].as_f64().unwrap());
    (
        since(start, dir),
        shown.unwrap().duration_since(ended).unwrap_or_default().as_secs_f64(),
    )
}
