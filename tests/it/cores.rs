//! Cores of crashed processes, as far as this machine's kernel leaves them in reach; where it does not, that is said.

use std::fs;

use crate::cli::{Place, Ran};
use crate::engine;
use crate::place::Need;

/// A crash in native code, in the first of two iterations that share a directory.
const SUITE: &str = "
import ctypes, os

def test_router():
    if os.environ['REPRODUCE_FLAKY_ITERATION'] == '1':
        ctypes.string_at(0)
";

/// Whether cores land in the directory that a process works in, as the kernel's documentation has it: no slash and no
/// pipe at the beginning.
fn are_in_reach() -> bool {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    !pattern.trim().is_empty() && !pattern.contains(['|', '/'])
}

fn place() -> Place {
    Place::new(&[("test_core.py", SUITE), ("core.py", "# a module of that name")])
}

#[track_caller]
fn cores_are_collected_or_that_is_said(place: &Place, ran: &Ran) {
    let run = place.path("logs/serial/run001");
    if !are_in_reach() {
        assert!(ran.err().contains("note: cores are not collected: "), "{}", ran.err());
        assert!(!run.join("autopsy").exists());
        return;
    }
    let names: Vec<String> = fs::read_dir(run.join("autopsy"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let text = names.iter().find(|name| name.contains(".txt")).unwrap();
    let (core, _) = text.split_once('.').unwrap();
    assert!(
        core.starts_with("core-") && names.iter().any(|name| name == core),
        "{names:?}"
    );
    let about = fs::read_to_string(run.join("autopsy").join(text)).unwrap();
    assert!(about.contains("signal 11: ") && about.contains("-m pytest"), "{about}");
    if engine::gdb() {
        assert!(about.contains("string_at") && about.contains("#1"), "{about}");
    }
    let other = place.path("logs/serial/run002/autopsy");
    assert!(!other.exists(), "the second iteration crashed nothing");
}

#[test]
fn the_core_of_a_crash_on_this_machine_is_kept_with_its_native_backtrace() {
    let place = place();
    let ran = place.run(&["--backend", "local", "-e", "2", "--cores"]).exits(3);
    cores_are_collected_or_that_is_said(&place, &ran);
}

#[test]
fn the_core_of_a_crash_in_a_container_is_kept_with_its_native_backtrace() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    let ran = place.run(&["-i", "host", "-e", "2", "--cores"]).exits(3);
    cores_are_collected_or_that_is_said(&place, &ran);
}

/// A crash in a library of the suite's own, which lies in the workspace.
const OWN_LIBRARY: &str = "
import ctypes, os

def test_double_free():
    ctypes.CDLL(os.path.abspath('libfault.so')).double_free()
";
const FAULT: &str = "#include <stdlib.h>
void double_free(void) { char *p = malloc(2000); char *q = malloc(10); free(p); q[0] = 1; free(p); }
";

#[test]
fn frames_of_a_library_in_the_workspace_are_named_and_values_given_by_name_are_not_kept() {
    let place = Place::new(&[("test_fault.py", OWN_LIBRARY), ("fault.c", FAULT)]);
    if !engine::daemon() {
        return;
    }
    let compiled = std::process::Command::new("cc")
        .args(["-g", "-shared", "-fPIC", "-o", "libfault.so", "fault.c"])
        .current_dir(place.dir.path())
        .status();
    if !are_in_reach() || !compiled.is_ok_and(|status| status.success()) || !engine::has("gdb") {
        crate::place::skip(Need::Gdb, "no core within reach, no C compiler, or no gdb");
        return;
    }
    let secret = "a-value-that-nobody-may-keep";
    for (tag, place_of_run) in [("here", &["--backend", "local"][..]), ("inside", &["-i", "host"])] {
        let words = [place_of_run, &["-e", "1", "--cores", "-E", "RF_SECRET", "-t", tag]].concat();
        let ran = place.command(&words).env("RF_SECRET", secret).output().unwrap();
        assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
        let autopsy = place.path(&format!("logs/serial_{tag}/run001/autopsy"));
        let mut shown = String::new();
        for entry in fs::read_dir(&autopsy).unwrap().flatten() {
            let bytes = fs::read(entry.path()).unwrap();
            let has_secret = bytes.windows(secret.len()).any(|piece| piece == secret.as_bytes());
            assert!(!has_secret, "{tag}: {}", entry.path().display());
            if entry.file_name().to_string_lossy().ends_with(".txt") {
                shown = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        assert!(shown.contains("double_free () at fault.c:2"), "{tag}: {shown}");
    }
}

#[test]
fn cores_that_no_directory_of_this_machine_receives_are_not_promised() {
    if !engine::daemon() || !are_in_reach() {
        return;
    }
    let place = place();
    let ran = place
        .run(&["-i", "host", "-e", "1", "--cores", "--workspace", "ro"])
        .exits(3);
    assert!(
        ran.err()
            .contains("cores are not collected: they are written to the working directory, which is not kept"),
        "{}",
        ran.err()
    );
}
