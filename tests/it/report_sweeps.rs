//! The sweeps that the tool was made for, rebuilt as the directories that the old script left: what `plan`, `compare`
//! and `history` say about them.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be written fails the test")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::place::run;

const FILE: &str = "tests/router/test_router_e2e_with_mockers.py";

/// How an iteration fails: a test, and the line that tells why; a test of `None` is a session that aborts.
type Failure = (Option<&'static str>, &'static str);

const A1: Failure = (
    Some("test_router_decisions[jetstream-nats]"),
    "AssertionError: Expected exactly 1 (worker_id, dp_rank) to have events (due to prefix reuse), but found 2 with events: [(1, 0), (2, 0)]",
);
const A2: Failure = (
    Some("test_indexers_sync[file]"),
    "AssertionError: Router states have different numbers of events: Router 1 has 100 events, Router 2 has 50 events",
);
const A3: Failure = (
    Some("test_indexers_sync[jetstream]"),
    "Failed: Timeout (>90.0s) from pytest-timeout.",
);
const B1: Failure = (None, "Fatal Python error: Aborted");

const TESTS: [&str; 3] = [
    "test_router_decisions[jetstream-nats]",
    "test_indexers_sync[file]",
    "test_indexers_sync[jetstream]",
];

/// The console of a serial session, as pytest prints it.
fn console(failures: &[Failure]) -> String {
    let mut text = "============================= test session starts ==============================\n\
        platform linux -- Python 3.11.2, pytest-8.3.4, pluggy-1.5.0\n\
        rootdir: /workspace\n\
        plugins: timeout-2.4.0\n\
        collected 3 items\n\n"
        .to_owned();
    let failed: Vec<&str> = failures.iter().filter_map(|failure| failure.0).collect();
    text += FILE;
    text.push(' ');
    for test in TESTS {
        text.push(if failed.contains(&test) { 'F' } else { '.' });
    }
    if failures.iter().any(|failure| failure.0.is_none()) {
        text += "Fatal Python error: Aborted\n\nCurrent thread 0x00007f1 (most recent call first):\n  \
            File \"/workspace/tests/router/router.py\", line 10 in step\nAborted (core dumped)\n";
        return text;
    }
    text += "                                                                [100%]\n";
    if !failed.is_empty() {
        text += "\n=================================== FAILURES ===================================\n";
        for (named, reason) in failures {
            let test = named.unwrap();
            // pytest fills the line to its end, so that the right side may be one longer.
            let left = "_".repeat((78 - test.len()) / 2);
            let right = "_".repeat(78 - test.len() - left.len());
            let kind = reason.split(':').next().unwrap();
            let body = "    def test():\n>       assert run()";
            let _ = writeln!(
                text,
                "{left} {test} {right}\n\n{body}\nE   {reason}\n\n{FILE}:20: {kind}"
            );
        }
        text += "=========================== short test summary info ============================\n";
        for (test, reason) in failures {
            let _ = writeln!(text, "FAILED {FILE}::{} - {reason}", test.unwrap());
        }
    }
    let (n_failed, n_passed) = (failed.len(), TESTS.len() - failed.len());
    let counts = if n_failed > 0 {
        format!("{n_failed} failed, {n_passed} passed")
    } else {
        format!("{n_passed} passed")
    };
    let rule = "=".repeat(20);
    text + &format!("{rule} {counts} in 300.00s (0:05:00) {rule}\n")
}

/// Writes a sweep as the script did: a log and a code for each iteration.
fn write(dir: &Path, first: u32, last: u32, failing: &[(u32, &[Failure])]) {
    for iteration in first..=last {
        let run = dir.join(format!("run{iteration:03}"));
        fs::create_dir_all(&run).unwrap();
        let failures = failing
            .iter()
            .find(|one| one.0 == iteration)
            .map_or(&[][..], |one| one.1);
        fs::write(run.join("run.log"), console(failures)).unwrap();
        let is_abort = failures.iter().any(|failure| failure.0.is_none());
        let code = if is_abort {
            "134"
        } else if failures.is_empty() {
            "0"
        } else {
            "1"
        };
        fs::write(run.join(".exit_code"), code).unwrap();
    }
}

/// The report's eight sweeps.
pub(crate) fn rebuilt() -> tempfile::TempDir {
    let logs = tempfile::tempdir().unwrap();
    let dir = |name: &str| logs.path().join(name);
    write(&dir("serial"), 26, 100, &[(29, &[A1]), (35, &[A1])]);
    write(&dir("n1"), 1, 100, &[(28, &[A2]), (71, &[A3]), (99, &[A3])]);
    let crash: &[Failure] = &[B1];
    write(
        &dir("n4"),
        1,
        100,
        &[91, 96, 98, 99, 100].map(|iteration| (iteration, crash)),
    );
    let a2: &[Failure] = &[A2];
    write(
        &dir("serial_fix8"),
        1,
        50,
        &[6, 8, 10, 18, 21, 24, 28, 31, 39, 43, 44, 47, 49].map(|iteration| (iteration, a2)),
    );
    let fix9: Vec<(u32, &[Failure])> = (1..=39)
        .map(|iteration| {
            let failures: &[Failure] = match iteration {
                1..=29 => &[A1],
                30..=32 => &[A1, A2],
                33..=34 => &[A2],
                _ => &[B1],
            };
            // Spread over the sweep, so that it is one regime.
            (iteration * 13 % 50 + 1, failures)
        })
        .collect();
    write(&dir("serial_fix9"), 1, 50, &fix9);
    write(
        &dir("serial_fix13"),
        1,
        50,
        &[(7, &[A1]), (19, &[A2]), (30, &[A2]), (44, &[A3])],
    );
    write(&dir("serial_fix14"), 1, 50, &[(24, &[B1])]);
    write(&dir("serial_fix14-no-prefix-cache"), 1, 50, &[]);
    logs
}

fn json(logs: &Path, words: &[&str]) -> Value {
    let (code, out, err) = run(logs, &[words, &["--format", "json"]].concat());
    assert_eq!(code, 0, "{words:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn class<'a>(comparison: &'a Value, id: &str) -> &'a Value {
    comparison["classes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|class| class["id"] == id)
        .unwrap()
}

#[test]
fn comparisons_of_the_reports_sweeps_say_what_their_numbers_carry() {
    let logs = rebuilt();
    let logs = logs.path();
    let (code, text, _) = run(logs, &["compare", "serial", "serial_fix14-no-prefix-cache"]);
    assert_eq!(code, 0);
    assert!(
        text.starts_with(
            "A1: 2/75 before, 0/50 now: no evidence (p = 0.36); 259 clean runs in a row would show it, 209 more\n"
        ),
        "{text}"
    );

    let fix8 = json(logs, &["compare", "serial_fix8", "serial_fix14-no-prefix-cache"]);
    assert_eq!(class(&fix8, "A2")["verdict"], "fewer");
    assert_eq!(class(&fix8, "A2")["clean_runs_needed"], 12);

    let fix9 = json(logs, &["compare", "serial", "serial_fix9"]);
    assert_eq!(fix9["new"]["failed"], 39);
    assert_eq!(class(&fix9, "A1")["new"]["failed"], 32);
    assert_eq!(class(&fix9, "A1")["verdict"], "more");
    assert_eq!(class(&fix9, "A2")["new"]["failed"], 5);

    let fix14 = json(logs, &["compare", "serial_fix14", "serial_fix14-no-prefix-cache"]);
    assert!((class(&fix14, "B1")["p_less"].as_f64().unwrap() - 0.5).abs() < 1e-12);
    assert_eq!(class(&fix14, "any")["verdict"], "no evidence");
}

#[test]
fn a_sweep_of_two_regimes_is_noted_wherever_it_is_compared() {
    let logs = rebuilt();
    let comparison = json(logs.path(), &["compare", "n4", "serial_fix14"]);
    let notes = comparison["notes"].to_string();
    assert!(
        notes.contains("`n4`: not one constant, independent rate: 0/90 in 1-90, then 5/10 in 91-100 (p = 9e-6)"),
        "{notes}"
    );
    let plan = run(logs.path(), &["plan", "n4"]).1;
    assert!(plan.contains("not one constant, independent rate"), "{plan}");
}

#[test]
fn a_gate_closes_on_the_sweep_that_broke_what_was_fixed_and_names_it() {
    let logs = rebuilt();
    let (code, text, _) = run(logs.path(), &["compare", "serial_fix8", "serial_fix9", "--gate"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("gate: closed: A1 fails more than before"), "{text}");
    assert!(!text.contains("gate: closed: A2"), "{text}");
    let (code, text, _) = run(
        logs.path(),
        &["compare", "serial_fix9", "serial_fix13", "--gate", "--gate-rate", "10%"],
    );
    assert_eq!(code, 0, "{text}");
    let (code, _, _) = run(
        logs.path(),
        &["compare", "serial_fix9", "serial_fix13", "--gate-rate", "5%"],
    );
    assert_eq!(code, 3);
    let annotations = run(
        logs.path(),
        &["compare", "serial_fix8", "serial_fix9", "--format", "github"],
    )
    .1;
    assert!(
        annotations.contains(&format!("::warning file={FILE},title=new category A1::")),
        "{annotations}"
    );
}

#[test]
fn a_plan_of_a_sweep_is_the_number_after_which_its_comparison_says_fewer() {
    let logs = rebuilt();
    let of_counts = json(logs.path(), &["plan", "2/75", "--below", "3%"]);
    let of_sweep = json(logs.path(), &["plan", "serial", "--below", "3%"]);
    for figures in ["base", "runs_to_see_one", "below"] {
        assert_eq!(of_sweep[figures], of_counts[figures]);
    }
    assert_eq!(of_counts["clean_runs_needed"], 259);
    let needed = of_sweep["clean_runs_needed"].as_u64().unwrap();
    let any = &of_sweep["classes"][0];
    assert_eq!((&any["id"], &any["in_proof"]), (&"any".into(), &259.into()));
    let fewer = any["expecting_fewer"].as_u64().unwrap();
    for (clean, flags, verdict) in [
        (needed, &[][..], "fewer"),
        (needed - 1, &[], "no evidence"),
        (fewer, &["--expect", "fewer"], "fewer"),
        (fewer - 1, &["--expect", "fewer"], "no evidence"),
    ] {
        let counts = format!("0/{clean}");
        let found = json(logs.path(), &[&["compare", "serial", &counts], flags].concat());
        assert_eq!(class(&found, "any")["verdict"], verdict, "{counts} {flags:?}");
    }
}

#[test]
fn the_history_says_when_each_class_first_appeared() {
    let logs = rebuilt();
    let names = ["serial_fix8", "serial_fix9", "serial_fix13", "serial_fix14"];
    let history = json(logs.path(), &[&["history"], &names[..]].concat());
    let first = |id: &str| {
        let classes = history["classes"].as_array().unwrap();
        classes.iter().find(|class| class["id"] == id).unwrap()["first_night"].clone()
    };
    assert_eq!(first("A2"), "serial_fix8");
    assert_eq!(first("A1"), "serial_fix9");
    assert_eq!(first("A3"), "serial_fix13");
    assert_eq!(history["nights"].as_array().unwrap().len(), 4);
    let everything = json(logs.path(), &["history", "."]);
    assert_eq!(everything["nights"].as_array().unwrap().len(), 8);
    let (code, _, err) = run(logs.path(), &["history", "serial/run026/nowhere"]);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn sweeps_that_cannot_be_compared_are_refused_in_words() {
    let logs = rebuilt();
    let logs = logs.path();
    fs::create_dir(logs.join("empty")).unwrap();
    fs::create_dir_all(logs.join("unreachable/run001")).unwrap();
    fs::write(
        logs.join("unreachable/run001/exit.json"),
        r#"{"format":1,"code":null,"error":"no container engine answers","ended_by":"itself"}"#,
    )
    .unwrap();
    for (words, code, said) in [
        (&["compare", "serial", "serial"][..], 2, "compared with itself"),
        (&["compare", "serial", "./serial/"], 2, "compared with itself"),
        (&["compare", "serial", "empty"], 1, "holds no recorded iteration"),
        (&["compare", "serial", "."], 1, "holds no recorded iteration"),
        (
            &["compare", "serial", "nowhere"],
            2,
            "neither a sweep's directory nor counts",
        ),
        (
            &["compare", "0/0", "serial"],
            2,
            "nothing can be said about no iterations",
        ),
        (&["compare", "80/50", "serial"], 2, "80 failed of only 50"),
        (&["plan", "unreachable"], 1, "1 iteration errored"),
        (&["plan", "2/75", "--below", "3"], 2, "3%"),
        (&["plan", "2/75", "--alpha", "0"], 2, "level"),
    ] {
        let (found, out, err) = run(logs, words);
        assert_eq!(found, code, "{words:?}: {out}{err}");
        assert!(err.contains(said), "{words:?}: {err}");
        assert!(!err.contains("NaN") && out.is_empty(), "{words:?}: {out}{err}");
    }
}

#[test]
fn runs_that_are_in_both_sweeps_are_noticed() {
    let logs = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        for iteration in 1..=3 {
            let run = logs.path().join(name).join(format!("run{iteration:03}"));
            fs::create_dir_all(&run).unwrap();
            fs::write(run.join("run.log"), console(&[])).unwrap();
            let exit =
                r#"{"format":1,"code":0,"ended_by":"itself","started_at":"2026-11-24T10:00:00Z","duration_s":1.5}"#;
            fs::write(run.join("exit.json"), exit).unwrap();
        }
    }
    let (code, _, err) = run(logs.path(), &["compare", "one", "two"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("share 3 iterations"), "{err}");
}
