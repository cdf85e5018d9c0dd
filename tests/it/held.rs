//! Containers that are held at a gate: who may answer for one, what it gets to see, and which ends are its own.

#[path = "../../gate/groups.rs"]
mod groups;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::cli::Place;
use crate::engine::{containers, daemon, docker, is_root};
use crate::sessions::{Sweep, drain, read_until};
use reproduce_flaky::backend::{Attempt, Backend, BackendError, Ended, Session};
use reproduce_flaky::spec::Recipe;

fn label(attempt: &Attempt) -> String {
    format!("reproduce-flaky.attempt={}", attempt.name)
}

/// Runs an attempt that was made ready ahead, after something was done to its container.
async fn after(
    backend: &dyn Backend,
    attempt: &Attempt,
    word: &str,
    act: impl FnOnce(&str),
) -> Result<Ended, BackendError> {
    let mut session = backend.prepare(attempt).await.unwrap().start().await.unwrap();
    read_until(&mut *session, word).await;
    let [id] = containers(&label(attempt)).try_into().unwrap();
    act(&id);
    end(session).await
}

async fn end(mut session: Box<dyn Session>) -> Result<Ended, BackendError> {
    drain(&mut *session).await?;
    session.finish().await
}

/// Doors of gates that wait for their containers.
fn doors() -> Vec<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let gates = fs::read_dir(cache.join("reproduce-flaky")).unwrap().flatten();
    let gates = gates.filter(|entry| entry.file_name().to_string_lossy().starts_with("gate-"));
    gates.map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn a_stranger_at_the_gate_is_not_taken_for_the_container() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let (is_over, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let stranger = std::thread::spawn({
        let (is_over, tries) = (Arc::clone(&is_over), Arc::clone(&tries));
        move || {
            let mut let_in = 0;
            while !is_over.load(Ordering::Relaxed) {
                for gate in doors() {
                    if let Ok(mode) = gate.metadata().map(|found| found.permissions().mode()) {
                        assert_eq!(mode & 0o777, 0o700, "nobody else enters {}", gate.display());
                    }
                    let Ok(mut socket) = UnixStream::connect(gate.join("door/socket")) else {
                        continue;
                    };
                    tries.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.write_all(b"ready\n");
                    let_in += socket.read(&mut [0; 1]).unwrap_or(0);
                }
            }
            let_in
        }
    });
    let attempt = sweep.python("print('from inside'); raise SystemExit(3)");
    while tries.load(Ordering::Relaxed) < 5 {
        let mut session = backend.prepare(&attempt).await.unwrap().start().await.unwrap();
        assert_eq!(drain(&mut *session).await.unwrap(), "from inside\n");
        assert_eq!(session.finish().await.unwrap().code, Some(3));
    }
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(stranger.join().unwrap(), 0, "a stranger was let in");
    backend.close().await;
}

#[tokio::test]
async fn a_session_gets_neither_the_secret_nor_what_process_1_has_open() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let program = "import os
print([name for name in os.environ if 'GATE' in name], os.listdir('/reproduce-flaky/door'))
for path in ('/proc/1/environ', '/proc/1/mem'):
    try: open(path, 'rb').read(1); print('read')
    except OSError as error: print(type(error).__name__)
try: print(os.readlink('/proc/1/fd/3'))
except OSError as error: print(type(error).__name__)";
    let attempt = sweep.python(program);
    let mut session = backend.prepare(&attempt).await.unwrap().start().await.unwrap();
    let output = drain(&mut *session).await.unwrap();
    assert_eq!(output, "[] []\nPermissionError\nPermissionError\nPermissionError\n");
    session.finish().await.unwrap();
    backend.close().await;
}

/// Puts a link to a directory of somebody else's in the place of an attempt's.
fn exchange(attempt: &Attempt, victim: &Path) {
    fs::rename(&attempt.dir, attempt.dir.with_extension("moved")).unwrap();
    symlink(victim, &attempt.dir).unwrap();
}

#[tokio::test]
async fn a_directory_that_was_exchanged_is_never_given_to_a_session() {
    if !daemon() {
        return;
    }
    for without in [Vec::new(), vec![Recipe::Init]] {
        let mut sweep = Sweep::new("host");
        sweep.spec.container.without = without;
        let victim = tempfile::tempdir().unwrap();
        let backend = sweep.open().await.unwrap();
        let program = "open('/reproduce-flaky/run/written', 'w')";
        let attempt = sweep.python(program);
        exchange(&attempt, victim.path());
        assert!(backend.prepare(&attempt).await.is_none());
        let error = backend.start(&attempt).await.err().unwrap();
        assert!(
            matches!(&error, BackendError::Lost { cause } if cause.contains("another directory")),
            "{error}"
        );
        // One that is exchanged once its container is up is of no use to anybody.
        let attempt = sweep.python(program);
        let prepared = backend.prepare(&attempt).await.unwrap();
        exchange(&attempt, victim.path());
        end(prepared.start().await.unwrap()).await.unwrap();
        assert!(attempt.dir.with_extension("moved").join("written").exists());
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
        backend.close().await;
    }
}

#[test]
fn no_test_gets_at_a_sweep_through_its_workspace() {
    if !daemon() {
        return;
    }
    let test = "
import errno, os, pytest

@pytest.mark.parametrize('sweep', ['serial', 'serial_other', 'serial_before'])
def test_a_sweep(sweep):
    sweep = '/workspace/logs/' + sweep
    assert os.listdir(sweep) == []
    for act in (lambda: open(sweep + '/x', 'w'), lambda: os.mkdir(sweep + '/.attempts'), lambda: os.chmod(sweep, 0o777)):
        with pytest.raises(OSError) as caught: act()
        assert caught.value.errno == errno.EROFS
    for path in (sweep, '/workspace/logs'):
        with pytest.raises(OSError) as caught: os.rename(path, '/workspace/moved')
        assert caught.value.errno in (errno.EBUSY, errno.EXDEV)

def test_other_files_beside_sweeps():
    with open('/workspace/logs/app.log', 'a') as file: file.write('x')
    os.rename('/workspace/logs/app.log', '/workspace/logs/app.log.1')
";
    let place = Place::new(&[("test_a.py", test)]);
    let words = ["-i", "host", "-e", "2", "--progress", "none"];
    for earlier in ["other", "before"] {
        let words = ["--backend", "local", "-e", "1", "-t", earlier, "--", "--co"];
        place.run(&words);
    }
    for more in [&[][..], &["--no-prestart", "-t", "unhurried"]] {
        place.run(&[&words, more].concat()).exits(0);
    }
    assert!(place.path("logs/app.log.1").exists());
}

#[tokio::test]
async fn a_signal_that_a_session_survives_discards_nothing_of_it() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let program = "import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: open('/reproduce-flaky/run/came', 'w'))
print('up', flush=True)
while not os.path.exists('/reproduce-flaky/run/came'): signal.pause()
sys.exit(1)";
    let attempt = sweep.python(program);
    let ended = after(&*backend, &attempt, "up", |id| {
        docker(&["kill", "-s", "USR1", id]).unwrap();
    })
    .await
    .unwrap();
    assert_eq!((ended.code, ended.signal), (Some(1), None));
    // Nor does process 1's own wait, interrupted.
    let program = "import os, sys, time
print('up', flush=True)
while not os.path.exists('/reproduce-flaky/run/go'): time.sleep(0.01)
sys.exit(1)";
    if is_root() {
        let attempt = sweep.python(program);
        let go = attempt.dir.join("go");
        let ended = after(&*backend, &attempt, "up", |id| {
            let pid = docker(&["inspect", "-f", "{{.State.Pid}}", id]).unwrap();
            for signal in ["-STOP", "-CONT"] {
                let sent = std::process::Command::new("kill")
                    .args([signal, &pid])
                    .status()
                    .unwrap();
                assert!(sent.success());
            }
            fs::write(go, "").unwrap();
        });
        assert_eq!(ended.await.unwrap().code, Some(1));
    }
    backend.close().await;
}

#[tokio::test]
async fn a_session_that_ends_of_a_signal_from_outside_is_no_answer() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let waits = "print('up', flush=True); import time; time.sleep(1000)";
    let tells = "import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print('up', flush=True); time.sleep(1000)";
    for (program, signal) in [(waits, "TERM"), (waits, "USR2"), (waits, "KILL"), (tells, "TERM")] {
        let attempt = sweep.python(program);
        let ended = after(&*backend, &attempt, "up", |id| {
            docker(&["kill", "-s", signal, id]).unwrap();
        });
        let ended = ended.await;
        assert!(matches!(ended, Err(BackendError::Lost { .. })), "{signal}: {ended:?}");
    }
    backend.close().await;
}

#[tokio::test]
async fn codes_that_look_like_signals_and_signals_from_inside_are_told_apart() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let own = |number: i32| (Some(128 + number), Some(number), false, true);
    let cases = [
        ("import os; os._exit(137)", (Some(137), None, true, false)),
        ("import os; os._exit(0)", (Some(0), None, true, false)),
        ("import os; os.kill(os.getpid(), 15)", own(15)),
        ("import os, time; os.kill(1, 15); time.sleep(100)", own(15)),
        ("import os, time; os.kill(1, 1); time.sleep(100)", own(1)),
        ("import os; os.abort()", own(6)),
    ];
    for (program, facts) in cases {
        for is_ahead in [true, false] {
            let attempt = sweep.python(program);
            let session = if is_ahead {
                backend.prepare(&attempt).await.unwrap().start().await.unwrap()
            } else {
                backend.start(&attempt).await.unwrap()
            };
            let ended = end(session).await.unwrap();
            let found = (ended.code, ended.signal, ended.has_exited, ended.is_own_signal);
            assert_eq!(found, facts, "{program}");
        }
    }
    backend.close().await;
}

#[test]
fn what_is_known_of_an_end_and_of_its_start_is_recorded() {
    if !daemon() {
        return;
    }
    let test = "import os
def test_a():
    number = os.environ['REPRODUCE_FLAKY_ITERATION']
    if number == '1': os._exit(137)
    if number == '2': os.kill(1, 15); import time; time.sleep(100)
";
    let place = Place::new(&[("test_a.py", test)]);
    let exits = |flags: &[&str], tag: &str| -> Vec<serde_json::Value> {
        let words = [&["-i", "host", "-e", "4", "-t", tag], flags].concat();
        place.run(&words).exits(3);
        let exit = |n| fs::read(place.path(&format!("logs/serial_{tag}/run00{n}/exit.json"))).unwrap();
        (1..=4).map(|n| serde_json::from_slice(&exit(n)).unwrap()).collect()
    };
    for (tag, flags, may_be_ahead) in [("on", &[][..], true), ("off", &["--no-prestart"], false)] {
        let exits = exits(flags, tag);
        assert_eq!(
            (&exits[0]["signal"], &exits[0]["ending"]),
            (&serde_json::Value::Null, &"exited".into())
        );
        assert_eq!(
            (&exits[1]["signal"], &exits[1]["ending"]),
            (&15.into(), &"signal_from_inside".into())
        );
        assert_eq!(
            (exits[3].get("ending"), &exits[3]["ended_by"]),
            (None, &"itself".into())
        );
        let ahead = exits
            .iter()
            .filter(|exit| exit["conditions"]["started_ahead"] == true)
            .count();
        assert_eq!(ahead > 0, may_be_ahead, "{exits:?}");
        assert!(
            exits
                .iter()
                .all(|exit| exit["conditions"]["started_ahead"].is_boolean())
        );
    }
    for row in place.rows("logs/serial_on").values().take(2) {
        assert_eq!(
            (row["outcome"].as_str(), row["categories"].as_str()),
            ("crashed", "B1"),
            "{row:?}"
        );
    }
}
