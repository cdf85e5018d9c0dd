//! Containers that are started ahead of their turn: nothing of a session runs before it, and nothing else differs.

use std::path::Path;
use std::time::Duration;

use crate::engine::{containers, containers_of, daemon, docker};
use crate::sessions::{PATIENCE, Sweep, drain, kill, read_until};
use reproduce_flaky::backend::{Attempt, Backend, BackendError, Ended, Signal};
use reproduce_flaky::spec::{EnvVar, Recipe, Workspace};

/// Runs an attempt both ways, ahead first.
async fn both(backend: &dyn Backend, first: &Attempt, second: &Attempt) -> [(String, Ended); 2] {
    let mut came = Vec::new();
    let prepared = backend.prepare(first).await.expect("containers are started ahead here");
    for mut session in [prepared.start().await.unwrap(), backend.start(second).await.unwrap()] {
        let output = drain(&mut *session).await.unwrap();
        came.push((output, session.finish().await.unwrap()));
    }
    backend.close().await;
    for attempt in [first, second] {
        assert_eq!(containers(&label(attempt)), Vec::<String>::new());
    }
    came.try_into().ok().unwrap()
}

fn label(attempt: &Attempt) -> String {
    format!("reproduce-flaky.attempt={}", attempt.name)
}

async fn open(sweep: &Sweep) -> std::sync::Arc<dyn Backend> {
    let backend = sweep.open().await.unwrap();
    let probe = backend.probe().await.unwrap();
    assert!(backend.is_ahead(), "{:?}", probe.notes);
    backend
}

#[tokio::test]
async fn nothing_of_a_session_runs_before_its_turn() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = open(&sweep).await;
    let attempt = sweep.python("import time; open('ran', 'w').write(repr(time.time())); print('ran')");
    let prepared = backend.prepare(&attempt).await.unwrap();
    let [id] = containers(&label(&attempt)).try_into().unwrap();
    let top = docker(&["top", &id, "-eo", "pid,args"]).unwrap();
    assert_eq!(top.lines().count(), 2, "only the gate runs: {top}");
    assert!(top.contains("/reproduce-flaky/gate hold"), "{top}");
    assert!(!sweep.workspace.join("ran").exists());
    assert_eq!(
        std::fs::read_dir(&attempt.dir).unwrap().count(),
        0,
        "nothing is left where tests could find it"
    );
    let opened = std::time::SystemTime::now();
    let mut session = prepared.start().await.unwrap();
    assert_eq!(drain(&mut *session).await.unwrap(), "ran\n");
    let ended = session.finish().await.unwrap();
    let before: std::time::SystemTime = ended.started_at.unwrap().into();
    assert!(
        before >= opened - Duration::from_millis(1),
        "its time counts from its turn"
    );
    assert_eq!((ended.code, ended.signal), (Some(0), None));
    let usage = ended.usage.expect("its process 1 counts what it uses");
    assert!(
        usage.user_s + usage.system_s > 0.0 && usage.max_rss_bytes > 1 << 20,
        "{usage:?}"
    );
    backend.close().await;
    assert_eq!(containers(&label(&attempt)), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_sees_the_same_world_as_one_that_was_not_started_ahead() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.env.push(EnvVar {
        name: "GIVEN".to_owned(),
        value: Some("a b\"c".to_owned()),
    });
    let backend = open(&sweep).await;
    let program = "import os, resource, signal, stat, sys
kinds = [('fifo' if stat.S_ISFIFO(os.fstat(n).st_mode) else os.readlink(f'/proc/self/fd/{n}')) for n in range(3)]
print(sorted((k, v) for k, v in os.environ.items() if k != 'HOSTNAME'))
print(os.getcwd(), sys.argv, kinds, [sys.stdin.isatty(), sys.stdout.isatty()], sys.stdin.read())
print(os.getppid(), os.getpgrp() == os.getpid(), os.getuid(), os.getgid(), os.getgroups(), os.umask(0))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), open('/proc/self/status').read().split('SigIgn')[1].split()[0:1])
print(sorted(os.listdir('/proc/self/fd')), [resource.getrlimit(n) for n in range(10)])
print(sorted(os.listdir('/workspace')), sorted(os.listdir('/tmp')), sorted(os.listdir('/reproduce-flaky/run')))
print([line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNew', 'Seccomp'))])";
    let [ahead, at_once] = both(&*backend, &sweep.python(program), &sweep.python(program)).await;
    assert_eq!(ahead.0, at_once.0);
    assert!(ahead.0.contains("('REPRODUCE_FLAKY_ITERATION', '7')") && ahead.0.contains("('GIVEN', 'a b\"c')"));
}

#[tokio::test]
async fn exit_facts_are_the_same_as_those_of_one_that_was_not_started_ahead() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.memory = Some(64 << 20);
    let backend = open(&sweep).await;
    let orphans = "import os, time
if os.fork() == 0:
    if os.fork(): os._exit(0)
    os.setsid(); time.sleep(1000)
os.wait(); print('done'); os._exit(3)";
    let programs = [
        "raise SystemExit(0)",
        "raise SystemExit(1)",
        "raise SystemExit(134)",
        "import os; os.abort()",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os, signal; os.kill(1, signal.SIGKILL); print('process 1 is immune')",
        "x = bytearray(1 << 30)\nfor n in range(0, 1 << 30, 4096): x[n] = 1",
        "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'x = bytearray(1 << 30)\\nfor n in range(0, 1 << 30, 4096): x[n] = 1']).returncode)",
        orphans,
        "import os; os.execvp('no-such', ['no-such'])",
    ];
    for program in programs {
        let [ahead, at_once] = both(&*backend, &sweep.python(program), &sweep.python(program)).await;
        let facts = |(output, ended): &(String, Ended)| {
            // The number of a thread is never the same.
            let output: String = output.split(' ').filter(|word| !word.starts_with("0x")).collect();
            (output, ended.code, ended.signal, ended.oom_killed, ended.error.clone())
        };
        assert_eq!(facts(&ahead), facts(&at_once), "{program}");
        assert!(ahead.1.started_at.unwrap() <= ahead.1.finished_at.unwrap());
    }
}

#[tokio::test]
async fn without_an_init_process_the_session_is_process_1_itself() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.without = vec![Recipe::Init];
    let backend = open(&sweep).await;
    let program = "import os, sys; print(os.getpid()); sys.exit(5)";
    let [ahead, at_once] = both(&*backend, &sweep.python(program), &sweep.python(program)).await;
    assert_eq!((ahead.0.as_str(), ahead.1.code), ("1\n", Some(5)));
    assert_eq!((at_once.0.as_str(), at_once.1.code), ("1\n", Some(5)));
}

#[tokio::test]
async fn every_byte_arrives_in_the_order_in_which_it_was_printed() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = open(&sweep).await;
    let program = "import os
for n in range(2000): os.write(1 + n % 2, b'%d\\n' % n)
os.write(1, b'x' * 20_000_000); os.write(2, b'\\xff\\x00end')";
    let attempt = sweep.python(program);
    let mut session = backend.prepare(&attempt).await.unwrap().start().await.unwrap();
    let mut output = Vec::new();
    while let Some(piece) = session.output().await.unwrap() {
        output.extend_from_slice(&piece);
    }
    let numbers: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let numbers = numbers.join("\n") + "\n";
    assert!(output.starts_with(numbers.as_bytes()) && output.ends_with(b"x\xff\x00end"));
    assert_eq!(output.len(), numbers.len() + 20_000_005);
    assert_eq!(session.finish().await.unwrap().code, Some(0));
    backend.close().await;
}

#[tokio::test]
async fn term_reaches_the_session_and_one_that_ignores_it_is_killed() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = open(&sweep).await;
    let program = "import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))
print('up', flush=True)
while True: time.sleep(1)";
    let attempt = sweep.python(program);
    let mut session = backend.prepare(&attempt).await.unwrap().start().await.unwrap();
    read_until(&mut *session, "up").await;
    session.signal(Signal::Term).await.unwrap();
    read_until(&mut *session, "no").await;
    let ended = kill(session).await;
    assert_eq!((ended.code, ended.signal), (Some(137), Some(9)));
    backend.close().await;
    assert_eq!(containers(&label(&attempt)), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_is_not_needed_is_removed_and_leaves_nothing() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = open(&sweep).await;
    let attempt = sweep.python("open('/reproduce-flaky/run/ran', 'w')");
    drop(backend.prepare(&attempt).await.unwrap());
    backend.close().await;
    assert_eq!(containers(&label(&attempt)), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(&attempt.dir).unwrap().count(), 0);
    let volumes = docker(&["volume", "ls", "-q", "--filter", &format!("name={}", attempt.name)]);
    assert_eq!(volumes.as_deref(), Some(""));
}

#[tokio::test]
async fn one_that_was_removed_while_it_waited_says_that_it_is_gone() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = open(&sweep).await;
    let attempt = sweep.python("print('ran')");
    let prepared = backend.prepare(&attempt).await.unwrap();
    let [id] = containers(&label(&attempt)).try_into().unwrap();
    docker(&["rm", "-f", &id]).unwrap();
    let error = prepared.start().await.err().unwrap();
    assert!(matches!(error, BackendError::Lost { .. }), "{error}");
    // The attempt's directory is as good as new.
    let mut session = backend.start(&attempt).await.unwrap();
    assert_eq!(drain(&mut *session).await.unwrap(), "ran\n");
    session.finish().await.unwrap();
    backend.close().await;
}

#[tokio::test]
async fn a_container_whose_harness_dies_ends_by_itself_and_runs_nothing() {
    if !daemon() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("test_a.py"),
        "import os, time\ndef test_a():\n    open('up', 'w').close()\n    while not os.path.exists('go'): time.sleep(0.01)\n",
    )
    .unwrap();
    let mut sweep = started(dir.path(), &["-e", "3"]);
    let standing_by = || {
        containers_of(dir.path())
            .lines()
            .filter(|line| line.contains("run002"))
            .count()
    };
    wait_until(|| dir.path().join("up").exists() && standing_by() == 1);
    // It is up when its gate's names are gone.
    wait_until(|| {
        names_below(&dir.path().join("logs/serial/.attempts"))
            .iter()
            .all(|name| name != ".gate")
    });
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    let running = || docker(&["ps", "-q", "--filter", "name=run002", "--filter", &of(dir.path())]).unwrap();
    wait_until(|| running().is_empty());
    std::fs::write(dir.path().join("go"), "").unwrap();
    let resumed = started(dir.path(), &["-e", "3"]).wait().unwrap();
    assert_eq!(resumed.code(), Some(0));
    assert_eq!(containers_of(dir.path()), "", "what the dead one left is gone too");
    let rows = std::fs::read_to_string(dir.path().join("logs/serial/results.txt")).unwrap();
    assert_eq!(rows.lines().count(), 3, "{rows}");
}

#[test]
fn a_stop_rule_starts_nothing_of_what_stands_by() {
    if !daemon() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "import os, time\ndef test_a():\n    open(f'ran{os.environ[\"REPRODUCE_FLAKY_ITERATION\"]}', 'w')\n    time.sleep(1)\n    assert 0\n";
    std::fs::write(dir.path().join("test_a.py"), test).unwrap();
    let code = started(dir.path(), &["-e", "9", "--max-failures", "2"])
        .wait()
        .unwrap()
        .code();
    assert_eq!(code, Some(3));
    let mut ran: Vec<String> = names_below(dir.path())
        .into_iter()
        .filter(|name| name.starts_with("ran"))
        .collect();
    ran.sort();
    assert_eq!(ran, ["ran1", "ran2"]);
    assert_eq!(
        names_below(&dir.path().join("logs/serial/.attempts")),
        Vec::<String>::new()
    );
    assert_eq!(
        names_below(&dir.path().join("logs/serial/.claims")),
        Vec::<String>::new()
    );
    assert_eq!(containers_of(dir.path()), "");
    let events = std::fs::read_to_string(dir.path().join("logs/serial/events.jsonl")).unwrap();
    assert_eq!(
        events.matches("\"iteration_started\"").count(),
        2,
        "what stands by counts toward nothing"
    );
    assert!(events.lines().last().unwrap().contains("\"missing\":7"), "{events}");
}

#[test]
fn every_iteration_knows_its_own_number_and_no_prestart_turns_it_off() {
    if !daemon() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "import os\ndef test_a():\n    print('number', os.environ['REPRODUCE_FLAKY_ITERATION'], open('/proc/1/cmdline').read().split('\\0')[0])\n";
    std::fs::write(dir.path().join("test_a.py"), test).unwrap();
    for (flags, is_off) in [(&["-t", "on"][..], false), (&["-t", "off", "--no-prestart"], true)] {
        let code = started(dir.path(), &[flags, &["-e", "4", "-j", "2", "--", "-s"]].concat())
            .wait()
            .unwrap()
            .code();
        assert_eq!(code, Some(0));
        for number in 1..=4 {
            let run = dir.path().join(format!("logs/serial_{}/run{number:03}", flags[1]));
            let log = std::fs::read_to_string(run.join("run.log")).unwrap();
            assert!(log.contains(&format!("number {number} /reproduce-flaky/gate")), "{log}");
            let exit = std::fs::read_to_string(run.join("exit.json")).unwrap();
            assert!(!is_off || exit.contains("\"started_ahead\": false"), "{exit}");
        }
    }
    let (_, out, _) = crate::place::run(dir.path(), &["compare", "logs/serial_on", "logs/serial_off"]);
    assert!(
        out.contains("starting containers ahead: `on` before, `off` now"),
        "{out}"
    );
}

/// A sweep of this machine's Python over the tests of a directory.
fn started(dir: &Path, flags: &[&str]) -> std::process::Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin!("reproduce-flaky"))
        .args(["--image", "host", "--progress", "none"])
        .args(flags)
        .current_dir(dir)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn of(dir: &Path) -> String {
    format!(
        "label=reproduce-flaky.sweep={}",
        dir.canonicalize().unwrap().join("logs/serial").display()
    )
}

fn wait_until(condition: impl Fn() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < until, "this never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Names below a directory, at any depth.
fn names_below(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            names.extend(names_below(&entry.path()));
        }
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names
}
