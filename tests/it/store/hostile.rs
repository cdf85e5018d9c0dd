//! Directories in which tests have left what they liked: links, pipes, closed files, names that are no text.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use reproduce_flaky::judge::{OutcomeKind, RunFiles};
use reproduce_flaky::run::{self, Sweep};

use super::{ours, passed, spec};

#[test]
fn what_tests_write_under_our_names_is_neither_followed_nor_believed() {
    type Prank = fn(&Path, &Path);
    let pranks: [(&str, Prank); 12] = [
        ("a link named exit.json", |dir, outside| {
            symlink(outside, dir.join("exit.json")).unwrap();
        }),
        ("facts of its own", |dir, _| {
            fs::write(dir.join("outcome.json"), "{\"verdict\":\"passed\"}").unwrap();
        }),
        ("a directory named outcome.json", |dir, _| {
            fs::create_dir(dir.join("outcome.json")).unwrap();
        }),
        ("a full directory named .exit_code", |dir, _| {
            fs::create_dir(dir.join(".exit_code")).unwrap();
            fs::write(dir.join(".exit_code/x"), "").unwrap();
        }),
        ("a log and an autopsy of its own", |dir, _| {
            fs::write(dir.join("run.log"), "9 passed\n").unwrap();
            fs::create_dir(dir.join("autopsy")).unwrap();
            fs::write(dir.join("autopsy/stacks.txt"), "none").unwrap();
        }),
        ("links named run.log, autopsy and session", |dir, outside| {
            symlink(outside, dir.join("run.log")).unwrap();
            symlink(outside.parent().unwrap(), dir.join("autopsy")).unwrap();
            symlink("/", dir.join("session")).unwrap();
        }),
        ("the log removed, which takes no container around it", |dir, _| {
            fs::remove_file(dir.join("../run.log")).unwrap();
        }),
        ("the log replaced by a link", |dir, outside| {
            fs::remove_file(dir.join("../run.log")).unwrap();
            symlink(outside, dir.join("../run.log")).unwrap();
        }),
        ("the directory closed", |dir, _| {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o000)).unwrap();
        }),
        ("the directory removed", |dir, _| {
            fs::remove_dir_all(dir).unwrap();
        }),
        ("all attempts removed", |dir, _| {
            fs::remove_dir_all(dir.join("../..")).unwrap();
        }),
        (
            "the tool's directory exchanged for a link to another one",
            |dir, outside| {
                let own = dir.parent().unwrap();
                fs::rename(own, own.with_extension("moved")).unwrap();
                symlink(outside.parent().unwrap(), own).unwrap();
            },
        ),
    ];
    for (name, prank) in pranks {
        let logs = tempfile::tempdir().unwrap();
        let outside = logs.path().join("precious");
        fs::write(&outside, "untouched").unwrap();
        let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
        let claim = ours(&sweep, 1);
        let mut attempt = sweep.new_attempt(&claim).unwrap();
        attempt.write_log(b"before\n").unwrap();
        prank(attempt.dirs().session.path(), &outside);
        attempt.write_log(b"after\n").unwrap();
        let files = attempt.files().unwrap();
        let (_, mut console) = files.console().unwrap().unwrap();
        let mut log = String::new();
        console.read_to_string(&mut log).unwrap();
        assert_eq!(log, "before\nafter\n", "{name}");
        drop(console);
        let (exit, mut outcome) = passed(1);
        outcome.outcome = OutcomeKind::Failed;
        outcome.verdict = outcome.outcome.verdict();
        sweep.publish(claim, attempt, &exit, &outcome).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "{name}");
        let run = run::scan(sweep.dir()).unwrap().runs.remove(0);
        assert_eq!(run.outcome.unwrap().outcome, OutcomeKind::Failed, "{name}");
        assert_eq!((run.exit.unwrap().code, run.problem), (Some(0), None), "{name}");
        assert_eq!(
            fs::read_to_string(run.dir.join("run.log")).unwrap(),
            "before\nafter\n",
            "{name}"
        );
        assert_eq!(fs::read_to_string(run.dir.join(".exit_code")).unwrap(), "0\n", "{name}");
        assert!(fs::symlink_metadata(run.dir.join("autopsy")).is_err(), "{name}");
        assert!(fs::symlink_metadata(run.dir.join("session")).is_err(), "{name}");
    }
}

#[test]
fn links_pipes_closed_files_and_names_that_are_no_text_do_not_break_reading() {
    use std::os::unix::ffi::OsStrExt;

    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 2)).unwrap();
    let claim = ours(&sweep, 1);
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    attempt.write_log(b"\xff\xfe not text \x00\n1 passed\n").unwrap();
    let dir = attempt.dirs().session.path().to_owned();
    let written = dir.join("test_indexers_sync[jetstream]");
    fs::create_dir(&written).unwrap();
    fs::write(written.join("test.log.txt"), "Router 1 has 100 events").unwrap();
    fs::write(written.join(std::ffi::OsStr::from_bytes(b"bad-\xff.log")), "x").unwrap();
    symlink("/", written.join("root")).unwrap();
    symlink("/etc/passwd", written.join("passwd.txt")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, written.join("pipe.log"), fifo, 0o600.into(), 0).unwrap();
    fs::write(written.join("closed.log"), "secret").unwrap();
    fs::set_permissions(written.join("closed.log"), fs::Permissions::from_mode(0o000)).unwrap();
    let (exit, outcome) = passed(1);
    sweep.publish(claim, attempt, &exit, &outcome).unwrap();

    let run = run::scan(sweep.dir()).unwrap().runs.remove(0);
    let files = run::run_files(&run.dir).unwrap();
    let listed = files.test_logs().unwrap();
    let expected =
        ["bad-\u{fffd}.log", "closed.log", "test.log.txt"].map(|name| format!("test_indexers_sync[jetstream]/{name}"));
    assert_eq!(listed, expected);
    for path in &listed {
        let mut text = Vec::new();
        files.open(path).unwrap().read_to_end(&mut text).unwrap();
    }
}
