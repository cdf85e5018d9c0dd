//! Programs that a session leaves and that would run as their owner, whoever starts them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use crate::cli::{Place, until};
use crate::engine;

/// Makes such programs in its run directory and in the workspace, one of a file that was there before, and then waits
/// where it is told to.
const ARMS: &str = "
import os, shutil, sys, time

def test_arm():
    os.makedirs('sub', exist_ok=True)
    for path in [os.environ['DYN_TEST_OUTPUT_PATH'] + '/tool', 'made', 'sub/made']:
        shutil.copy(sys.executable, path)
        os.chmod(path, 0o6755)
    os.chmod('there/before', 0o6755)
    open('begun', 'w').close()
    if os.path.exists('wait'):
        time.sleep(1000)
";

fn place() -> Place {
    let place = Place::new(&[("test_arm.py", ARMS), ("there/before", "#!/bin/sh\n")]);
    fs::set_permissions(place.path("there/before"), Permissions::from_mode(0o755)).unwrap();
    place
}

#[track_caller]
fn assert_harmless(place: &Place, names: &[&str]) {
    let own = rustix::process::geteuid().as_raw();
    for name in names {
        let found = fs::metadata(place.path(name)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (own, 0o755), "{name}");
    }
}

const IN_THE_WORKSPACE: [&str; 3] = ["made", "sub/made", "there/before"];

#[test]
fn no_program_that_a_session_leaves_runs_as_its_owner() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    place.run(&["-i", "host", "-e", "1"]).exits(0);
    assert_harmless(&place, &["logs/serial/run001/tool"]);
    assert_harmless(&place, &IN_THE_WORKSPACE);
}

#[test]
fn no_program_that_a_killed_sweep_left_in_the_workspace_runs_as_its_owner_once_the_sweep_goes_on() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    fs::write(place.path("wait"), "").unwrap();
    let words = ["-i", "host", "-e", "1"];
    let mut tool = place.command(&words);
    let mut tool = tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the session to begin", || place.path("begun").exists());
    tool.kill().unwrap();
    tool.wait().unwrap();
    let armed = fs::metadata(place.path("made")).unwrap().mode();
    assert_eq!(armed & 0o7777, 0o6755);
    fs::write(place.path("test_arm.py"), "def test_arm(): pass\n").unwrap();
    place.run(&words).exits(0);
    assert_harmless(&place, &IN_THE_WORKSPACE);
}
