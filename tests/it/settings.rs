//! The settings file: who may have written it, what of it may change under a sweep, and what a session can do to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::cli::Place;
use crate::engine::daemon;
use crate::place::is_root;

const FILE: &str = "reproduce-flaky.toml";
const BEFORE: &str = "backend = \"local\"\nbefore = [\"touch\", \"built\"]\n";

#[test]
fn a_settings_file_that_somebody_else_may_have_written_is_not_obeyed() {
    let place = Place::passing();
    fs::create_dir(place.path("sub")).unwrap();
    let refused = |words: &str, hint: &str| {
        for dir in [place.path("."), place.path("sub")] {
            for call in [&["-e", "1"][..], &["status"]] {
                let output = place.command(call).current_dir(&dir).output().unwrap();
                let err = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{err}");
                assert!(
                    err.contains("` is not obeyed: ") && err.contains(words) && err.contains(hint),
                    "{err}"
                );
            }
        }
        assert!(!place.path("built").exists() && !place.path("logs").exists());
    };
    for mode in [0o666, 0o664, 0o646] {
        fs::write(place.path(FILE), BEFORE).unwrap();
        fs::set_permissions(place.path(FILE), fs::Permissions::from_mode(mode)).unwrap();
        refused(
            &format!("others may write it (mode 0{mode:o})"),
            "\nhint: look at the file, then chmod go-w ",
        );
    }
    fs::set_permissions(place.path(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    if is_root() {
        chown(place.path(FILE), Some(4711), None).unwrap();
        refused(
            "it belongs to another user (uid 4711)",
            "\nhint: look at the file, then make it yours: chown 0 ",
        );
        chown(place.path(FILE), Some(0), None).unwrap();
    }
    let err = place.run(&["-e", "1"]).exits(0).err();
    assert!(place.path("built").exists());
    assert!(
        err.contains("before: touch built (from ") && err.contains(FILE),
        "{err}"
    );
}

#[test]
fn a_file_in_a_directory_that_is_everybodys_is_nobodys_project() {
    let place = Place::passing();
    let open = place.path("open");
    fs::create_dir_all(open.join("mine")).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(open.join(FILE), BEFORE).unwrap();
    fs::set_permissions(open.join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(open.join("mine/test_a.py"), "def test_a(): pass\n").unwrap();
    let mut command = place.command(&["--backend", "local", "-e", "1"]);
    let output = command.current_dir(open.join("mine")).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!open.join("mine/built").exists());
}

/// A suite of which a session writes the settings file of the next.
fn writes(text: &str) -> Place {
    Place::new(&[(
        "test_a.py",
        &format!("def test_a():\n    open('{FILE}', 'w').write({text:?})\n"),
    )])
}

#[test]
fn a_test_that_writes_the_settings_file_decides_nothing_at_the_resume() {
    let redirect = format!("{BEFORE}tag = \"elsewhere\"\n");
    for text in [BEFORE, &redirect, "volume = \"/:/machine\"\n"] {
        let place = writes(text);
        place.run(&["--backend", "local", "-e", "1"]).exits(0);
        let resume = ["--backend", "local", "-e", "2"];
        let err = place.run(&resume).exits(1).err();
        assert!(!place.path("built").exists());
        assert!(err.contains(&format!("{FILE}` does not set `")), "{err}");
        assert!(err.contains("as when `logs/serial` was begun"), "{err}");
        assert!(err.contains("--accept-settings"), "{err}");
        if text == BEFORE {
            assert!(err.contains("`before` is now `touch built`"), "{err}");
            place.run(&[&resume[..], &["--accept-settings"]].concat()).exits(0);
            assert!(place.path("built").exists());
            // Accepted once, it is what the sweep goes on with.
            place.run(&["--backend", "local", "-e", "3"]).exits(0);
        }
    }
}

#[test]
fn settings_that_reach_no_further_than_the_sweep_may_change() {
    let place = Place::passing();
    fs::write(place.path(FILE), "jobs = 2\nbackend = \"local\"\n").unwrap();
    place.run(&["-e", "1"]).exits(0);
    fs::write(place.path(FILE), "jobs = 4\nbackend = \"local\"\nverbose = true\n").unwrap();
    place.run(&["-e", "2"]).exits(0);
}

#[test]
fn a_container_cannot_change_the_settings_file() {
    if !daemon() {
        return;
    }
    let test = format!(
        "import pytest, os\ndef test_a():\n    open('here', 'w').close()\n    \
         for act in [lambda: open('{FILE}', 'w'), lambda: os.unlink('{FILE}'), lambda: os.rename('{FILE}', 'x')]:\n        \
         with pytest.raises(OSError):\n            act()\n"
    );
    let place = Place::new(&[("test_a.py", &test)]);
    fs::write(place.path(FILE), "jobs = 1\n").unwrap();
    place.run(&["-i", "host", "-e", "1"]).exits(0);
    assert!(place.path("here").exists(), "the directory itself is writable");
    assert_eq!(fs::read_to_string(place.path(FILE)).unwrap(), "jobs = 1\n");
}
