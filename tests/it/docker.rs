//! Containers, against the engine of this machine.
//!
//! 400 lines long because one engine and its images serve every test of a container's promises.

use std::time::Instant;

use crate::engine::{DEBIAN, containers, daemon, debian, docker, has, is_role, is_root, role, role_command};
use crate::sessions::{PATIENCE, Sweep, drain, kill, read_until, run};
use reproduce_flaky::backend::docker as engine;
use reproduce_flaky::backend::{Attempt, Backend, BackendError, Plugin, Signal};
use reproduce_flaky::model::spec::Recipe;
use reproduce_flaky::model::{Mode, Workspace};

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
async fn a_fresh_workspace_is_pristine_every_time() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    sweep.write("kept", "pristine");
    let backend = sweep.open().await.unwrap();
    let program = "import os; print(sorted(os.listdir('.')), open('kept').read())
open('kept', 'w').write('changed'); open('new', 'w').close(); os.mkdir('dir')";
    let mut name = String::new();
    for _ in 0..2 {
        let attempt = sweep.python(program);
        let (output, _) = run(&*backend, &attempt).await.unwrap();
        assert_eq!(output, "['kept'] pristine\n");
        close(&*backend, &attempt).await;
        name = attempt.name;
    }
    assert_eq!(
        std::fs::read_to_string(sweep.workspace.join("kept")).unwrap(),
        "pristine"
    );
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("name={name}")]).as_deref(),
        Some("")
    );
}

#[tokio::test]
async fn a_fresh_workspace_is_copied_where_no_overlay_can_be_mounted_over_it() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    let odd = sweep.workspace.join("with,comma");
    std::fs::create_dir_all(odd.join("below")).unwrap();
    std::fs::write(odd.join("below/kept"), "pristine").unwrap();
    std::os::unix::fs::symlink("below/kept", odd.join("link")).unwrap();
    sweep.spec.directory = odd;
    let backend = sweep.open().await.unwrap();
    for _ in 0..2 {
        let attempt = sweep.python("print(open('link').read()); open('link', 'w').write('changed')");
        let (output, _) = run(&*backend, &attempt).await.unwrap();
        assert_eq!(output, "pristine\n");
        close(&*backend, &attempt).await;
    }
}

#[tokio::test]
async fn a_read_only_workspace_cannot_be_written_to() {
    if !daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Ro;
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("open('new', 'w')");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.contains("Read-only file system"), "{output}");
    assert_eq!(ended.code, Some(1));
    close(&*backend, &attempt).await;
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
    assert_eq!(read(host), "268435456 500000000 10737418240 none false true");
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
async fn a_container_that_somebody_else_removes_or_kills_is_a_lost_attempt() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    for how in [&["rm", "-f"][..], &["kill"][..]] {
        let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
        let mut session = backend.start(&attempt).await.unwrap();
        read_until(&mut *session, "up").await;
        let id = containers(&label(&attempt)).remove(0);
        docker(&[how, &[id.as_str()]].concat()).unwrap();
        let lost = match drain(&mut *session).await {
            Ok(_) => session.finish().await.err(),
            Err(error) => Some(error),
        };
        assert!(matches!(lost, Some(BackendError::Lost { .. })), "{how:?}: {lost:?}");
        close(&*backend, &attempt).await;
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_leaves_no_container() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("import time; time.sleep(1000)");
    drop(backend.start(&attempt).await.unwrap());
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn the_creator() {
    if !is_role("docker::the_creator") {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "up").await;
    println!("STARTED {}", attempt.name);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_a_killed_process_left_is_reaped() {
    use std::io::BufRead;
    if !daemon() {
        return;
    }
    let mut child = role_command("docker::the_creator", &[], &[])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let name = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("STARTED ").map(|(_, name)| name.to_owned()))
        .expect("the creator starts a container");
    child.kill().unwrap();
    child.wait().unwrap();
    let label = format!("reproduce-flaky.attempt={name}");
    assert_eq!(containers(&label).len(), 1);
    let reaped = engine::reap().await.unwrap();
    assert_eq!(
        reaped.iter().filter(|left| left.name.contains(&name)).count(),
        3,
        "a container and two volumes: {reaped:?}"
    );
    assert_eq!(containers(&label), Vec::<String>::new());
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("label={label}")]).as_deref(),
        Some("")
    );
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
async fn files_that_a_container_wrote_as_somebody_else_are_the_callers() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !daemon() || !is_root() || !debian() {
        return;
    }
    let mut sweep = Sweep::new(DEBIAN);
    sweep.spec.container.user = Some("1234:1234".to_owned());
    let open_to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&sweep.workspace, open_to_all.clone()).unwrap();
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(
        "import os; os.makedirs('/reproduce-flaky/run/a/b'); open('/reproduce-flaky/run/a/b/c', 'w'); open('made', 'w')",
    );
    std::fs::set_permissions(&attempt.dir, open_to_all).unwrap();
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    for path in [
        attempt.dir.join("a/b/c"),
        attempt.dir.join("a"),
        sweep.workspace.join("made"),
    ] {
        assert_eq!(path.metadata().unwrap().uid(), 0, "{}", path.display());
    }
    close(&*backend, &attempt).await;
}

#[tokio::test]
async fn an_ordinary_user_of_the_engine_owns_what_root_wrote_in_the_container() {
    if !daemon() || !is_root() || !has("setpriv") || !debian() {
        return;
    }
    let group = std::process::Command::new("stat")
        .args(["-c", "%g", "/var/run/docker.sock"])
        .output()
        .unwrap();
    let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
    let base = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(base.path(), Some(65534), Some(65534)).unwrap();
    let groups = format!("--groups={group}");
    let output = role(
        "docker::as_an_ordinary_user",
        &[
            ("TMPDIR", base.path().to_str().unwrap()),
            ("HOME", base.path().to_str().unwrap()),
        ],
        &["setpriv", "--reuid=65534", "--regid=65534", &groups],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ALL MINE"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn as_an_ordinary_user() {
    use std::os::unix::fs::MetadataExt;
    if !is_role("docker::as_an_ordinary_user") {
        return;
    }
    let mut sweep = Sweep::new(DEBIAN);
    let program = "import os; os.makedirs('/reproduce-flaky/run/a/b'); open('/reproduce-flaky/run/a/b/c', 'w'); open('made', 'w')";
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python(program);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    for path in [
        attempt.dir.join("a/b/c"),
        attempt.dir.join("a"),
        sweep.workspace.join("made"),
    ] {
        assert_eq!(path.metadata().unwrap().uid(), 65534, "{}", path.display());
    }
    close(&*backend, &attempt).await;
    // The same user has a pristine tree too, though it could mount nothing itself.
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("open('made', 'w').write('x'); open('another', 'w')");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(ended.code, Some(0), "{output}");
    assert!(!sweep.workspace.join("another").exists());
    close(&*backend, &attempt).await;
    println!("ALL MINE");
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

/// A Podman of our own, with its storage in a directory that goes away with it.
struct Podman {
    service: std::process::Child,
    dir: tempfile::TempDir,
}

impl Podman {
    fn start() -> Option<Podman> {
        if !is_root() || !has("podman") || !has("runc") {
            crate::place::skip("no podman with runc, or not root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let service = Podman::command(dir.path())
            .args(["system", "service", "-t", "0"])
            .arg(format!("unix://{}", dir.path().join("podman.sock").display()))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let podman = Podman { service, dir };
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(podman.dir.path().join("podman.sock")).is_err() {
            assert!(Instant::now() < deadline, "podman's socket does not appear");
            std::thread::yield_now();
        }
        Some(podman)
    }

    fn command(dir: &std::path::Path) -> std::process::Command {
        let mut command = std::process::Command::new("podman");
        command
            .arg("--root")
            .arg(dir.join("root"))
            .arg("--runroot")
            .arg(dir.join("run"));
        command.args([
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ]);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = Podman::command(self.dir.path()).args(["rm", "-af"]).output();
        let _ = self.service.kill();
        let _ = self.service.wait();
        let _ = Podman::command(self.dir.path())
            .args(["system", "reset", "-f"])
            .output();
    }
}

#[tokio::test]
async fn podman_runs_sessions_too() {
    let Some(podman) = Podman::start() else { return };
    let socket = format!("unix://{}", podman.dir.path().join("podman.sock").display());
    let output = role("docker::on_podman", &[("DOCKER_HOST", &socket)], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ALL WELL"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn on_podman() {
    if !is_role("docker::on_podman") {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.write("test_one.py", "def test_one(): pass\n");
    let backend = sweep.open().await.unwrap();
    let probe = backend.probe().await.unwrap();
    assert!(probe.versions.contains_key("pytest-xdist"));
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-n", "2"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.contains("1 passed"), "{output}");
    assert_eq!(ended.code, Some(0));
    let attempt = sweep.python("import os; os.write(1, b'x' * 1_000_000); os.abort()");
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(output.len() >= 1_000_000);
    assert_eq!((ended.code, ended.signal), (Some(134), Some(6)));
    let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "up").await;
    assert_eq!(kill(session).await.code, Some(137));
    backend.close().await;
    assert_eq!(engine::leftovers().await.unwrap(), []);
    sweep.spec.container.workspace = Workspace::Fresh;
    let backend = sweep.open().await.unwrap();
    for _ in 0..2 {
        let attempt = sweep.python("import os; print(os.path.exists('made')); open('made', 'w')");
        let (output, ended) = run(&*backend, &attempt).await.unwrap();
        assert_eq!((output.as_str(), ended.code), ("False\n", Some(0)));
    }
    backend.close().await;
    assert_eq!(engine::leftovers().await.unwrap(), []);
    println!("ALL WELL");
}
