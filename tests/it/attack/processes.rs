//! Processes that tests start without end, and those that a session leaves in its group.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use reproduce_flaky::backend::Signal;

use crate::cli::Place;
use crate::engine;
use crate::sessions::{Sweep, drain};

/// Starts processes until it may not any more, five hundred at most.
const BOMB: &str = "
import os, time

def test_bomb():
    children = []
    try:
        while len(children) < 500:
            child = os.fork()
            if child == 0:
                time.sleep(600)
                os._exit(0)
            children.append(child)
    except OSError as error:
        print(error)
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert len(children) < 50
";

#[test]
fn a_test_that_starts_processes_without_end_is_held_back_by_its_container() {
    if !engine::daemon() {
        return;
    }
    let place = Place::new(&[("test_bomb.py", BOMB)]);
    place
        .run(&["-i", "host", "-e", "1", "-t", "held", "--pids-limit", "50"])
        .exits(0);
    place.run(&["-i", "host", "-e", "1", "-t", "usual"]).exits(3);
    let line = place
        .run(&["-i", "host", "--dry-run", "-e", "1", "--pids-limit", "77"])
        .exits(0)
        .out();
    assert!(line.contains(" --pids-limit 77 "), "{line}");
    let line = place
        .run(&["-i", "host", "--dry-run", "-e", "1", "--pids-limit", "0"])
        .exits(0)
        .out();
    assert!(!line.contains("--pids-limit"), "{line}");
}

/// Nothing of the session's environment is left in it, by which it could be found after its group has gone.
const ORPHAN: &str = "
import os, subprocess
child = subprocess.Popen(['sleep', '1000'], env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
";

#[tokio::test]
async fn what_a_session_leaves_in_its_group_is_killed_while_the_groups_number_is_still_its_own() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(ORPHAN);
    let mut session = backend.start(&attempt).await.unwrap();
    let printed = drain(&mut *session).await.unwrap();
    let orphan: i32 = printed.trim().parse().unwrap();
    session.finish().await.unwrap();
    crate::cli::until("the orphan to end", || !is_running(orphan));
}

fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Starts a process that has this number and leads a group, as happens when numbers come round; `None` where nobody may
/// choose, or another process was faster every time.
fn start_as(number: u32) -> Option<std::process::Child> {
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        if child.id() == number {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

#[tokio::test]
async fn a_group_that_came_to_a_sessions_number_after_its_end_is_not_signalled() {
    let sweep = Sweep::new("");
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("import os; print(os.getpid(), flush=True)");
    let mut session = backend.start(&attempt).await.unwrap();
    let printed = drain(&mut *session).await.unwrap();
    let number: u32 = printed.trim().parse().unwrap();
    let Some(mut stranger) = start_as(number) else {
        eprintln!("skipped: nobody here may say which number the next process gets");
        return;
    };
    for signal in [Signal::Term, Signal::Kill] {
        session.signal(signal).await.unwrap();
    }
    session.finish().await.unwrap();
    let is_there = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(is_there);
}
