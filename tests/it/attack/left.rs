//! What killed sweeps leave on this machine, apart from their containers.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use reproduce_flaky::run::Scratch;

use crate::cli::{Place, Ran, until};
use crate::engine;
use crate::place::end_processes_of;

/// Nests directories in its temporary directory, and waits for the end of the tool.
const WAITS: &str = "
import os, time

def test_wait():
    os.makedirs(os.environ['TMPDIR'] + '/nested' * 300)
    parent = os.getppid()
    open('begun', 'w').close()
    while os.getppid() == parent: time.sleep(0.01)
";

fn make_old(dir: &Path) {
    let at = SystemTime::now() - Duration::from_mins(2);
    File::open(dir).unwrap().set_modified(at).unwrap();
}

fn directories(below: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(below)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
fn what_a_killed_sweep_left_in_the_temporary_directory_is_removed_by_the_next_start() {
    let place = Place::new(&[("test_wait.py", WAITS)]);
    let temporary = place.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let command = || {
        let mut command = place.command(&["--backend", "local", "-e", "1"]);
        command.env("TMPDIR", &temporary);
        command
    };
    let mut tool = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the session to begin", || place.path("begun").exists());
    tool.kill().unwrap();
    tool.wait().unwrap();
    end_processes_of(place.dir.path());
    let left = directories(&temporary).pop().unwrap();
    let in_use = Scratch::make(&temporary, "rf-").unwrap();
    let others = temporary.join("rf-others");
    fs::create_dir(&others).unwrap();
    for dir in [&left, &others, &in_use.path().to_owned()] {
        make_old(dir);
    }
    fs::write(place.path("test_wait.py"), "def test_wait(): pass\n").unwrap();
    let said = Ran::of(command().output().unwrap()).exits(0).err();
    let note = format!("note: removed what a dead sweep left: directory {}\n", left.display());
    assert!(said.contains(&note), "{said}");
    let mut stay = vec![in_use.path().to_owned(), others];
    stay.sort();
    assert_eq!(directories(&temporary), stay);
}

#[test]
fn what_a_killed_sweep_left_in_the_cache_is_removed_by_gc() {
    if !engine::daemon() {
        return;
    }
    let place = Place::passing();
    let cache = place.path("cache/reproduce-flaky");
    fs::create_dir_all(&cache).unwrap();
    let in_use = Scratch::make(&cache, "gate-").unwrap();
    make_old(in_use.path());
    let [left, new] = ["gate-killed", "gate-newest"].map(|name| cache.join(name));
    for dir in [&left, &new] {
        fs::create_dir_all(dir.join("door")).unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o1700)).unwrap();
    }
    make_old(&left);
    let gc = |words: &[&str]| {
        let mut command = place.command(&[&["gc"], words].concat());
        let out = command.env("XDG_CACHE_HOME", place.path("cache")).output().unwrap();
        Ran::of(out).exits(0).out()
    };
    let out = gc(&["--dry-run"]);
    let line = format!("would be removed: directory {}\n", left.display());
    assert!(out.contains(&line) && left.exists(), "{out}");
    let out = gc(&[]);
    let line = format!("removed: directory {}\n", left.display());
    assert!(out.contains(&line), "{out}");
    let mut stay = vec![in_use.path().to_owned(), new];
    stay.sort();
    assert_eq!(directories(&cache), stay);
}
