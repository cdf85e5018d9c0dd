//! What becomes of containers: removed with their session, by the next process, and never those of others.

use reproduce_flaky::backend::{BackendError, Creator, docker as engine};
use reproduce_flaky::spec::Workspace;

use super::{close, label};
use crate::engine::{containers, daemon, docker, is_role, role_command};
use crate::place::{Need, root, skip};
use crate::sessions::{Sweep, drain, kill, read_until};

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
    if !is_role("docker::removal::the_creator") {
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
    let mut child = role_command("docker::removal::the_creator", &[], &[])
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

/// A container that was made and never started, as a dead process leaves one.
fn left_by(creator: &Creator, sweep: &str) -> String {
    let image = docker(&["images", "-q", "reproduce-flaky-host"]).unwrap();
    let labels = creator
        .labels()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    let labels = labels.chain([format!("reproduce-flaky.sweep={sweep}")]);
    let labels: Vec<String> = labels.flat_map(|label| ["--label".to_owned(), label]).collect();
    let words = [&["create"][..], &labels.iter().map(String::as_str).collect::<Vec<_>>()];
    docker(&[words.concat().as_slice(), &[image.lines().next().unwrap(), "true"]].concat()).unwrap()
}

#[tokio::test]
async fn containers_of_another_machine_of_the_same_name_are_left_alone() {
    if !daemon() {
        return;
    }
    let us = Creator::current();
    if !root() {
        return;
    }
    if us.machine.is_empty() {
        return skip(Need::Root, "to be another machine takes a machine id");
    }
    let sweep = Sweep::new("host");
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("print('up', flush=True); import time; time.sleep(1000)");
    let mut session = backend.start(&attempt).await.unwrap();
    read_until(&mut *session, "up").await;
    let before = Creator {
        boot: "an earlier one".to_owned(),
        ..us.clone()
    };
    let namesake = Creator {
        machine: "another".to_owned(),
        ..before.clone()
    };
    let name = attempt.sweep.display().to_string();
    let (own, others) = (left_by(&before, &name), left_by(&namesake, &name));
    // The same name, and another kernel's identity; the machine's own is another one too, or was cloned.
    let base = tempfile::tempdir().unwrap();
    let id = base.path().join("id");
    std::fs::write(&id, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let over = |path: &str| format!("mount --bind {} {path} && ", id.display());
    for places in [
        &["/proc/sys/kernel/random/boot_id"][..],
        &["/proc/sys/kernel/random/boot_id", "/etc/machine-id"],
    ] {
        let script: String = places.iter().map(|place| over(place)).collect();
        let gc = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", &(script + "exec \"$0\" gc --dry-run")])
            .arg(env!("CARGO_BIN_EXE_reproduce-flaky"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&gc.stdout).into_owned();
        assert!(gc.status.success(), "{said}{}", String::from_utf8_lossy(&gc.stderr));
        assert!(!said.contains(&attempt.name), "it is in use: {said}");
    }
    let reaped = engine::reap().await.unwrap();
    let is_reaped = |id: &str| reaped.iter().any(|left| left.id == id);
    // A sweep of another test that begins just now may have removed it first.
    assert!(
        docker(&["inspect", &own]).is_none(),
        "a container from before this machine was started stays"
    );
    assert!(!is_reaped(&others) && docker(&["rm", &others]).is_some());
    kill(session).await;
    close(&*backend, &attempt).await;
}
