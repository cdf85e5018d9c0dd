//! Whole sweeps whose sessions end in ways that a console does not show, or shows only to whoever looks closely.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::{Place, Ran};
use crate::place::{Need, skip};

const LOCAL: [&str; 4] = ["--backend", "local", "--progress", "plain"];

fn outcome(place: &Place, run: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(run).join("outcome.json")).unwrap()).unwrap()
}

#[test]
fn a_worker_that_aborts_at_its_exit_is_a_crash_although_the_console_says_that_all_passed() {
    // What a static destructor does, or a runtime that is dropped at exit: the interpreter is gone by then.
    let place = Place::new(&[(
        "test_exit.py",
        "import ctypes, os\n\
        LIBC = ctypes.CDLL(None)\n\
        def test_one():\n    pass\n\
        def test_two():\n    if 'PYTEST_XDIST_WORKER' in os.environ:\n        \
        getattr(LIBC, '__cxa_atexit')(ctypes.cast(LIBC.abort, ctypes.c_void_p), None, None)\n",
    )]);
    place.run(&[&LOCAL[..], &["-p", "2", "-e", "1"]].concat()).exits(3);
    let run = "logs/n2/run001";
    let log = fs::read_to_string(place.path(run).join("run.log")).unwrap();
    assert!(log.contains("2 passed") && !log.contains("node down"), "{log}");
    let outcome = outcome(&place, run);
    assert_eq!(outcome["outcome"], "crashed", "{outcome}");
    assert_eq!(outcome["categories"], serde_json::json!(["B1"]));
    assert_eq!(outcome["failing_tests"], serde_json::json!([]));
    assert_eq!(outcome["crashes"][0]["kind"], "worker");
    assert_eq!(outcome["evidence"][0]["file"], "tests.jsonl");
    let text = outcome["evidence"][0]["text"].as_str().unwrap();
    assert!(text.ends_with("was killed by signal 6 after its last test"), "{text}");
}

/// A sweep of a path that is not there, of which only the first iteration is run.
#[track_caller]
fn stops_after_the_first(more: &[&str], sweep: &str, outcome: &str, said: &str) {
    let place = Place::passing();
    let words = [&LOCAL[..], more, &["-e", "7", "--", "nosuch"]].concat();
    let ran = place.run(&words).exits(4);
    let stopped = format!("note: stopped: pytest runs no test, and would not in any iteration: `{said}`\nhint: ");
    assert!(ran.err().contains(&stopped), "{}", ran.err());
    let rows = place.rows(sweep);
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(
        (rows[&1]["outcome"].as_str(), rows[&1]["categories"].as_str()),
        (outcome, "")
    );
    let shown = place.run(&["show", &format!("{sweep}/run001")]).exits(0).out();
    assert!(outcome != "usage_error" || shown.contains(said), "{shown}");
}

#[test]
fn a_wrong_path_is_run_once_and_its_own_line_is_the_evidence() {
    let said = "ERROR: file or directory not found: nosuch";
    stops_after_the_first(&[], "logs/serial", "usage_error", said);
    // xdist keeps the line to itself.
    stops_after_the_first(&["-p", "2"], "logs/n2", "no_tests", "no tests ran");
}

#[test]
fn two_iterations_out_of_time_in_a_row_say_how_long_a_session_seems_to_take() {
    let place = Place::new(&[(
        "test_long.py",
        "import pytest, time\n@pytest.mark.parametrize('n', range(400))\ndef test_step(n):\n    time.sleep(0.3)\n",
    )]);
    let words = [&LOCAL[..], &["-e", "2", "--timeout", "10s"]].concat();
    let ran = place.run(&words).exits(4);
    let rows = place.rows("logs/serial");
    assert_eq!(rows[&1]["outcome"], "out_of_time", "{}", ran.err());
    assert_eq!(rows[&2]["outcome"], "out_of_time");
    let said = "2 iterations in a row were out of time while their tests were still finishing: a full session seems to take about ";
    assert!(
        ran.err().contains(said) && ran.err().contains("\nhint: --timeout "),
        "{}",
        ran.err()
    );
    let outcome = outcome(&place, "logs/serial/run001");
    // Four hundred tests of 0.3 s each.
    assert!(outcome["full_session_s"].as_u64().unwrap() >= 120, "{outcome}");
    assert_eq!(outcome["is_cut_short"], true);
    let passed = outcome["counts"]["passed"].as_u64().unwrap();
    assert!((2..400).contains(&passed), "{outcome}");
}

/// Runs the tool with a Python that has pytest-rerunfailures; `None` where no package can be fetched.
fn with_rerunfailures(place: &Place) -> Option<impl Fn(&[&str]) -> Ran + '_> {
    let venv = place.path(".venv");
    let quiet = |command: &mut Command| {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv)),
        "no virtual environment"
    );
    let packages = ["pytest", "pytest-xdist", "pytest-timeout", "pytest-rerunfailures"];
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    if !quiet(Command::new(venv.join("bin/python")).args(install).args(packages)) {
        skip(Need::Fetching, "no package can be fetched");
        return None;
    }
    let own = crate::cli::search_path().to_owned();
    let path = std::env::join_paths(std::iter::once(venv.join("bin")).chain(std::env::split_paths(&own))).unwrap();
    Some(move |words: &[&str]| Ran::of(place.command(words).env("PATH", &path).output().unwrap()))
}

#[test]
fn a_test_that_passes_only_after_a_rerun_is_a_pass_that_everything_speaks_of() {
    let place = Place::new(&[
        (
            "test_flaky.py",
            "ATTEMPTS = []\ndef test_flaky():\n    ATTEMPTS.append(1)\n    assert len(ATTEMPTS) > 1\ndef test_calm():\n    pass\n",
        ),
        ("pytest.ini", "[pytest]\naddopts = --reruns 2\n"),
    ]);
    let Some(run) = with_rerunfailures(&place) else { return };
    let ran = run(&[&LOCAL[..], &["-e", "3"]].concat()).exits(0);
    let note = "note: pytest-rerunfailures is active here; reruns are counted apart";
    assert!(ran.err().contains(note), "{}", ran.err());
    assert_eq!(
        ran.err().matches("needed a rerun: test_flaky.py::test_flaky").count(),
        3,
        "{}",
        ran.err()
    );
    assert!(ran.out().contains("3/3  test_flaky.py::test_flaky"), "{}", ran.out());
    let judged = outcome(&place, "logs/serial/run001");
    assert_eq!(
        (judged["outcome"].as_str(), judged["counts"]["rerun"].as_u64()),
        (Some("passed"), Some(1))
    );
    assert_eq!(judged["reran"], serde_json::json!(["test_flaky.py::test_flaky"]));
    assert_eq!(
        judged["notes"],
        serde_json::json!(["needed a rerun: test_flaky.py::test_flaky"])
    );
    // Without the trail the console's `RERUN` names it.
    run(&[&LOCAL[..], &["-e", "1", "-t", "told", "--no-trail", "--", "-v"]].concat()).exits(0);
    assert_eq!(outcome(&place, "logs/serial_told/run001")["reran"], judged["reran"]);
    let summary: Value = serde_json::from_str(&run(&["summary", "logs/serial", "--format", "json"]).out()).unwrap();
    assert_eq!(summary["rate"]["failed"], 0);
    let reran = &summary["reran"][0];
    assert_eq!(
        (reran["iterations"].as_u64(), reran["of"].as_u64()),
        (Some(3), Some(3)),
        "{reran}"
    );
    for format in ["text", "markdown", "html", "junit"] {
        let text = run(&["summary", "logs/serial", "--format", format]).exits(0).out();
        assert!(
            text.to_lowercase().contains("needed a rerun") && text.contains("3/3"),
            "{format}: {text}"
        );
    }
}

/// The library of `fixtures/hang_thread`, built; `None` where its crates cannot be fetched.
fn hang_thread() -> Option<std::path::PathBuf> {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("hang_thread");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hang_thread/Cargo.toml");
    let words = [
        "build",
        "--quiet",
        "--locked",
        "--manifest-path",
        manifest,
        "--target-dir",
    ];
    let built = Command::new(env!("CARGO")).args(words).arg(&target).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    if said.contains("failed to download") || said.contains("failed to get") {
        skip(Need::Fetching, "no crate can be fetched");
        return None;
    }
    assert!(built.status.success(), "{said}");
    Some(target.join("debug/libhang_thread.so"))
}

#[test]
fn a_thread_that_pyo3_parks_at_the_interpreters_end_is_never_what_hangs() {
    let Some(library) = hang_thread() else { return };
    if !crate::engine::gdb() {
        return;
    }
    let suite = format!(
        "import ctypes, os\nLIBRARY = ctypes.CDLL({library:?})\n\
        def test_begin():\n    LIBRARY.begin()\n    if 'JOIN' in os.environ:\n        LIBRARY.join_at_exit()\n"
    );
    let place = Place::new(&[("test_park.py", &suite)]);
    // Parked, and nobody waits for the thread: the process ends as ever.
    place.run(&[&LOCAL[..], &["-e", "1"]].concat()).exits(0);
    let hung = [
        &LOCAL[..],
        &["-e", "1", "-t", "joined", "-E", "JOIN=1", "--silence", "8s"],
    ]
    .concat();
    place.run(&hung).exits(3);
    let run = "logs/serial_joined/run001";
    let outcome = outcome(&place, run);
    assert_eq!(
        (outcome["outcome"].as_str(), &outcome["failing_tests"]),
        (Some("hung"), &serde_json::json!([]))
    );
    let stacks = fs::read_to_string(place.path(run).join("autopsy/stacks.txt")).unwrap();
    assert!(stacks.contains("HangThread"), "{stacks}");
    let shown = place.run(&["show", run]).exits(0).out();
    let (_, stood) = shown.split_once("where it stood, of autopsy/stacks.txt").unwrap();
    let stood = stood.split("\n\n").next().unwrap();
    assert!(
        stood.contains("wait_for_worker") && !stood.contains("HangThread"),
        "{stood}"
    );
}
