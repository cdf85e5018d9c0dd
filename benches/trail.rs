//! What the trail costs a session: 1,000 empty tests with the plugin and without it, in turn, on one machine.
//!
//! `cargo bench --bench trail [-- ROUNDS]`. The two kinds of session are run in pairs, in an order that alternates, so
//! that whatever else the machine does hits both alike. Two figures come of each: CPU time of the process, which other
//! work on the machine hardly moves, and wall time. The cost is the median over the pairs of their difference, in
//! percent of the session without; the interval is that of the median (order statistics, 95 %).

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use reproduce_flaky::judge::pytest::trail::{PLUGIN_MODULE, PLUGIN_SOURCE, TRAIL_ENV};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Tests of a session.
const TESTS: usize = 1000;

/// A program that runs its arguments' session and prints the CPU time that it took, in seconds.
const SESSION: &str = "import sys, pytest, resource, os\n\
    code = pytest.main(sys.argv[1:])\n\
    used = resource.getrusage(resource.RUSAGE_SELF)\n\
    os.write(3, repr(used.ru_utime + used.ru_stime).encode())\n\
    sys.exit(code)\n";

/// CPU and wall time of one session, in seconds.
#[derive(Clone, Copy)]
struct Cost {
    cpu_s: f64,
    wall_s: f64,
}

fn main() {
    let rounds: usize = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(40);
    let dir = tempfile::tempdir().unwrap();
    let python = python_with_pytest(dir.path());
    let mut suite = String::new();
    for number in 0..TESTS {
        let _ = writeln!(suite, "def test_{number}():\n    pass\n\n");
    }
    fs::write(dir.path().join("test_empty.py"), suite).unwrap();
    fs::write(dir.path().join(format!("{PLUGIN_MODULE}.py")), PLUGIN_SOURCE).unwrap();
    fs::write(dir.path().join("session.py"), SESSION).unwrap();
    stay_on_one_core();
    // The first sessions compile everything.
    for with_trail in [true, false] {
        session(&python, dir.path(), with_trail);
    }
    let mut pairs: Vec<(Cost, Cost)> = Vec::new();
    for round in 0..rounds {
        let one = |with_trail| session(&python, dir.path(), with_trail);
        pairs.push(if round % 2 == 0 {
            let without = one(false);
            (without, one(true))
        } else {
            let with = one(true);
            (one(false), with)
        });
    }
    println!("{TESTS} empty tests, {rounds} pairs of sessions with and without the trail");
    figures("CPU time", &pairs, |cost| cost.cpu_s);
    figures("wall time", &pairs, |cost| cost.wall_s);
}

fn figures(name: &str, pairs: &[(Cost, Cost)], of: fn(Cost) -> f64) {
    let mut without: Vec<f64> = pairs.iter().map(|(without, _)| of(*without)).collect();
    let mut added: Vec<f64> = pairs
        .iter()
        .map(|(without, with)| (of(*with) / of(*without) - 1.0) * 100.0)
        .collect();
    without.sort_by(f64::total_cmp);
    added.sort_by(f64::total_cmp);
    let (low, high) = median_ranks(added.len());
    println!(
        "  {name}: {:.3} s without, the trail adds {:+.2} % (95 %: {:+.2} to {:+.2} %)",
        without[without.len() / 2],
        added[added.len() / 2],
        added[low],
        added[high]
    );
}

/// Ranks of the sorted values between which the median lies with 95 % confidence (normal approximation to the binomial).
fn median_ranks(of: usize) -> (usize, usize) {
    let half_width = 1.96 * (of as f64).sqrt() / 2.0;
    let low = (of as f64 / 2.0 - half_width).floor().max(0.0);
    let low = (0..of).rfind(|rank| *rank as f64 <= low).unwrap_or(0);
    (low, of - 1 - low)
}

fn session(python: &Path, dir: &Path, with_trail: bool) -> Cost {
    let used = dir.join("used");
    let trail = dir.join("tests.jsonl");
    let _ = fs::remove_file(&trail);
    let words = ["-q", "-p", "no:cacheprovider", "test_empty.py"];
    // Through a shell only to hand over a descriptor; the same shell for both.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 3>used; exec \"$@\"", "sh"])
        .arg(python)
        .arg("session.py")
        .args(words)
        .current_dir(dir)
        .env("PYTHONPATH", dir)
        .env("PYTHONHASHSEED", "0")
        .env_remove(TRAIL_ENV)
        // Else each session would compile the plugin and the suite again, which is no cost of the trail's.
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .stdout(Stdio::null());
    if with_trail {
        command.args(["-p", PLUGIN_MODULE]).env(TRAIL_ENV, &trail);
    }
    let began = Instant::now();
    assert!(command.status().unwrap().success(), "the session failed");
    let wall_s = began.elapsed().as_secs_f64();
    assert_eq!(
        trail.exists(),
        with_trail,
        "the trail is there exactly where it was asked for"
    );
    Cost {
        cpu_s: fs::read_to_string(used).unwrap().parse().unwrap(),
        wall_s,
    }
}

/// Moving between cores is most of the noise of a process that computes.
fn stay_on_one_core() {
    let allowed = sched_getaffinity(None).unwrap();
    if let Some(core) = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)) {
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).unwrap();
    }
}

/// A Python with pytest, in a virtual environment of the bench's own.
fn python_with_pytest(dir: &Path) -> PathBuf {
    let venv = dir.join("venv");
    let run = |program: &Path, words: &[&str]| {
        let status = Command::new(program).args(words).stdout(Stdio::null()).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{} failed",
            program.display()
        );
    };
    run(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]);
    let python = venv.join("bin/python");
    run(&python, &["-m", "pip", "install", "--quiet", "pytest"]);
    python
}
