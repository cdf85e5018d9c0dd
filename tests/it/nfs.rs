//! Sweeps on a directory that several machines have mounted by NFS. The kernels of CI's machines have no NFS, so that a file
//! system of the tests' own (FUSE) answers as NFS does.

mod export;
mod view;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use reproduce_flaky::run::{Claimed, Sweep};

use crate::cli::{Place, Ran, rows};
use crate::place::{Need, root, skip};
use crate::store;
use export::{Client, Server};

/// A directory of a server's, and who mounts it.
struct Export {
    dir: tempfile::TempDir,
    server: Arc<Mutex<Server>>,
}

impl Export {
    /// Of a server that takes every so many requests that change names for new ones when they are sent again.
    fn new(resent: Option<u32>) -> Export {
        let dir = tempfile::tempdir().unwrap();
        let server = export::server(resent);
        Export { dir, server }
    }

    /// One more machine; `None`, with the reason, where none can mount it.
    fn mount(&self) -> Option<Client> {
        if !root() {
            return None;
        }
        let mounted = Client::mount(&self.server, self.dir.path());
        mounted
            .map_err(|error| skip(Need::Fuse, &format!("no file system can be mounted: {error}")))
            .ok()
    }

    /// Everything below the directory, as the server has it.
    fn names(&self) -> Vec<PathBuf> {
        let mut left = vec![self.dir.path().to_owned()];
        let mut found = Vec::new();
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    left.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found
    }
}

/// The tool on a machine that has mounted another client's view where `at` is.
fn elsewhere(place: &Place, client: &Client, at: &Path, words: &[&str]) -> Command {
    let command = place.command(words);
    let mut other = Command::new("unshare");
    other
        .args([
            "-m",
            "sh",
            "-c",
            "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"",
            "sh",
        ])
        .args([client.dir.path(), at])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(place.dir.path())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null());
    other
}

#[test]
fn two_machines_record_each_iteration_once_on_nfs_that_repeats_itself() {
    let export = Export::new(Some(3));
    let (Some(one), Some(other)) = (export.mount(), export.mount()) else {
        return;
    };
    let place = Place::passing();
    let logs = one.dir.path().join("logs");
    let words = [
        "--backend",
        "local",
        "-e",
        "8",
        "-j",
        "2",
        "--progress",
        "none",
        "--logs-dir",
    ];
    let words = [&words[..], &[logs.to_str().unwrap()]].concat();
    let here = place
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let there = elsewhere(&place, &other, one.dir.path(), &words).output().unwrap();
    Ran::of(here.unwrap().wait_with_output().unwrap()).exits(0);
    Ran::of(there).exits(0);
    let sweep = export.dir.path().join("logs/serial");
    let recorded: BTreeSet<u32> = rows(&sweep).into_keys().collect();
    assert_eq!(recorded, (1..=8).collect());
    for iteration in 1..=8 {
        assert!(sweep.join(format!("run{iteration:03}/exit.json")).is_file());
    }
    // What is run again moves aside first.
    place.run(&[&words[..], &["--retry", "2,5"]].concat()).exits(0);
    assert_eq!(rows(&sweep).len(), 8);
    let aside = |iteration: u32| sweep.join(format!(".attempts/run{iteration:03}.retried-1"));
    assert!(aside(2).is_dir() && aside(5).is_dir());
    let summary = place.run(&["summary", "--format", "json", logs.join("serial").to_str().unwrap()]);
    let summary: serde_json::Value = serde_json::from_str(&summary.exits(0).out()).unwrap();
    assert_eq!(summary["rate"]["of"], 10, "{summary}");
    drop((one, other));
    let silly: Vec<PathBuf> = export
        .names()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/.nfs"))
        .collect();
    assert_eq!(silly, Vec::<PathBuf>::new());
}

#[test]
fn a_claim_whose_file_another_machine_removes_meanwhile_is_taken_anew() {
    let export = Export::new(None);
    let (Some(one), Some(other)) = (export.mount(), export.mount()) else {
        return;
    };
    let open = |client: &Client| Sweep::open(&client.dir.path().join("logs"), &store::spec(1, 2)).unwrap();
    let (here, there) = (open(&one), open(&other));
    let Claimed::Ours(claim) = here.claim(1).unwrap() else {
        panic!("the iteration is free");
    };
    // The other machine has opened the file, and asks for its lock only now.
    export.server.lock().unwrap().before_lock(move || drop(claim));
    let taken = there.claim(1).unwrap();
    assert!(matches!(taken, Claimed::Ours(_)));
    assert!(matches!(here.claim(1).unwrap(), Claimed::ByAnother));
}

#[test]
fn a_sweep_that_was_killed_on_nfs_is_resumed_and_leaves_nothing() {
    let export = Export::new(Some(4));
    let Some(client) = export.mount() else { return };
    let place = Place::new(&[(
        "test_wait.py",
        "import os, time\n\ndef test_wait():\n    while not os.path.exists('go'): time.sleep(0.05)\n",
    )]);
    let at = |name: &str| client.dir.path().join(name);
    fs::create_dir(at("tmp")).unwrap();
    let logs = at("logs");
    let words = [
        "--backend",
        "local",
        "-e",
        "3",
        "--progress",
        "none",
        "--logs-dir",
        logs.to_str().unwrap(),
    ];
    let command = |words: &[&str]| {
        let mut command = place.command(words);
        command.env("TMPDIR", at("tmp"));
        command
    };
    let mut killed = command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let attempts = export.dir.path().join("logs/serial/.attempts");
    crate::cli::until("an attempt", || {
        fs::read_dir(&attempts).is_ok_and(|mut found| found.next().is_some())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    crate::place::end_processes_of(place.dir.path());
    fs::write(place.path("go"), "").unwrap();
    Ran::of(command(&words).output().unwrap()).exits(0);
    assert_eq!(rows(&export.dir.path().join("logs/serial")).len(), 3);
    Ran::of(command(&["gc"]).output().unwrap()).exits(0);
    drop(client);
    let left: Vec<PathBuf> = export
        .names()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/.nfs"))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
