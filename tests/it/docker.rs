//! Containers, against the engine of this machine.

mod owners;
mod podman;
mod removal;
mod tls;
mod versions;
mod workspace;

use std::time::Instant;

use reproduce_flaky::backend::{Attempt, Backend, Plugin, Signal, docker as engine};
use reproduce_flaky::spec::{Mode, Recipe};

use crate::engine::{DEBIAN, containers, daemon, debian, docker, is_role, role};
use crate::sessions::{PATIENCE, Sweep, kill, read_until, run};

fn label(attempt: &Attempt) -> String {
    format!("reproduce-flaky.attempt={}", attempt.name)
}

/// Ends the backend and checks that nothing of an attempt is left.
async fn close(backend: &dyn Backend, attempt: &Attempt) {
    backend.close().await;
    assert_eq!(containers(&label(attempt)), Vec::<String>::new());
}

#[tokio::test]
async fn pytest_runs_over_this_machines_python() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    sweep.write("test_one.py", "def test_one(): pass\ndef test_two(tmp_path): pass\n");
    let plugin = Plugin {
        module: "rf_it_plugin".to_owned(),
        source: "def pytest_sessionstart(session): print('PLUGIN HERE')\n".to_owned(),
    };
    let backend = sweep.open_with(Some(&plugin)).await.unwrap();
    let probe = backend.probe().await.unwrap();
    assert!(probe.image_id.starts_with("host-sha256:"));
    for name in ["python", "pytest", "pytest-xdist", "pytest-timeout"] {
        assert!(probe.versions.contains_key(name), "{:?}", probe.versions);
    }
    let again = sweep.open().await.unwrap().probe().await.unwrap();
    assert_eq!(again.image_id, probe.image_id, "the same toolchain is the same image");
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-s", "-v", "-p", "rf_it_plugin", "-n", "2"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(
        output.contains("PLUGIN HERE") && output.contains("2 passed"),
        "{output}"
    );
    assert_eq!((ended.code, ended.oom_killed), (Some(0), false));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn nothing_but_the_toolchain_is_seen_and_nothing_of_it_can_be_written_to() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let program = "import os, ssl, pwd, sys, ctypes.util
def write(path):
    try: open(path, 'w').close(); return True
    except OSError: return False
print(os.getcwd(), os.path.exists('/etc/shadow'), os.path.exists('/etc/ssl/private'))
print([path for path in ('/usr/x', '/etc/x', '/x', sys.prefix + '/x', '/tmp/x', '/workspace/x', '/reproduce-flaky/run/x', '/dev/shm/x') if write(path)])
print(pwd.getpwuid(os.getuid()).pw_uid == os.getuid(), bool(ctypes.util.find_library('c')), os.getpid() > 1)
os.chmod('/tmp/x', 0o755); open('/tmp/x', 'w').write('#!/bin/sh\\necho ran\\n'); sys.stdout.flush(); os.system('/tmp/x')";
    let attempt = sweep.python(program);
    let (output, _) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(
        output,
        "/workspace False False\n['/tmp/x', '/workspace/x', '/reproduce-flaky/run/x', '/dev/shm/x']\nTrue True True\nran\n"
    );
    assert!(attempt.dir.join("x").exists() && sweep.workspace.join("x").exists());
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn the_output_of_a_container_that_ends_at_once_is_whole() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    for _ in 0..3 {
        let attempt = sweep.attempt(&["echo", "hi"]);
        let (output, ended) = run(&*backend, &attempt).await.unwrap();
        assert_eq!((output.as_str(), ended.code), ("hi\n", Some(0)));
        assert!(ended.started_at.unwrap() <= ended.finished_at.unwrap());
    }
    let attempt = sweep.python("import os; os.write(1, b'x' * 20_000_000); os.write(2, b'end')");
    let (output, _) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(output.len(), 20_000_003);
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn signals_and_memory_kills_are_facts_and_told_apart() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.memory = Some(64 << 20);
    let backend = sweep.open().await.unwrap();
    for (signal, code) in [("SIGABRT", 134), ("SIGSEGV", 139), ("SIGKILL", 137)] {
        let attempt = sweep.python(&format!("import os, signal; os.kill(os.getpid(), signal.{signal})"));
        let (_, ended) = run(&*backend, &attempt).await.unwrap();
        assert_eq!(
            (ended.code, ended.signal, ended.oom_killed),
            (Some(code), Some(code - 128), false),
            "{signal}"
        );
    }
    let attempt = sweep.python("x = bytearray(1 << 30)\nfor n in range(0, 1 << 30, 4096): x[n] = 1");
    let (_, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!((ended.code, ended.oom_killed), (Some(137), true));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn a_python_that_prints_without_end_is_not_listened_to() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.env("PYTHONPATH", "/workspace");
    sweep.write("sitecustomize.py", "import os\nwhile True: os.write(1, b'x' * 65536)\n");
    let backend = sweep.open().await.unwrap();
    let error = backend.probe().await.unwrap_err().to_string();
    assert!(error.contains("prints without end"), "{error}");
    backend.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.without = vec![Recipe::Init];
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.attempt(&["no-such-program"]);
    let error = backend.start(&attempt).await.err().unwrap();
    assert!(
        error.to_string().starts_with("`no-such-program` is not in image"),
        "{error}"
    );
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    if !daemon() {
        return;
    }
    let error = Sweep::new("reproduce-flaky-it:absent").open().await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "image `reproduce-flaky-it:absent` is not on this host"
    );
}

#[tokio::test]
async fn a_container_names_its_sweep_and_its_creator_and_limits_are_set() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.memory = Some(256 << 20);
    sweep.spec.container.cpus = Some(0.5);
    sweep.spec.container.network = Some("none".to_owned());
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "up").await;
    let ids = containers(&label(&attempt));
    assert_eq!(ids.len(), 1);
    let read = |format: &str| docker(&["inspect", "-f", format, &ids[0]]).unwrap();
    let labels = read("{{json .Config.Labels}}");
    for part in [
        format!("\"reproduce-flaky.sweep\":\"{}\"", attempt.sweep.display()),
        "\"reproduce-flaky.iteration\":\"7\"".to_owned(),
        format!("\"reproduce-flaky.creator-pid\":\"{}\"", std::process::id()),
    ] {
        assert!(labels.contains(&part), "{labels}");
    }
    let host = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.ShmSize}} {{.HostConfig.NetworkMode}} {{.HostConfig.AutoRemove}} {{.HostConfig.Init}}";
    assert_eq!(read(host), "268435456 500000000 10737418240 none false false");
    assert!(read("{{.Name}}").starts_with("/reproduce-flaky-serial-run007."));
    let leftovers = engine::leftovers().await.unwrap();
    let ours = leftovers.iter().find(|left| left.id == ids[0]).unwrap();
    assert_eq!((ours.iteration, ours.is_running), (Some(7), true));
    let reaped = engine::reap().await.unwrap();
    assert!(
        reaped.iter().all(|left| left.id != ids[0]),
        "what somebody waits for stays"
    );
    let ended = kill(session).await;
    assert_eq!((ended.code, ended.oom_killed), (Some(137), false));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn term_reaches_pytest_and_one_that_ignores_it_is_killed() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let program = "import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))
print('ready', flush=True)
while True: time.sleep(1000)";
    let attempt = sweep.python(program);
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "ready").await;
    session.signal(Signal::Term).await.unwrap();
    read_until(&mut *session, "no").await;
    assert_eq!(kill(session).await.signal, Some(9));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn a_virtual_environment_is_seen_as_one() {
    if !daemon() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let venv = base.path().join("venv");
    let made = std::process::Command::new("python3")
        .args(["-m", "venv"])
        .arg(&venv)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let site = std::fs::read_dir(venv.join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("site-packages");
    std::fs::write(site.join("only_here.py"), "WORD = 'from the venv'\n").unwrap();
    let path = format!("{}:{}", venv.join("bin").display(), std::env::var("PATH").unwrap());
    let output = role(
        "docker::in_a_venv",
        &[("PATH", &path), ("VIRTUAL_ENV", venv.to_str().unwrap())],
        &[],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("from the venv True"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn in_a_venv() {
    if !is_role("docker::in_a_venv") {
        return;
    }
    let sweep = Sweep::new("host");
    sweep.write(
        "test_one.py",
        "import only_here, sys\ndef test_one(): print(only_here.WORD, sys.prefix != sys.base_prefix)\n",
    );
    let backend = sweep.open().await.unwrap();
    backend.probe().await.unwrap();
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-s"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    println!("{output}");
    assert_eq!(ended.code, Some(0));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_named_with_what_to_do() {
    let output = role(
        "docker::at_another_address",
        &[("DOCKER_HOST", "unix:///nonexistent/docker.sock")],
        &[],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("no container engine answers at `unix:///nonexistent/docker.sock`: no such socket"),
        "{text}"
    );
    let output = role(
        "docker::at_another_address",
        &[("DOCKER_HOST", "tcp://127.0.0.1:1")],
        &[],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("no container engine answers at `tcp://127.0.0.1:1`"),
        "{text}"
    );
}

#[tokio::test]
async fn at_another_address() {
    if !is_role("docker::at_another_address") {
        return;
    }
    let error = Sweep::new("host").open().await.err().unwrap();
    println!("{error}\n{:?}", error.hint());
}

#[tokio::test]
async fn an_image_of_debian_packages_runs_with_its_own_variables() {
    if !daemon() || !debian() {
        return;
    }
    let mut sweep = Sweep::new(DEBIAN);
    sweep.spec.mode = Mode::Xdist(2);
    sweep.write(
        "test_one.py",
        "import os
def test_one():
    open('made', 'w').close()
    print(os.environ['PYTHONPATH'], os.environ['RUST_BACKTRACE'], os.environ['COLUMNS'])\n",
    );
    let plugin = Plugin {
        module: "rf_it_plugin".to_owned(),
        source: "def pytest_sessionstart(session): print('PLUGIN HERE')\n".to_owned(),
    };
    let backend = sweep.open_with(Some(&plugin)).await.unwrap();
    let probe = backend.probe().await.unwrap();
    assert!(probe.image_id.starts_with("sha256:"));
    assert!(probe.versions["pytest"].starts_with("7.2"), "{:?}", probe.versions);
    assert!(probe.versions.contains_key("pytest-xdist"));
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-p", "rf_it_plugin", "-rA", "-n", "2"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(
        output.contains("/reproduce-flaky/plugin:/image/modules full 200"),
        "{output}"
    );
    assert!(
        output.contains("PLUGIN HERE") && output.contains("1 passed"),
        "{output}"
    );
    assert_eq!(ended.code, Some(0));
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn many_sessions_at_once_keep_their_own_output() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let since = Instant::now();
    let attempts: Vec<Attempt> = (0..6).map(|n| sweep.python(&format!("print('session {n}')"))).collect();
    let outputs = futures_util::future::join_all(attempts.iter().map(|attempt| run(&*backend, attempt))).await;
    for (n, output) in outputs.into_iter().enumerate() {
        assert_eq!(output.unwrap().0, format!("session {n}\n"));
    }
    assert!(since.elapsed() < PATIENCE);
    for attempt in &attempts {
        close(&*backend, attempt).await;
    }
}
