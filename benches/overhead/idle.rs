//! What process 1 of a container costs while its session sleeps: that of this tool, with and without `--starve`, against the
//! engine's own (`docker run --init`).

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::container::{Container, PYTEST, tool};
use super::median;

/// How long a session may take to begin.
const PATIENCE: Duration = Duration::from_mins(2);

/// What process 1 had used at a time.
struct Used {
    at: Instant,
    /// In ticks of the clock, of which a second has a hundred.
    cpu: u64,
    /// How often one of its threads began to wait, or had to.
    switches: u64,
    threads: usize,
}

pub(crate) fn measure(dir: &Path, container: &Container, seconds: f64, rounds: usize) {
    println!("load: {}", super::load());
    println!("| process 1 | threads | CPU time, ms a second | switches a second, median and range |");
    println!("| --- | --- | --- | --- |");
    let kinds = ["`docker run --init`", "this tool", "this tool, `--starve 20%`"];
    let mut found: [Vec<(f64, f64, usize)>; 3] = Default::default();
    for round in 0..rounds {
        for turn in 0..3 {
            let kind = (round + turn) % 3;
            found[kind].push(one(dir, container, kind, seconds));
        }
    }
    for (kind, found) in kinds.iter().zip(&found) {
        let cpu: Vec<f64> = found.iter().map(|(cpu, _, _)| *cpu).collect();
        let mut switches: Vec<f64> = found.iter().map(|(_, switches, _)| *switches).collect();
        switches.sort_by(f64::total_cmp);
        println!(
            "| {kind} | {} | {:.2} | {:.2} ({:.2} to {:.2}) |",
            found[0].2,
            median(&cpu),
            median(&switches),
            switches[0],
            switches[switches.len() - 1]
        );
    }
}

/// CPU time, switches a second, and threads of process 1 while a session sleeps.
fn one(dir: &Path, container: &Container, kind: usize, seconds: f64) -> (f64, f64, usize) {
    let [ready, over] = ["ready", "over"].map(|name| dir.join(name));
    let _ = (fs::remove_file(&ready), fs::remove_file(&over));
    let text = "import os, time\ndef test_a():\n    open('ready', 'w').close()\n    while not os.path.exists('over'):\n        time.sleep(1)\n";
    fs::write(dir.join("test_bench.py"), text).unwrap();
    let logs = tempfile::tempdir_in(dir).unwrap();
    let mut session = start(dir, container, kind, logs.path());
    let until = Instant::now() + PATIENCE;
    while !ready.exists() {
        assert!(Instant::now() < until, "the session never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    // What belongs to the start is over by then.
    std::thread::sleep(Duration::from_secs(2));
    let name = name_of(kind, logs.path());
    let first = docker(&["inspect", "--format", "{{.State.Pid}}", &name]);
    let before = used(&first);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = used(&first);
    fs::write(&over, "").unwrap();
    session.wait().unwrap();
    let elapsed = (after.at - before.at).as_secs_f64();
    (
        (after.cpu - before.cpu) as f64 * 10.0 / elapsed,
        (after.switches - before.switches) as f64 / elapsed,
        after.threads,
    )
}

fn start(dir: &Path, container: &Container, kind: usize, logs: &Path) -> Child {
    let mut command = if kind == 0 {
        let mut command = Command::new("docker");
        command
            .args(["run", "--rm", "--init", "--name", &name_of(kind, logs)])
            .args(&container.flags)
            .args(["--entrypoint", &container.python, &container.image])
            .args(["-m", "pytest", "test_bench.py"]);
        command
    } else {
        let mut command = tool();
        command
            .args(["--image", "host", "--progress", "none", "-e", "1", "--logs-dir"])
            .arg(logs);
        if kind == 2 {
            command.args(["--starve", "20%"]);
        }
        command.args(["--pytest-nodeid", "test_bench.py", "--"]);
        command
    };
    let command = command.args(PYTEST).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Name of the container whose session is running.
fn name_of(kind: usize, logs: &Path) -> String {
    if kind == 0 {
        return format!("reproduce-flaky-bench-{}", std::process::id());
    }
    let format = "{{.Names}} {{.Label \"reproduce-flaky.sweep\"}}";
    let listed = docker(&["ps", "--format", format]);
    let logs = logs.canonicalize().unwrap().display().to_string();
    let line = listed.lines().find(|line| line.contains(&logs)).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn used(pid: &str) -> Used {
    let at = Instant::now();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks: Vec<_> = tasks.map(|entry| entry.unwrap().path()).collect();
    let of = |name: &str| -> u64 {
        let sum = tasks.iter().map(|task| {
            let text = fs::read_to_string(task.join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse::<u64>().unwrap()
        });
        sum.sum()
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    Used {
        at,
        cpu: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
        switches: of("voluntary_ctxt_switches:") + of("nonvoluntary_ctxt_switches:"),
        threads: tasks.len(),
    }
}
