//! The local backend: process groups of this machine.

use std::fs;

use crate::cli::{Place, Ran};
use crate::place::{Need, skip};
use crate::sessions::{Sweep, drain, kill, read_until, run};
use reproduce_flaky::backend::{BackendError, Plugin, Signal};
use reproduce_flaky::spec::Workspace;

#[tokio::test]
async fn the_output_of_a_process_that_ends_at_once_is_whole() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let program = "import os; os.write(1, b'x' * 3_000_000); os.write(2, b'end')";
    let (output, ended) = run(&*backend, &sweep.python(program)).await.unwrap();
    assert_eq!(output.len(), 3_000_003);
    assert!(output.ends_with("end"));
    assert_eq!((ended.code, ended.signal), (Some(0), None));
    assert!(ended.started_at.unwrap() <= ended.finished_at.unwrap());
}

#[tokio::test]
async fn a_signal_that_ended_it_is_a_fact() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    for (signal, code) in [("SIGABRT", 134), ("SIGSEGV", 139), ("SIGKILL", 137)] {
        let program = format!("import os, signal; os.kill(os.getpid(), signal.{signal})");
        let (_, ended) = run(&*backend, &sweep.python(&program)).await.unwrap();
        assert_eq!((ended.code, ended.signal), (Some(code), Some(code - 128)), "{signal}");
    }
}

#[tokio::test]
async fn a_child_that_left_its_group_and_holds_the_pipe_ends_with_the_session() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let program = "import subprocess, sys
child = subprocess.Popen(['sleep', '1000'], start_new_session=True)
print(child.pid)";
    let (output, ended) = run(&*backend, &sweep.python(program)).await.unwrap();
    assert_eq!(ended.code, Some(0));
    let pid = output.trim().to_owned();
    let is_gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let deadline = std::time::Instant::now() + crate::sessions::PATIENCE;
    while !is_gone() {
        assert!(std::time::Instant::now() < deadline, "{pid} lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_ignores_term_is_killed() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let program = "import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))
print('ready', flush=True)
while True: time.sleep(1000)";
    let mut session = backend.start(&sweep.python(program)).await.unwrap();
    read_until(&mut *session, "ready").await;
    session.signal(Signal::Term).await.unwrap();
    read_until(&mut *session, "no").await;
    let ended = kill(session).await;
    assert_eq!(ended.signal, Some(9));
}

#[tokio::test]
async fn its_temporary_directory_is_its_own_and_gone_afterwards() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let program = "import os, tempfile
print(tempfile.gettempdir())
open(os.path.join(tempfile.gettempdir(), 'left'), 'w').close()";
    let (output, _) = run(&*backend, &sweep.python(program)).await.unwrap();
    let dir = std::path::PathBuf::from(output.trim());
    assert_ne!(dir, std::env::temp_dir());
    assert!(!dir.exists());
}

#[tokio::test]
async fn the_recipes_variables_and_the_attempts_directory_are_there() {
    let mut sweep = Sweep::new("");
    sweep.env("GIVEN", "here");
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(
        "import os
print(os.environ['REPRODUCE_FLAKY_ITERATION'], os.environ['PYTHONFAULTHANDLER'], os.environ['GIVEN'])
open(os.environ['DYN_TEST_OUTPUT_PATH'] + '/written', 'w').close()",
    );
    let (output, _) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(output, "7 1 here\n");
    assert!(attempt.dir.join("written").exists());
}

#[tokio::test]
async fn a_fresh_workspace_is_pristine_every_time() {
    let mut sweep = Sweep::new("");
    sweep.spec.container.workspace = Workspace::Fresh;
    sweep.write("kept", "pristine");
    let backend = sweep.open().await.unwrap();
    for _ in 0..2 {
        let program = "import os; print(sorted(os.listdir('.')), open('kept').read())
open('kept', 'w').write('changed'); open('new', 'w').close()";
        let (output, _) = run(&*backend, &sweep.python(program)).await.unwrap();
        assert_eq!(output, "['kept'] pristine\n");
    }
    assert_eq!(
        std::fs::read_to_string(sweep.workspace.join("kept")).unwrap(),
        "pristine"
    );
}

#[tokio::test]
async fn pytest_runs_with_a_plugin_of_ours() {
    let sweep = Sweep::new("");
    sweep.write("test_one.py", "def test_one(): pass\n");
    let plugin = Plugin {
        module: "rf_it_plugin".to_owned(),
        source: "def pytest_sessionstart(session): print('PLUGIN HERE')\n".to_owned(),
    };
    let backend = sweep.open_with(Some(&plugin)).await.unwrap();
    let probe = backend.probe().await.unwrap();
    for name in ["python", "pytest", "pytest-xdist", "pytest-timeout"] {
        assert!(probe.versions.contains_key(name), "{:?}", probe.versions);
    }
    assert!(probe.image_id.starts_with("host-sha256:"));
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-s", "-p", "rf_it_plugin"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(
        output.contains("PLUGIN HERE") && output.contains("1 passed"),
        "{output}"
    );
    assert_eq!(ended.code, Some(0));
}

#[tokio::test]
async fn a_read_only_workspace_is_refused() {
    let mut sweep = Sweep::new("");
    sweep.spec.container.workspace = Workspace::Ro;
    let error = sweep.open().await.err().unwrap();
    assert!(matches!(error, BackendError::Unfit { .. }), "{error}");
}

#[tokio::test]
async fn a_session_that_is_dropped_leaves_no_process() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let mut session = backend
        .start(&sweep.python("import os, time; print(os.getpid(), 'up', flush=True); time.sleep(1000)"))
        .await
        .unwrap();
    let output = read_until(&mut *session, "up").await;
    let pid = output.split_whitespace().next().unwrap().to_owned();
    drop(session);
    let deadline = std::time::Instant::now() + crate::sessions::PATIENCE;
    while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "{pid} lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn output_may_be_dropped_and_asked_for_again() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let program = "import time
for n in range(2000): print(n, flush=True)";
    let mut session = backend.start(&sweep.python(program)).await.unwrap();
    let mut all = String::new();
    for _ in 0..200 {
        if let Ok(Ok(Some(piece))) = tokio::time::timeout(std::time::Duration::from_micros(50), session.output()).await
        {
            all.push_str(&String::from_utf8_lossy(&piece));
        }
    }
    all.push_str(&drain(&mut *session).await.unwrap());
    let expected = (0..2000).fold(String::new(), |text, n| text + &n.to_string() + "\n");
    assert_eq!(all, expected);
    session.finish().await.unwrap();
}

/// Sessions see fetched packages without being able to write there: what pytest would compile anew for each of them, the
/// rewritten form of its plugins, is there already.
#[test]
fn what_is_fetched_is_compiled_once_for_all_sessions() {
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let mut sweep = place.command(&["--backend", "local", "-p", "1", "-e", "1"]);
    sweep
        .env("XDG_CACHE_HOME", cache.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = Ran::of(sweep.output().unwrap()).exits(0);
    if !ran.err().contains("fetching pytest") {
        return skip(Need::Fetching, "this machine's Python has pytest itself");
    }
    for (kind, below, module) in [
        ("python", "", "pytest_timeout"),
        ("python", "xdist", "plugin"),
        ("python", "xdist", "remote"),
        ("plugin", "", "reproduce_flaky_trail"),
    ] {
        let kept = fs::read_dir(cache.path().join("reproduce-flaky").join(kind)).unwrap();
        let kept = kept.map(|entry| entry.unwrap().path()).next().unwrap();
        let compiled = fs::read_dir(kept.join(below).join("__pycache__")).unwrap();
        let mut names = compiled.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            names.any(|name| name.starts_with(&format!("{module}.")) && name.contains("-pytest-")),
            "{module}"
        );
    }
}
