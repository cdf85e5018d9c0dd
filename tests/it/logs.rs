//! The judge on labelled logs of real sessions: `tests/fixtures/expected.toml` says what each is, and `blind.toml` for
//! those that were labelled before the judge had seen them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use reproduce_flaky::commands::judging;
use reproduce_flaky::judge::pytest::marker;
use reproduce_flaky::judge::{self, EndedBy, Exit, Outcome, OutcomeKind, RunFiles, SignatureSet, Verdict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    path: String,
    outcome: String,
    categories: BTreeSet<String>,
    failing_tests: Vec<String>,
    #[serde(default)]
    trap: bool,
    #[serde(default)]
    held: bool,
}

static SIGNATURES: LazyLock<SignatureSet> = LazyLock::new(SignatureSet::built_in);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases(file: &str) -> Vec<Case> {
    let text = fs::read_to_string(fixtures().join(file)).unwrap();
    toml::from_str::<Expected>(&text).unwrap().case
}

fn judge_fixture(path: &str) -> Outcome {
    judging::judge_path(&fixtures().join(path), &SIGNATURES).unwrap()
}

fn names_the_tests(wanted: &[String], outcome: &Outcome) -> bool {
    if wanted.len() == 1 && wanted[0] == "*" {
        return true;
    }
    let mut found: BTreeSet<&str> = outcome.failing_tests.iter().map(String::as_str).collect();
    let all = wanted.iter().all(|test| match test.strip_prefix('~') {
        Some(test) => found.remove(test) || found.remove(test.split('[').next().unwrap_or(test)),
        None => found.remove(test.as_str()),
    });
    all && found.is_empty()
}

fn wrong(case: &Case) -> Option<String> {
    let outcome = judge_fixture(&case.path);
    let categories: BTreeSet<String> = outcome.categories.iter().cloned().collect();
    let is_right = outcome.outcome.as_str() == case.outcome
        && categories == case.categories
        && names_the_tests(&case.failing_tests, &outcome);
    (!is_right).then(|| {
        format!(
            "{}: {} {:?} {:?} instead of {} {:?} {:?}",
            case.path,
            outcome.outcome.as_str(),
            outcome.categories,
            outcome.failing_tests,
            case.outcome,
            case.categories,
            case.failing_tests
        )
    })
}

#[test]
fn every_log_the_judge_was_made_with_is_judged_right() {
    let wrong: Vec<String> = cases("expected.toml")
        .iter()
        .filter(|case| !case.held)
        .filter_map(wrong)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_the_logs_held_out_at_least_98_percent_are_judged_right() {
    let held: Vec<Case> = cases("expected.toml").into_iter().filter(|case| case.held).collect();
    assert!(held.len() >= 60);
    let wrong: Vec<String> = held.iter().filter_map(wrong).collect();
    assert!(wrong.len() * 50 <= held.len(), "{}", wrong.join("\n"));
}

#[test]
fn every_log_of_the_blind_set_is_judged_right() {
    let blind = cases("blind.toml");
    assert!(blind.len() >= 250);
    let wrong: Vec<String> = blind.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_of_reporter_shell_and_id_is_judged_right() {
    let kinds = cases("kinds.toml");
    assert!(kinds.len() >= 100);
    let wrong: Vec<String> = kinds.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_log_of_the_first_contact_is_judged_right() {
    let contact = cases("contact.toml");
    assert!(contact.len() >= 170);
    let wrong: Vec<String> = contact.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_trap_catches_the_judge() {
    let wrong: Vec<String> = cases("expected.toml")
        .iter()
        .filter(|case| case.trap)
        .filter_map(wrong)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A log held in memory.
struct Written<'a>(&'a str);

impl RunFiles for Written<'_> {
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
        Ok(Some(("run.log".to_owned(), Box::new(self.0.as_bytes()))))
    }

    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        Ok(None)
    }

    fn test_logs(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn open(&self, _: &str) -> io::Result<Box<dyn BufRead + '_>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[derive(Deserialize)]
struct WrittenCases {
    case: Vec<WrittenCase>,
}

#[derive(Deserialize)]
struct WrittenCase {
    name: String,
    log: String,
    exit: Option<Exit>,
    outcome: String,
    categories: BTreeSet<String>,
    failing_tests: Vec<String>,
}

#[test]
fn logs_written_by_hand_are_judged_right() {
    let mut wrong = Vec::new();
    let read = |file: &str| fs::read_to_string(fixtures().join(file)).unwrap();
    let tables = ["written.toml", "threads.toml"].map(read);
    let cases = tables
        .iter()
        .flat_map(|text| toml::from_str::<WrittenCases>(text).unwrap().case);
    for case in cases {
        for log in [case.log.clone(), case.log.replace('\n', "\r\n")] {
            let outcome = judge::judge(&Written(&log), case.exit.as_ref(), &SIGNATURES).unwrap();
            let categories: BTreeSet<String> = outcome.categories.iter().cloned().collect();
            if outcome.outcome.as_str() != case.outcome
                || categories != case.categories
                || !names_the_tests(&case.failing_tests, &outcome)
            {
                wrong.push(format!(
                    "{}: {} {:?} {:?} {:?}",
                    case.name,
                    outcome.outcome.as_str(),
                    outcome.categories,
                    outcome.failing_tests,
                    outcome.notes
                ));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A green session that prints `line` while it runs without capture.
fn green_session_that_prints(line: &str) -> String {
    format!(
        "============================= test session starts ==============================\n\
        platform linux -- Python 3.11.2, pytest-8.3.4, pluggy-1.5.0\nrootdir: /workspace\ncollected 2 items\n\n\
        tests/test_a.py::test_a {line}\nPASSED\ntests/test_a.py::test_b PASSED\n\n\
        ============================== 2 passed in 0.40s ===============================\n"
    )
}

#[test]
fn our_marker_is_read_as_it_was_written_and_one_that_a_test_prints_is_not_ours() {
    let exit = |nonce: Option<&str>, ended_by| Exit {
        code: Some(0),
        nonce: nonce.map(str::to_owned),
        ended_by,
        ..Exit::default()
    };
    let long = Duration::from_mins(11);
    for (written, by, outcome) in [
        (marker::deadline("5f3a", long), EndedBy::Deadline, OutcomeKind::Hung),
        (marker::silence("5f3a", long), EndedBy::Silence, OutcomeKind::Hung),
        (marker::cancel("5f3a"), EndedBy::Cancel, OutcomeKind::Infra),
    ] {
        let log = green_session_that_prints(&written);
        let judged = |exit: Option<&Exit>| judge::judge(&Written(&log), exit, &SIGNATURES).unwrap().outcome;
        assert_eq!(judged(None), outcome, "nothing but the line tells: {written}");
        assert_eq!(judged(Some(&exit(Some("5f3a"), by))), outcome, "{written}");
        // The session printed the words of another iteration, or of an older version.
        let own = [exit(Some("77aa"), EndedBy::Itself), exit(None, EndedBy::Itself)];
        for exit in &own {
            assert_eq!(judged(Some(exit)), OutcomeKind::Passed, "{written}");
        }
    }
}

#[test]
fn a_log_cut_before_its_closing_line_is_never_a_pass() {
    let green = cases("expected.toml")
        .into_iter()
        .filter(|case| case.outcome == "passed");
    for case in green
        .filter(|case| {
            std::path::Path::new(&case.path)
                .extension()
                .is_some_and(|extension| extension == "log")
        })
        .step_by(3)
    {
        let log = fs::read_to_string(fixtures().join(&case.path)).unwrap_or_default();
        let Some(end) = log.rfind(" passed").and_then(|at| log[..at].rfind('\n')) else {
            continue;
        };
        // A doubly quiet session ends with its letters: cut off there it looks complete.
        if !log.contains("test session starts") {
            continue;
        }
        for part in 1..8 {
            let mut at = end * part / 8;
            while !log.is_char_boundary(at) {
                at -= 1;
            }
            let outcome = judge::judge(&Written(&log[..at]), None, &SIGNATURES).unwrap();
            assert_ne!(outcome.verdict, Verdict::Passed, "{} cut at {at}", case.path);
        }
    }
}
