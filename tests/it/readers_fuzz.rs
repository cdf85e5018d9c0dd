//! Every reader of a file, over files that are nearly right: none of them panics, and none takes others down with it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use reproduce_flaky::judge::SignatureSet;
use reproduce_flaky::judge::pytest::trail;
use reproduce_flaky::run;

use crate::cli::Place;
use crate::place::is_night;

/// A sweep of two iterations to spoil copies of.
fn sweep() -> &'static Place {
    static SWEEP: OnceLock<Place> = OnceLock::new();
    SWEEP.get_or_init(|| {
        let test = "import os\ndef test_a():\n    assert os.environ['REPRODUCE_FLAKY_ITERATION'] == '2', 'Router states have different numbers of events'\ndef test_b(): pass\n";
        let place = Place::new(&[("test_a.py", test)]);
        place.run(&["--backend", "local", "--progress", "none", "-e", "2"]).exits(3);
        place
    })
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Change {
    Cut(usize),
    Delete(usize, usize),
    Put(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let odd = prop_oneof![
        Just(b"\xff\xfe".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"{".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"1e999".to_vec()),
        Just(b"99999999999999999999999".to_vec()),
        Just(b"null".to_vec()),
        Just("\u{202e}\u{1b}[2J".as_bytes().to_vec()),
        Just(vec![b'['; 3000]),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    let change = prop_oneof![
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), 1..40usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<usize>(), odd).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        (any::<usize>(), 1..200usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ];
    proptest::collection::vec(change, 1..6)
}

fn spoil(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        let place = |at: usize| at % (bytes.len() + 1);
        match change {
            Change::Cut(at) => bytes.truncate(place(*at)),
            Change::Delete(at, length) => {
                let at = place(*at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Change::Put(at, odd) => {
                let at = place(*at);
                bytes.splice(at..at, odd.iter().copied());
            }
            Change::Repeat(at, length) => {
                let at = place(*at);
                let again = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Spoils a file of a copy of the sweep and hands over the copy.
fn with_spoiled(name: &str, changes: &[Change], check: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let sweep = dir.path().join("serial");
    copy(&self::sweep().path("logs/serial"), &sweep);
    let path = sweep.join(name);
    let mut bytes = fs::read(&path).unwrap();
    spoil(&mut bytes, changes);
    fs::write(&path, bytes).unwrap();
    check(&sweep);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_and_judgements_of_one_run_spoil_no_other(
        name in prop_oneof![Just("exit.json"), Just("outcome.json"), Just("tests.jsonl"), Just("run.log"), Just(".exit_code")],
        changes in changes(),
    ) {
        with_spoiled(&format!("run001/{name}"), &changes, |sweep| {
            let scan = run::scan(sweep).unwrap();
            assert_eq!(scan.runs.iter().map(|run| run.iteration).collect::<Vec<_>>(), [1, 2]);
            let second = &scan.runs[1];
            assert_eq!(second.outcome.as_ref().map(|outcome| outcome.failing_tests.len()), Some(0));
        });
    }

    #[test]
    fn a_specification_that_cannot_be_read_is_said_to_be_so(changes in changes()) {
        with_spoiled("sweep.json", &changes, |sweep| {
            match run::scan(sweep) {
                Ok(scan) => assert_eq!(scan.runs.len(), 2),
                Err(error) => assert!(error.to_string().contains("sweep.json"), "{error}"),
            }
            assert_eq!(run::recorded(sweep).unwrap().len(), 2);
        });
    }

    #[test]
    fn a_trail_is_read_as_far_as_it_can_be(changes in changes()) {
        let mut bytes = fs::read(sweep().path("logs/serial/run001/tests.jsonl")).unwrap();
        spoil(&mut bytes, &changes);
        trail::read(bytes.as_slice()).unwrap();
    }

    #[test]
    fn a_signature_file_is_read_or_its_mistake_named(changes in changes()) {
        let mut bytes = include_bytes!("../../signatures/router.toml").to_vec();
        spoil(&mut bytes, &changes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(error) = SignatureSet::parse(&[("x.toml".to_owned(), text)]) {
            prop_assert!(error.to_string().contains("x.toml"), "{}", error);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_night() { 12 } else { 4 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_and_events_are_derived_and_no_resume_needs_them(
        name in prop_oneof![Just("results.csv"), Just("results.txt"), Just("events.jsonl"), Just("summary.txt")],
        changes in changes(),
    ) {
        with_spoiled(name, &changes, |sweep| {
            let logs = sweep.parent().unwrap().display().to_string();
            self::sweep().run(&["--backend", "local", "--progress", "none", "-e", "3", "--logs-dir", &logs]).exits(3);
            let rows = self::sweep().rows(&sweep.display().to_string());
            assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
            for words in [&["status", &logs][..], &["summary", &logs]] {
                self::sweep().run(words).exits(0);
            }
        });
    }
}
