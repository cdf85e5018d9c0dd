//! What is found out about a session that hangs, before it is ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{DEBIAN, OwnImage, daemon, debian};
use crate::place::night;
use crate::sessions::{Sweep, kill, read_until};
use reproduce_flaky::backend::{AfterAutopsy, Attempt, Autopsy, Backend, Ended, Plugin, Session};
use reproduce_flaky::judge::pytest::trail;

const BUDGET: Duration = Duration::from_secs(10);

/// Tests that hang in their own ways, each saying first that it is about to.
const SUITE: &str = "
import ctypes, os, signal, subprocess, sys, threading

def say():
    os.write(int(os.environ.get('RF_OUT', '2')), b'HANGING NOW\\n')

def hang_in_second_router():
    say()
    ctypes.PyDLL(None).sleep(1000)

def wait_for_nobody():
    say()
    threading.Event().wait()

def test_gil_held():
    hang_in_second_router()

def test_gil_free():
    wait_for_nobody()

def test_child_that_ignores_term():
    child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)'])
    say()
    child.wait()
";

fn plugin() -> Plugin {
    Plugin {
        module: trail::PLUGIN_MODULE.to_owned(),
        source: trail::PLUGIN_SOURCE.to_owned(),
    }
}

fn hanging(sweep: &Sweep, test: &str, more: &[&str]) -> Attempt {
    sweep.write("test_hang.py", SUITE);
    let id = format!("test_hang.py::{test}");
    let argv = [
        &["python3", "-m", "pytest", "-s", "-p", trail::PLUGIN_MODULE, &id],
        more,
    ]
    .concat();
    let mut attempt = sweep.attempt(&argv);
    attempt
        .dir_env
        .push((trail::TRAIL_ENV.to_owned(), "tests.jsonl".to_owned()));
    attempt
}

/// A session that hangs, and what was found of it.
struct Hang {
    backend: Arc<dyn Backend>,
    session: Box<dyn Session>,
    autopsy: Autopsy,
    stacks: String,
}

impl Hang {
    /// Ends it and waits until nothing of it is left.
    async fn end(self) -> Ended {
        let ended = kill(self.session).await;
        self.backend.close().await;
        ended
    }
}

async fn hangs(sweep: &Sweep, attempt: &Attempt) -> Hang {
    let backend = sweep.open_with(Some(&plugin())).await.unwrap();
    let mut session = backend.start(attempt).await.unwrap();
    read_until(&mut *session, "HANGING NOW").await;
    let since = Instant::now();
    let autopsy = session
        .autopsy(attempt.dirs.as_ref().unwrap(), BUDGET, AfterAutopsy::End)
        .await;
    assert!(
        since.elapsed() < BUDGET + Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
    let stacks = read(attempt, "stacks.txt");
    assert_eq!(autopsy.files.first().map(String::as_str), Some("autopsy/stacks.txt"));
    Hang {
        backend,
        session,
        autopsy,
        stacks,
    }
}

fn read(attempt: &Attempt, name: &str) -> String {
    let own = attempt.dirs.as_ref().unwrap().own.path();
    std::fs::read_to_string(own.join("autopsy").join(name)).unwrap_or_default()
}

/// Which call of the kernel a sleeping thread is in, by the system's own names.
fn sleeps(processes: &str) -> bool {
    processes.contains("nanosleep(")
}

#[tokio::test]
async fn a_test_that_holds_the_gil_in_a_container_leaves_its_stacks() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let attempt = hanging(&sweep, "test_gil_held", &[]);
    let hang = hangs(&sweep, &attempt).await;
    let (autopsy, stacks) = (&hang.autopsy, &hang.stacks);
    assert!(stacks.contains("in hang_in_second_router"), "{stacks}");
    assert!(stacks.contains("in test_gil_held"), "{stacks}");
    assert!(sleeps(stacks) && sleeps(&read(&attempt, "processes.txt")), "{stacks}");
    if crate::engine::gdb() {
        // On a machine that is busy with other things the debugger may need more time than there is.
        let is_late = autopsy.notes.iter().any(|note| note.contains("took too long"));
        assert!(is_late || stacks.contains("=== Native stacks"), "{stacks}{autopsy:?}");
    }
    assert!(read(&attempt, "files.txt").contains("tests.jsonl"));
    assert!(read(&attempt, "logs.txt").contains("tests.jsonl"));
    hang.end().await;
}

#[tokio::test]
async fn every_worker_of_xdist_is_asked() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    // The workers' own standard error is the one that reaches the console.
    let attempt = hanging(&sweep, "test_gil_held", &["-n", "2"]);
    let hang = hangs(&sweep, &attempt).await;
    let stacks = &hang.stacks;
    assert!(stacks.contains("in hang_in_second_router"), "{stacks}");
    assert!(
        stacks.contains("execnet"),
        "the other worker, or the controller: {stacks}"
    );
    hang.end().await;
}

#[tokio::test]
async fn a_test_that_waits_without_the_gil_on_this_machine_leaves_its_stacks() {
    let sweep = Sweep::new("");
    let attempt = hanging(&sweep, "test_gil_free", &[]);
    let hang = hangs(&sweep, &attempt).await;
    let stacks = &hang.stacks;
    assert!(stacks.contains("in wait_for_nobody"), "{stacks}");
    assert!(read(&attempt, "processes.txt").contains("futex("));
    let ended = hang.end().await;
    assert_eq!(ended.signal, Some(9));
}

#[tokio::test]
async fn a_python_that_has_no_plugin_prints_its_stacks_when_it_is_aborted() {
    let sweep = Sweep::new("");
    let attempt =
        sweep.python("import sys, time\nprint('HANGING NOW', flush=True)\ndef hang(): time.sleep(1000)\nhang()");
    let hang = hangs(&sweep, &attempt).await;
    let stacks = &hang.stacks;
    assert!(stacks.contains("Fatal Python error: Aborted"), "{stacks}");
    assert!(stacks.contains("in hang"), "{stacks}");
    let mut session = hang.session;
    let output = crate::sessions::drain(&mut *session).await.unwrap();
    assert!(
        output.contains("Fatal Python error: Aborted"),
        "what was read ahead is not lost: {output}"
    );
    assert_eq!(session.finish().await.unwrap().signal, Some(6));
}

#[tokio::test]
async fn an_image_gives_what_this_machine_gives() {
    if !daemon() || !debian() {
        return;
    }
    let sweep = Sweep::new(DEBIAN);
    let attempt = hanging(&sweep, "test_child_that_ignores_term", &[]);
    let hang = hangs(&sweep, &attempt).await;
    let (autopsy, stacks) = (&hang.autopsy, &hang.stacks);
    assert!(
        stacks.contains("in test_child_that_ignores_term"),
        "{stacks} {autopsy:?}"
    );
    assert!(read(&attempt, "processes.txt").contains("signal.SIG_IGN"));
    hang.end().await;
}

#[tokio::test]
async fn an_image_without_a_shell_is_looked_at_all_the_same() {
    if !night() || !daemon() || !debian() {
        return;
    }
    let image = OwnImage::named("no-shell");
    let script = "set -e; id=$(docker create \"$1\" true)
        docker export $id | tar --delete -f - usr/bin/sh usr/bin/dash usr/bin/bash | docker import - \"$2\"
        docker rm $id";
    let made = std::process::Command::new("bash")
        .args(["-o", "pipefail", "-c", script, "make", DEBIAN, image.name()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sweep = Sweep::new(image.name());
    let attempt = hanging(&sweep, "test_gil_held", &[]);
    let hang = hangs(&sweep, &attempt).await;
    let stacks = &hang.stacks;
    assert!(stacks.contains("in test_gil_held"), "{stacks} {:?}", hang.autopsy);
    assert!(sleeps(&read(&attempt, "processes.txt")), "{stacks}");
    hang.end().await;
}
