//! Whole sweeps through the binary, on this machine's own processes and on real containers.

mod endings;
mod sharing;
mod words;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::engine;

/// A directory with a suite in it, to run the tool in.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new(suite: &[(&str, &str)]) -> Place {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in suite {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Place { dir }
    }

    pub(crate) fn endings() -> Place {
        Place::new(&[(
            "test_endings.py",
            include_str!("../fixtures/suites/endings/test_endings.py"),
        )])
    }

    pub(crate) fn passing() -> Place {
        Place::new(&[("test_pass.py", "def test_pass():\n    pass\n")])
    }

    /// Another place with the same suite and sweeps, which can go on there as if they had been run there.
    pub(crate) fn copied(&self) -> Place {
        let place = Place::new(&[]);
        let all = self.path(".");
        let copied = Command::new("cp").arg("-a").args([&all, place.dir.path()]).status();
        assert!(copied.unwrap().success());
        let [there, here] = [self, &place].map(|place| place.dir.path().canonicalize().unwrap().display().to_string());
        for sweep in fs::read_dir(place.path("logs")).unwrap() {
            let path = sweep.unwrap().path().join("sweep.json");
            fs::write(&path, fs::read_to_string(&path).unwrap().replace(&there, &here)).unwrap();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce-flaky"));
        command
            .args(words)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("PATH", search_path())
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1");
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran(self.command(words).output().unwrap())
    }

    /// The rows of results.csv by iteration, each a map from column to value.
    pub(crate) fn rows(&self, sweep: &str) -> BTreeMap<u32, BTreeMap<String, String>> {
        rows(&self.path(sweep))
    }
}

/// The caller's `PATH` with the directory of its Python before it: where `python3` is a script that looks for the one that
/// is meant, as with pyenv, each of the suite's many starts would cost as much as a session.
pub(crate) fn search_path() -> &'static OsStr {
    static PATH: LazyLock<OsString> = LazyLock::new(|| {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let asked = Command::new("python3")
            .args(["-c", "import os, sys; print(os.path.dirname(sys.executable))"])
            .output();
        let Some(asked) = asked.ok().filter(|asked| asked.status.success()) else {
            return own;
        };
        let python = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim_end());
        std::env::join_paths(std::iter::once(python).chain(std::env::split_paths(&own))).unwrap()
    });
    &PATH
}

/// The rows of a sweep's results.csv by iteration, each a map from column to value.
pub(crate) fn rows(sweep: &Path) -> BTreeMap<u32, BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(sweep.join("results.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut rows = BTreeMap::new();
    for row in reader.records().map(Result::unwrap) {
        let row: BTreeMap<String, String> = header
            .iter()
            .map(str::to_owned)
            .zip(row.iter().map(str::to_owned))
            .collect();
        let iteration: u32 = row["iteration"].parse().unwrap();
        assert!(
            rows.insert(iteration, row).is_none(),
            "iteration {iteration} stands twice in results.csv"
        );
    }
    rows
}

/// What came of a call.
pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran(output)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        assert_eq!(self.0.status.code(), Some(code), "{}\n{}", self.out(), self.err());
        self
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

/// Waits for a condition that another process brings about.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_mins(2);
    while !holds() {
        assert!(Instant::now() < limit, "waited two minutes for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Published runs of a sweep.
fn published(sweep: &Path) -> usize {
    let Ok(entries) = fs::read_dir(sweep) else { return 0 };
    entries
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("run"))
        .count()
}

#[test]
fn a_tests_own_logs_stand_beside_the_sessions() {
    let place = Place::new(&[(
        "test_log.py",
        "import os, pathlib, pytest\n\n@pytest.mark.parametrize('plane', ['jetstream'])\ndef test_sync(plane, request):\n    \
         d = pathlib.Path(os.environ['DYN_TEST_OUTPUT_PATH'], request.node.name)\n    d.mkdir()\n    \
         (d / 'test.log.txt').write_text('hello')\n",
    )]);
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let log = place.path("logs/serial/run001/test_sync[jetstream]/test.log.txt");
    assert_eq!(fs::read_to_string(log).unwrap(), "hello");
}

#[test]
fn a_dry_run_starts_nothing_and_names_the_docker_run_line() {
    let place = Place::passing();
    let ran = place
        .run(&[
            "--dry-run",
            "-i",
            "app:ci",
            "-p",
            "4",
            "-e",
            "7",
            "-E",
            "TOKEN",
            "--",
            "-k",
            "x y",
        ])
        .exits(0);
    let out = ran.out();
    assert!(out.contains("7 to run of 1-7"), "{out}");
    assert!(
        out.contains("docker run")
            && out.contains("app:ci")
            && out.contains("--shm-size")
            && out.contains("--pids-limit"),
        "{out}"
    );
    assert!(out.contains("'x y'"), "{out}");
    assert!(!place.path("logs").exists());
}

#[test]
fn the_event_stream_is_json_on_stdout_and_nothing_else_is() {
    let place = Place::passing();
    let ran = place
        .run(&["--backend", "local", "-e", "2", "--progress", "jsonl"])
        .exits(0);
    let events: Vec<serde_json::Value> = ran
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.first().unwrap()["event"], "sweep_started");
    let last = events.last().unwrap();
    assert_eq!(
        (last["event"].as_str(), last["tally"]["passed"].as_u64()),
        (Some("sweep_finished"), Some(2))
    );
    assert!(last["elapsed_s"].is_number() && last["at"].is_string());
}

#[test]
fn retried_iterations_run_again_and_the_old_ones_are_kept() {
    let place = Place::endings();
    place.run(&["--backend", "local", "-s", "4", "-e", "5"]).exits(3);
    let ran = place
        .run(&["--backend", "local", "-s", "4", "-e", "5", "--retry", "errored"])
        .exits(3);
    let kept = fs::read_dir(place.path("logs/serial/.attempts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let kept: Vec<String> = kept.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(
        kept.iter().any(|name| name.starts_with("run005")),
        "{kept:?}\n{}",
        ran.err()
    );
    assert!(!kept.iter().any(|name| name.starts_with("run004")), "{kept:?}");
    assert_eq!(place.rows("logs/serial").len(), 2);
}

#[test]
fn the_command_of_before_runs_once_and_its_failure_stops_the_sweep() {
    let place = Place::passing();
    fs::write(
        place.path("reproduce-flaky.toml"),
        "backend = \"local\"\nbefore = [\"sh\", \"-c\", \"echo x >> built\"]\n",
    )
    .unwrap();
    place.run(&["-e", "2"]).exits(0);
    place.run(&["-e", "2"]).exits(0);
    assert_eq!(fs::read_to_string(place.path("built")).unwrap(), "x\n");
    fs::write(
        place.path("reproduce-flaky.toml"),
        "backend = \"local\"\nbefore = [\"false\"]\n",
    )
    .unwrap();
    let ran = place.run(&["-e", "3", "--accept-settings"]).exits(1);
    assert!(
        ran.err().contains("`false`, the command of `before`, failed"),
        "{}",
        ran.err()
    );
    assert_eq!(published(&place.path("logs/serial")), 2);
}

#[test]
fn the_doctor_says_whether_a_sweep_can_run_and_what_to_do() {
    let place = Place::passing();
    let ran = place
        .run(&["doctor", "--backend", "local", "--format", "json"])
        .exits(0);
    let answer: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(answer["can_run"], true);
    let of = |what: &str| {
        answer["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["what"] == what)
            .cloned()
    };
    assert!(
        of("python").unwrap()["found"].as_str().unwrap().contains("pytest "),
        "{answer}"
    );

    let mut dead = place.command(&["doctor"]);
    let dead = dead
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .output()
        .unwrap();
    assert_eq!(dead.status.code(), Some(1));
    let out = String::from_utf8_lossy(&dead.stdout).into_owned();
    assert!(
        out.contains("!   engine") && out.contains("start the Docker service"),
        "{out}"
    );

    if engine::daemon() {
        let ran = place.run(&["doctor", "-i", "no-such-image:ci"]).exits(1);
        assert!(ran.out().contains("docker pull no-such-image:ci"), "{}", ran.out());
        let ran = place.run(&["doctor", "-p", "4"]).exits(0);
        assert!(ran.out().contains("pytest-xdist"), "{}", ran.out());
    }
}
