//! The competitors, each of which runs a number of iterations and says what one took.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::api;
use super::container::{Container, PYTEST, timed, tool, write_test};

/// What is to be run.
pub(crate) struct Work<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) container: &'a Container,
    pub(crate) sleep: Duration,
    pub(crate) jobs: u32,
    pub(crate) iterations: u32,
}

/// How long it took.
pub(crate) struct Ran {
    pub(crate) an_iteration_s: f64,
    /// What this tool takes once in a sweep, which is part of that.
    pub(crate) once_s: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Competitor {
    Ours,
    Script,
    Api,
    Floor,
}

impl Competitor {
    pub(crate) const ALL: [Competitor; 4] = [Competitor::Ours, Competitor::Script, Competitor::Api, Competitor::Floor];

    /// `None` where it cannot run.
    pub(crate) fn run(self, work: &Work) -> Option<Ran> {
        write_test(work.dir, work.sleep);
        let of_all = |taken: Duration| Ran {
            an_iteration_s: taken.as_secs_f64() / f64::from(work.iterations),
            once_s: 0.0,
        };
        match self {
            Competitor::Ours => Some(ours(work)),
            Competitor::Script => Some(of_all(script(work))),
            Competitor::Api => Some(of_all(api::run(work))),
            Competitor::Floor => floor(work).map(of_all),
        }
    }
}

fn ours(work: &Work) -> Ran {
    let logs = tempfile::tempdir_in(work.dir).unwrap();
    let taken = timed(
        tool()
            .args(["--image", "host", "--progress", "none", "--logs-dir"])
            .arg(logs.path())
            .args([
                "-e",
                &work.iterations.to_string(),
                "-j",
                &work.jobs.to_string(),
                "--pytest-nodeid",
                "test_bench.py",
            ])
            .arg("--")
            .args(PYTEST)
            .current_dir(work.dir),
    );
    let events = std::fs::read_to_string(logs.path().join("serial/events.jsonl")).unwrap();
    let event = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let last = event(events.lines().last().unwrap());
    assert_eq!(last["tally"]["passed"], work.iterations, "{last}");
    let iterations_s = from_first_to_last(&logs.path().join("serial"), work.iterations);
    Ran {
        an_iteration_s: taken.as_secs_f64() / f64::from(work.iterations),
        once_s: taken.as_secs_f64() - iterations_s,
    }
}

/// Seconds from the start of the first session to the end of the last one.
fn from_first_to_last(sweep: &Path, iterations: u32) -> f64 {
    let spans = (1..=iterations).map(|iteration| {
        let text = std::fs::read(sweep.join(format!("run{iteration:03}/exit.json"))).unwrap();
        let exit: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let from: chrono::DateTime<chrono::Utc> = exit["started_at"].as_str().unwrap().parse().unwrap();
        let from = from.timestamp_micros() as f64 / 1e6;
        (from, from + exit["duration_s"].as_f64().unwrap())
    });
    let (first, last) = spans.fold((f64::INFINITY, 0.0_f64), |(first, last), (from, to)| {
        (first.min(from), last.max(to))
    });
    last - first
}

/// The script's loop: each chunk is a child in the background.
fn script(work: &Work) -> Duration {
    let logs = tempfile::tempdir_in(work.dir).unwrap();
    let flags = shell_words::join(&work.container.flags);
    let (image, python) = (&work.container.image, &work.container.python);
    let mut text = String::from("#!/bin/bash\nLOGS=$1\nrun_chunk() {\n  for ((run = $1; run <= $2; run++)); do\n");
    writeln!(
        text,
        r#"    name=$(printf 'run%03d' "$run"); dir="$LOGS/$name"; mkdir -p "$dir"
    timeout 660 docker run --rm --name "bench_$$_$name" {flags} -e HF_TOKEN -e DYN_ROUTER_ENABLE_PREFIX_CACHE \
      -v "$dir:/logs/run" -e DYN_TEST_OUTPUT_PATH=/logs/run --entrypoint bash {image} \
      -c "{python} -m pytest test_bench.py {pytest} 2>&1 | tee /logs/run/run.log; exit \${{PIPESTATUS[0]}}" > /dev/null 2>&1
    code=$?
    echo "$code" > "$dir/.exit_code"
    chown -R "$(id -u):$(id -g)" "$dir"
    (flock 9; if [ "$code" -eq 0 ]; then echo "$name: PASSED"; else echo "$name: FAILED (exit $code)"; fi >> "$LOGS/results.txt") 9> "$LOGS/.lock"
  done
}}"#,
        pytest = PYTEST.join(" ")
    )
    .unwrap();
    let share = work.iterations / work.jobs;
    for chunk in 0..work.jobs {
        writeln!(text, "run_chunk {} {} &", chunk * share + 1, (chunk + 1) * share).unwrap();
    }
    text.push_str("wait\n");
    let path = logs.path().join("script.sh");
    std::fs::write(&path, text).unwrap();
    let taken = timed(Command::new("bash").arg(&path).arg(logs.path()).current_dir(work.dir));
    let results = std::fs::read_to_string(logs.path().join("results.txt")).unwrap();
    assert_eq!(results.matches("PASSED").count(), work.iterations as usize, "{results}");
    taken
}

/// Fork and exec in fresh namespaces: what isolation costs without an engine.
fn floor(work: &Work) -> Option<Duration> {
    let logs = tempfile::tempdir_in(work.dir).unwrap();
    let shell = format!(
        "run() {{ for n in $(seq {share}); do unshare --fork --kill-child --pid --mount --net --ipc --uts --mount-proc \
         {python} -m pytest test_bench.py {pytest} > {logs}/$1-$n.log 2>&1 || exit 1; done; }}\n\
         set -e; for chunk in $(seq {jobs}); do run $chunk & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid; done",
        share = work.iterations / work.jobs,
        jobs = work.jobs,
        python = work.container.python,
        pytest = PYTEST
            .join(" ")
            .replace("/tmp/pytest", &format!("{}/pytest-$1", logs.path().display())),
        logs = logs.path().display(),
    );
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut command = Command::new("bash");
    command.args(["-c", &shell]).current_dir(work.dir);
    if let Some(modules) = &work.container.modules {
        command.env("PYTHONPATH", modules);
    }
    Some(timed(&mut command))
}
