//! Whole sweeps through the binary, on this machine's own processes and on real containers.
//!
//! 400 lines long because the same promises are held on both backends, by the same functions.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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

/// What each iteration of the suite of endings comes to: verdict, outcome, categories, exit code, signal.
const ENDINGS: [(u32, &str, &str, &str, &str, &str); 12] = [
    (1, "passed", "passed", "", "0", ""),
    (2, "failed", "failed", "A1", "1", ""),
    (3, "failed", "failed", "A2", "1", ""),
    (4, "failed", "failed", "UNKNOWN", "1", ""),
    (5, "errored", "infra", "A5", "1", ""),
    (6, "failed", "crashed", "B1", "134", "6"),
    (7, "failed", "crashed", "B1", "134", "6"),
    (8, "failed", "crashed", "B1", "137", "9"),
    (9, "failed", "crashed", "B1", "0", ""),
    (10, "failed", "crashed", "B1", "134", "6"),
    (11, "failed", "timed_out", "A3", "1", ""),
    (12, "passed", "passed", "", "0", ""),
];

#[track_caller]
fn endings_are_told_apart(place: &Place) {
    let rows = place.rows("logs/serial");
    assert_eq!(rows.len(), ENDINGS.len());
    for (iteration, verdict, outcome, categories, code, signal) in ENDINGS {
        let row = &rows[&iteration];
        let seen = ["verdict", "outcome", "categories", "exit_code", "signal"].map(|column| row[column].as_str());
        assert_eq!(
            seen,
            [verdict, outcome, categories, code, signal],
            "iteration {iteration}: {row:?}"
        );
        let test = match iteration {
            2 => "test_endings.py::test_router_decisions",
            3 => "test_endings.py::test_indexers_sync",
            4 => "test_endings.py::test_of_something_else",
            5 => "test_endings.py::test_model",
            6..=9 => "test_endings.py::test_process",
            // The session had finished its tests when it aborted.
            1 | 10 | 12 => "",
            _ => "test_endings.py::test_time",
        };
        assert_eq!(row["failing_tests"], test, "iteration {iteration}");
        assert_eq!(row["ended_by"], "itself", "iteration {iteration}");
    }
}

#[test]
fn every_ending_is_told_apart_in_processes_of_this_machine() {
    let place = Place::endings();
    place
        .run(&["--backend", "local", "-p", "serial", "-s", "1", "-e", "12", "-j", "4"])
        .exits(3);
    endings_are_told_apart(&place);
}

#[test]
fn every_ending_is_told_apart_in_containers_and_none_stays() {
    if !engine::daemon() {
        return;
    }
    let place = Place::endings();
    place
        .run(&["-i", "host", "-p", "serial", "-s", "1", "-e", "12", "-j", "4"])
        .exits(3);
    endings_are_told_apart(&place);
    assert_eq!(engine::containers_of(place.dir.path()), "");
    let shown = place.run(&["show", "serial", "1"]).exits(0).out();
    let (_, by_hand) = shown
        .split_once("\nby hand\n  ")
        .expect("the line that does the same without the tool");
    assert!(
        by_hand.starts_with("docker run --rm ") && by_hand.contains(" -m pytest "),
        "{by_hand}"
    );
    // What it writes takes the place of nothing that is recorded.
    assert!(!by_hand.contains("logs/serial/run001"), "{by_hand}");
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

fn published(sweep: &Path) -> usize {
    let Ok(entries) = fs::read_dir(sweep) else { return 0 };
    entries
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("run"))
        .count()
}

fn spawn(place: &Place, words: &[&str]) -> Child {
    place
        .command(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[track_caller]
fn four_processes_share_a_directory(place: &Place, backend: &[&str]) {
    let words = [backend, &["-s", "1", "-e", "30", "-j", "2"]].concat();
    let mut processes: Vec<Child> = (0..4).map(|_| spawn(place, &words)).collect();
    let sweep = place.path("logs/serial");
    until("the first results", || published(&sweep) >= 3);
    let mut killed = processes.remove(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    for mut process in processes {
        assert_eq!(process.wait().unwrap().code(), Some(0));
    }
    place.run(&words).exits(0);
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    let lines = fs::read_to_string(sweep.join("results.txt")).unwrap();
    assert_eq!(lines.lines().count(), 30);
}

#[test]
fn four_processes_on_one_directory_run_each_iteration_once_even_if_one_is_killed() {
    four_processes_share_a_directory(&Place::passing(), &["--backend", "local"]);
}

#[test]
fn the_same_holds_for_containers_and_the_killed_ones_are_removed() {
    if !engine::daemon() {
        return;
    }
    let place = Place::passing();
    four_processes_share_a_directory(&place, &["-i", "host"]);
    assert_eq!(engine::containers_of(place.dir.path()), "");
}

#[test]
fn an_interrupted_sweep_ends_with_130_writes_its_summary_and_leaves_no_container() {
    if !engine::daemon() {
        return;
    }
    let place = Place::new(&[("test_slow.py", "import time\n\ndef test_slow():\n    time.sleep(0.5)\n")]);
    let mut sweep = place
        .command(&["-i", "host", "-e", "500"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the first result", || published(&place.path("logs/serial")) >= 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(sweep.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(sweep.wait().unwrap().code(), Some(130));
    assert!(place.path("logs/serial/summary.txt").exists());
    assert_eq!(engine::containers_of(place.dir.path()), "");
    let recorded = published(&place.path("logs/serial"));
    assert!(recorded < 500, "{recorded}");
    assert_eq!(place.rows("logs/serial").len(), recorded);
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
        out.contains("docker run") && out.contains("app:ci") && out.contains("--shm-size"),
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
    let ran = place.run(&["-e", "3"]).exits(1);
    assert!(
        ran.err().contains("`false`, the command of `before`, failed"),
        "{}",
        ran.err()
    );
    assert_eq!(published(&place.path("logs/serial")), 2);
}

/// Whatever a shell would run, were there one between the user's words and the session.
const SHELL: &str = "$(touch pwned); `touch pwned` && touch pwned | \"touch pwned\" 'x";

#[track_caller]
fn words_stay_words(backend: &[&str]) {
    let test = format!("import os\ndef test_a():\n    assert os.environ['GIVEN'] == {SHELL:?}\n");
    let place = Place::new(&[("sub $(touch pwned);/test_a.py", &test)]);
    let (given, deselected) = (format!("GIVEN={SHELL}"), format!("--deselect={SHELL}"));
    let words = [
        "-e",
        "1",
        "--logs-dir",
        "logs $(touch pwned);",
        "-E",
        &given,
        "--",
        &deselected,
    ];
    place.run(&[backend, &words].concat()).exits(0);
    let run = place.path("logs $(touch pwned);/serial/run001");
    let exit: serde_json::Value = serde_json::from_slice(&fs::read(run.join("exit.json")).unwrap()).unwrap();
    assert!(exit["argv"].as_array().unwrap().contains(&deselected.into()), "{exit}");
    let found: Vec<PathBuf> = [place.dir.path(), &place.path("sub $(touch pwned);"), &run]
        .iter()
        .map(|dir| dir.join("pwned"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn what_a_shell_would_run_reaches_the_session_as_it_is() {
    words_stay_words(&["--backend", "local"]);
    if engine::daemon() {
        words_stay_words(&["--image", "host"]);
    }
}

#[test]
fn arms_run_side_by_side_until_they_are_shown_to_differ() {
    let place = Place::new(&[(
        "test_arm.py",
        "import os\n\ndef test_arm():\n    assert os.environ['FAILS'] == '0'\n",
    )]);
    let arms = ["--arm", "before -E FAILS=1", "--arm", "after -E FAILS=0"];
    let words = [
        &["--backend", "local", "-e", "60", "-t", "fix", "--stop", "decided"],
        &arms[..],
    ]
    .concat();
    let ran = place.run(&words).exits(3);
    assert!(ran.err().contains("stopped by the rule `decided`"), "{}", ran.err());
    let (before, after) = (
        place.rows("logs/serial_fix-before"),
        place.rows("logs/serial_fix-after"),
    );
    assert!(
        before.len() < 60 && before.len().abs_diff(after.len()) <= 1,
        "{} {}",
        before.len(),
        after.len()
    );
    assert!(
        before.values().all(|row| row["verdict"] == "failed") && after.values().all(|row| row["verdict"] == "passed")
    );
    assert!(ran.out().contains("fewer"), "{}", ran.out());
    let specs = ["before", "after"].map(|arm| {
        let text = fs::read_to_string(place.path(&format!("logs/serial_fix-{arm}/sweep.json"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    });
    assert_eq!(specs[0]["arm"]["seed"], specs[1]["arm"]["seed"]);
    assert_eq!(specs[1]["ended"], "decided");
    // The same command line goes on where it stopped, which is nowhere: it is decided already.
    let again = place.run(&words).exits(3);
    assert!(again.err().contains("stopped by the rule `decided`"), "{}", again.err());
    assert_eq!(place.rows("logs/serial_fix-before").len(), before.len());
}

#[test]
fn arms_that_make_no_sense_are_refused() {
    let place = Place::passing();
    for (words, expected) in [
        (&["--arm", "only"][..], "there is only one arm, `only`"),
        (&["--arm", "a", "--arm", "a -j 2"], "all arms share"),
        (&["--arm", "a", "--arm", "a"], "two arms are called `a`"),
        (&["--arm", "a/b", "--arm", "c"], "invalid arm `a/b`"),
        (
            &["--arm", "a --nonsense", "--arm", "c"],
            "unexpected argument '--nonsense'",
        ),
        (&["--arm", "a 'x", "--arm", "c"], "invalid arm `a 'x`"),
        (&["--until", "Z9"], "no signature has the id `Z9`"),
    ] {
        let ran = place.run(words).exits(2);
        assert!(ran.err().contains(expected), "{words:?}: {}", ran.err());
    }
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
