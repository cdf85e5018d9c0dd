//! What is no sweep of these tests, or another one, and places that cannot be written to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use reproduce_flaky::run::{self, StoreError, Sweep};
use reproduce_flaky::spec::Spec;

use super::{event, ours, passed, record, records, rows, spec};
use crate::place::{Mount, Need, is_root, skip};

#[test]
fn a_resume_that_would_run_something_else_is_refused_with_both_values() {
    let logs = tempfile::tempdir().unwrap();
    Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    let refused = |change: fn(&mut Spec)| {
        let mut spec = spec(1, 3);
        change(&mut spec);
        let error = Sweep::open(logs.path(), &spec).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("name the new one with --tag"));
        error.to_string().replace(&logs.path().display().to_string(), "logs")
    };
    assert_eq!(
        refused(|spec| {
            spec.image = "app:2".to_owned();
            spec.image_id = Some("sha256:2222".to_owned());
        }),
        "`logs/serial` holds a sweep of `app:1`, not `app:2`"
    );
    assert_eq!(
        refused(|spec| spec.pytest_args = Vec::new()),
        "`logs/serial` holds a sweep with pytest arguments `tests`, not none"
    );
    // A range that grows, other deadlines and another number of jobs are the same sweep.
    let mut wider = spec(2, 9);
    wider.jobs = 4;
    wider.deadlines.total_s = 10.0;
    Sweep::open(logs.path(), &wider).unwrap();
    let kept = run::scan(&logs.path().join("serial")).unwrap().spec.unwrap();
    assert_eq!((kept.first, kept.last, kept.jobs), (1, 9, 1));
}

#[test]
fn what_is_no_sweep_is_refused_in_words_and_left_alone() {
    let logs = tempfile::tempdir().unwrap();
    let open = || Sweep::open(logs.path(), &spec(1, 1)).unwrap_err();
    let dir = logs.path().join("serial");
    fs::write(&dir, "notes").unwrap();
    let error = open();
    assert!(error.to_string().ends_with("/serial`: file exists"), "{error}");
    assert!(error.hint().unwrap().contains("--logs-dir"));
    fs::remove_file(&dir).unwrap();

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("sweep.json"), "{\"format\":1,").unwrap();
    let error = open();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("line 1 column"), "{error}");
    fs::write(dir.join("sweep.json"), "{\"format\":2}").unwrap();
    assert!(open().to_string().contains("has format 2"));
    assert_eq!(fs::read_to_string(dir.join("sweep.json")).unwrap(), "{\"format\":2}");
    // Reading goes on without it.
    assert_eq!(run::scan(&dir).unwrap().problems.len(), 1);

    fs::remove_file(dir.join("sweep.json")).unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
    fs::write(dir.join("run001"), "in the way").unwrap();
    let claim = ours(&sweep, 1);
    let attempt = sweep.new_attempt(&claim).unwrap();
    let (exit, outcome) = passed(1);
    let error = sweep.publish(claim, attempt, &exit, &outcome).unwrap_err();
    assert!(matches!(error, StoreError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read_to_string(dir.join("run001")).unwrap(), "in the way");
}

#[test]
fn a_full_disk_stops_recording_loses_nothing_and_a_resume_goes_on() {
    let Some(disk) = Mount::tmpfs("192k") else {
        return skip(Need::Root, "takes root to mount a small disk");
    };
    let logs = disk.path();
    let sweep = Sweep::open(logs, &spec(1, 9)).unwrap();
    record(&sweep, 1).unwrap();
    let claim = ours(&sweep, 2);
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    let error = loop {
        if let Err(error) = attempt.write_log(&[b'x'; 4096]) {
            break error;
        }
    };
    assert!(error.to_string().ends_with("no space left on device"), "{error}");
    assert!(error.hint().unwrap().contains("free space there"));
    let (exit, outcome) = passed(2);
    assert!(sweep.publish(claim, attempt, &exit, &outcome).is_err());
    assert_eq!(sweep.recorded().unwrap(), BTreeSet::from([1]));
    while sweep.append_event(&event()).is_ok() {}
    let again = Sweep::open(logs, &spec(1, 9)).unwrap();
    assert_eq!(
        again.recorded().unwrap(),
        BTreeSet::from([1]),
        "a full disk does not keep a sweep from being read"
    );

    for entry in fs::read_dir(again.dir().join(".attempts")).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    assert!(record(&again, 2).is_some());
    again.rebuild(&records(again.dir()), "").unwrap();
    assert_eq!(rows(again.dir()), BTreeSet::from([1, 2]));
}

#[test]
fn a_read_only_place_is_named_with_what_to_do() {
    let Some(disk) = Mount::tmpfs("1m") else {
        return skip(Need::Root, "takes root to mount a read-only disk");
    };
    Sweep::open(disk.path(), &spec(1, 1)).unwrap();
    disk.make_read_only();
    let error = Sweep::open(disk.path(), &spec(1, 1)).unwrap_err();
    assert!(error.to_string().ends_with("read-only file system"), "{error}");
    assert!(
        error.to_string().contains(&format!("{}/serial", disk.path().display())),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--logs-dir"));
    let mut other = spec(1, 1);
    other.tag = Some("new".to_owned());
    let error = Sweep::open(disk.path(), &other).unwrap_err();
    assert!(error.to_string().starts_with("failed to create"), "{error}");
    // What is there can still be read.
    assert!(run::scan(&disk.path().join("serial")).unwrap().spec.is_some());
}

#[test]
fn a_place_without_rights_is_named_with_what_to_do() {
    if is_root() {
        return skip(Need::User, "root has all rights");
    }
    let logs = tempfile::tempdir().unwrap();
    fs::set_permissions(logs.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Sweep::open(logs.path(), &spec(1, 1)).unwrap_err();
    assert!(error.to_string().ends_with("permission denied"), "{error}");
    assert!(error.hint().unwrap().contains("--logs-dir"));
}
