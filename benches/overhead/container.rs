//! The container that every competitor runs: what this tool says is its equivalent `docker run`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The words of a `docker run`, taken apart.
pub(crate) struct Container {
    /// Flags, without `docker run --rm`, without an init process, which the script does not ask for, and without what
    /// belongs to one iteration.
    pub(crate) flags: Vec<String>,
    pub(crate) image: String,
    /// Its Python.
    pub(crate) python: String,
    /// Where pytest is, if not in that Python.
    pub(crate) modules: Option<PathBuf>,
}

/// The tool itself.
pub(crate) fn tool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reproduce-flaky"))
}

/// What all of them run, besides the node id.
pub(crate) const PYTEST: [&str; 3] = ["--basetemp=/tmp/pytest", "--durations=0", "--timeout=600"];

impl Container {
    /// `None` where no engine answers.
    pub(crate) fn of_this_machine(dir: &Path) -> Option<Container> {
        write_test(dir, Duration::ZERO);
        // The image is imported by the first sweep.
        let ran = tool()
            .args([
                "--image",
                "host",
                "-e",
                "1",
                "-t",
                "first",
                "--progress",
                "none",
                "--no-trail",
            ])
            .current_dir(dir)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        if !ran.success() {
            return None;
        }
        let output = tool()
            .args(["--image", "host", "--dry-run", "--no-trail"])
            .current_dir(dir)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = shell_words::split(text.lines().last().unwrap()).unwrap();
        let at = words.iter().position(|word| word == "--entrypoint").unwrap();
        let mut container = Container {
            flags: Vec::new(),
            image: words[at + 2].clone(),
            python: words[at + 1].clone(),
            modules: None,
        };
        let mut words = words[..at].iter().skip(2);
        while let Some(word) = words.next() {
            if ["--rm", "--init"].contains(&word.as_str()) {
                continue;
            }
            if word == "--read-only" {
                container.flags.push(word.clone());
                continue;
            }
            let value = words.next().unwrap();
            if value.ends_with(":/reproduce-flaky/run") || value.starts_with("REPRODUCE_FLAKY_") {
                continue;
            }
            if let Some(modules) = value.strip_suffix(":/reproduce-flaky/packages:ro") {
                container.modules = Some(modules.into());
            }
            container.flags.extend([word.clone(), value.clone()]);
        }
        container.leave_out_refused_limits();
        Some(container)
    }

    /// An engine that is itself in a container may not raise limits; the tool does without them then.
    fn leave_out_refused_limits(&mut self) {
        loop {
            let output = self.docker_run("true").output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let refused = [
                ("rlimit type 3", "stack"),
                ("rlimit type 7", "nofile"),
                ("rlimit type 8", "memlock"),
            ];
            let Some((_, name)) = refused.into_iter().find(|(number, _)| words.contains(number)) else {
                assert!(output.status.success(), "{words}");
                return;
            };
            let at = self.flags.iter().position(|flag| flag.starts_with(name)).unwrap();
            self.flags.drain(at - 1..=at);
        }
    }

    fn docker_run(&self, shell: &str) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["run", "--rm"])
            .args(&self.flags)
            .args(["--entrypoint", "sh", &self.image, "-c", shell]);
        command
    }

    /// How long pytest takes for nothing, in the container, its start left out: the best of five.
    pub(crate) fn time_of_an_empty_session(&self) -> Duration {
        let shell = format!(
            "for n in 1 2 3 4 5; do s=$(date +%s%N); {} -m pytest {} >/dev/null; e=$(date +%s%N); echo $((e - s)); done",
            self.python,
            PYTEST.join(" ")
        );
        let output = self.docker_run(&shell).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        Duration::from_nanos(text.lines().map(|line| line.parse().unwrap()).min().unwrap())
    }
}

/// The suite: one test that takes so long.
pub(crate) fn write_test(dir: &Path, sleep: Duration) {
    let text = format!("import time\ndef test_a():\n    time.sleep({})\n", sleep.as_secs_f64());
    std::fs::write(dir.join("test_bench.py"), text).unwrap();
}

/// Runs a command to its end and returns how long it took.
pub(crate) fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed()
}
