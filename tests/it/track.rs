//! Thirty nights, one after the other, through `history --track`: which issue each cause gets, and when.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::place::run;

const EVENTS: &str =
    "AssertionError: Router states have different numbers of events: Router 1 has 100 events, Router 2 has 50 events";
const UNKNOWN: &str =
    "ValueError: shard 0x7f31 of `tokens` is <gone>, ask @somebody; ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const OF: u32 = 20;

fn log(failure: Option<(&str, &str)>) -> String {
    let Some((test, message)) = failure else {
        return "===== test session starts =====\ncollected 1 item\n\ntests/test_a.py .   [100%]\n\n===== 1 passed in 0.01s =====\n"
            .to_owned();
    };
    format!(
        "===== test session starts =====\ncollected 1 item\n\ntests/test_a.py F   [100%]\n\n\
         ===== FAILURES =====\n_____ {test} _____\n\n    def test():\n>       x()\nE       {message}\n\n\
         tests/test_a.py:3: Error\n===== short test summary info =====\n\
         FAILED tests/test_a.py::{test} - {message}\n===== 1 failed in 0.01s =====\n"
    )
}

/// Writes a night as a sweep of twenty iterations, the first ones with these failures.
fn night(dir: &Path, day: u32, failures: &[(&str, &str)]) {
    for iteration in 1..=OF {
        let run = dir.join(format!("nights/{day:02}/serial/run{iteration:03}"));
        fs::create_dir_all(&run).unwrap();
        let failure = failures.get(iteration as usize - 1).copied();
        fs::write(run.join("run.log"), log(failure)).unwrap();
        let exit = json!({
            "format": 1,
            "code": i32::from(failure.is_some()),
            "ended_by": "itself",
            "started_at": format!("2026-11-{day:02}T01:00:{iteration:02}Z"),
            "duration_s": 1.0,
        });
        fs::write(run.join("exit.json"), exit.to_string()).unwrap();
    }
}

fn track(dir: &Path, day: u32) -> Value {
    let night = format!("nights/{day:02}");
    let (code, out, err) = run(dir, &["history", &night, "--track", "issues.json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn thirty_nights_give_each_cause_one_issue_that_is_closed_when_compare_says_fewer_and_opened_again() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    let mut steps: Vec<(u32, String, String)> = Vec::new();
    let mut bodies: Vec<(String, String)> = Vec::new();
    for day in 1..=30 {
        let failures: &[(&str, &str)] = match day {
            3..=8 => &[("test_sync[a]", EVENTS), ("test_sync[b]", EVENTS)],
            12 | 13 => &[("test_shard", UNKNOWN)],
            20 => &[("test_sync[a]", EVENTS)],
            _ => &[],
        };
        night(dir, day, failures);
        let said = track(dir, day);
        for action in said["actions"].as_array().unwrap() {
            let word = |key: &str| action[key].as_str().unwrap().to_owned();
            steps.push((day, word("action"), word("cause")));
            bodies.push((word("title"), word("body")));
            assert!(word("mark").starts_with("flaky-cause-"), "{action}");
        }
        // The same night again, as when a job is run again: nothing is said twice.
        assert_eq!(track(dir, day)["actions"], json!([]), "night {day}");
    }
    let shown: Vec<(u32, &str, bool)> = steps
        .iter()
        .map(|(day, step, cause)| (*day, step.as_str(), cause == "A2 tests/test_a.py::test_sync"))
        .collect();
    assert_eq!(
        shown,
        [
            (3, "open", true),
            (10, "close", true),
            (12, "open", false),
            (20, "reopen", true),
            (20, "close", false),
            (25, "close", true),
        ],
        "{steps:?}"
    );
    assert!(steps[2].2.starts_with("U-") && steps[4].2 == steps[2].2, "{steps:?}");

    // Closed on the first night on which `compare` says fewer, and not on the one before.
    for (base, before, now) in [
        ("12/120", "0/20", "0/40"),
        ("2/40", "0/120", "0/140"),
        ("13/360", "0/80", "0/100"),
    ] {
        let verdict = |new: &str| {
            let (_, out, err) = run(dir, &["compare", base, new, "--expect", "fewer", "--format", "json"]);
            let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
            found["classes"][0]["verdict"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            (verdict(before).as_str(), verdict(now).as_str()),
            ("no evidence", "fewer"),
            "{base}"
        );
        assert!(
            bodies
                .iter()
                .any(|(_, body)| body.contains(&format!("{now} since")) && body.contains(base)),
            "{base}"
        );
    }

    let (title, body) = &bodies[0];
    assert_eq!(title, "flaky: A2 in `test_sync`");
    for part in [
        "2/20 failed: 10 %",
        "- first night: `nights/03/serial`",
        EVENTS,
        "reproduce-flaky replay nights/03/serial/run001",
    ] {
        assert!(body.contains(part), "{part}\n{body}");
    }
    // What is printed into an issue is read by everybody.
    let (_, body) = &bodies[2];
    assert!(body.contains("is <gone>") && !body.contains("ghp_0123"), "{body}");

    let (code, out, _) = run(
        dir,
        &["history", "nights/01", "--track", "issues.json", "--format", "json"],
    );
    assert_eq!((code, out.as_str()), (2, ""));
}

#[test]
fn a_state_that_is_none_is_refused_and_stays() {
    let place = tempfile::tempdir().unwrap();
    night(place.path(), 1, &[]);
    for text in ["{}", "not json", "{\"format\":2,\"nights\":[],\"issues\":{}}"] {
        fs::write(place.path().join("issues.json"), text).unwrap();
        let (code, out, err) = run(place.path(), &["history", "nights", "--track", "issues.json"]);
        assert_eq!((code, out.as_str()), (1, ""), "{text}");
        assert!(err.starts_with("error: failed to read `issues.json`"), "{err}");
        assert_eq!(fs::read_to_string(place.path().join("issues.json")).unwrap(), text);
    }
    let (code, _, err) = run(place.path(), &["history", "nights", "--track", "none/issues.json"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: failed to write `none/issues.json`"), "{err}");
}
