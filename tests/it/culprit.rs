//! `culprit` from end to end: which candidate it names, after how many runs, and what it says where there is none.

mod commits;
mod images;
mod refusals;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::cli::{Place, Ran, until};

/// Fails from a value on, in a share of its runs that is drawn by candidate and iteration; one value fails otherwise,
/// one errors, one waits for a file.
pub(crate) const SUITE: &str = r#"import os, random, time

VALUE = int(os.environ["VALUE"])
ITERATION = os.environ["REPRODUCE_FLAKY_ITERATION"]

def number(name, default):
    return float(os.environ.get(name, default))

def test_pool():
    while VALUE == number("WAITS", -1) and not os.path.exists("gate"):
        time.sleep(0.05)
    if VALUE == number("OTHER", -1):
        assert 1 == 2
    if VALUE == number("ERRS", -1):
        raise RuntimeError("Failed to fetch model 'm' from HuggingFace: error sending request for url (https://huggingface.co/api/m)")
    drawn = random.Random(f"{os.environ.get('SEED', 1)}/{VALUE}/{ITERATION}").random()
    rate = number("RATE", 1) if VALUE >= number("FROM", 0) else number("BEFORE", 0)
    if drawn < rate:
        raise AssertionError("Router 1 has 78 events, Standalone A has 71 events")
"#;

/// Sessions as short as pytest makes them.
pub(crate) const LOCAL: [&str; 8] = [
    "--backend",
    "local",
    "--progress",
    "none",
    "-j",
    "2",
    "-E",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1",
];

fn place() -> Place {
    Place::new(&[("test_pool.py", SUITE)])
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["culprit", "--of", "A2"], &LOCAL[..], more].concat()
}

fn culprit(place: &Place, more: &[&str]) -> Ran {
    place.run(&words(more))
}

/// The object on the last line.
pub(crate) fn json(ran: &Ran) -> Value {
    serde_json::from_str(ran.out().lines().last().unwrap()).unwrap()
}

/// Runs recorded below a search's directory.
pub(crate) fn recorded(search: &Path) -> usize {
    let sweeps = fs::read_dir(search).into_iter().flatten().flatten();
    let runs = sweeps.flat_map(|sweep| fs::read_dir(sweep.path()).into_iter().flatten().flatten());
    runs.filter(|entry| entry.file_name().to_string_lossy().starts_with("run"))
        .count()
}

#[test]
fn the_value_that_a_failure_came_with_is_found_confirmed_and_shown() {
    let place = place();
    let axis = ["--values", "VALUE=1,2,3,4,5,6,7,8", "-E", "FROM=6"];
    let ran = culprit(&place, &[&axis[..], &["--format", "json"]].concat()).exits(0);
    let found = json(&ran);
    assert_eq!(
        (&found["state"], &found["culprit"], &found["class"], &found["answer"]),
        (&"found".into(), &"VALUE=6".into(), &"A2".into(), &"culprit".into()),
        "{found}"
    );
    assert!(found["confidence"].as_f64().unwrap() >= 0.95, "{found}");
    assert_eq!(found["confirmation"]["only_culprit"], 5);
    let candidates = found["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 8);
    let names: Vec<&str> = candidates.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[7]), ("VALUE=1", "VALUE=8"));
    let runs = usize::try_from(found["runs"].as_u64().unwrap()).unwrap();
    assert_eq!(recorded(&place.path("logs/culprit_A2")), runs);
    assert!(runs <= 30, "{runs} runs for a failure of every run");
    // What it costs is said first.
    let err = ran.err();
    assert!(
        err.contains(
            "A2: 8 candidates from `VALUE=1` to `VALUE=8`: to name one and confirm it takes about so many runs:"
        ),
        "{err}"
    );
    // Each candidate is a sweep, and each run says what it was part of.
    let exit: Value =
        serde_json::from_slice(&fs::read(place.path("logs/culprit_A2/serial_VALUE-6/run001/exit.json")).unwrap())
            .unwrap();
    let part = &exit["conditions"]["culprit"];
    assert_eq!(
        (&part["candidate"], &part["attempt"]),
        (&"VALUE=6".into(), &1.into()),
        "{exit}"
    );
    place.run(&["summary", "logs/culprit_A2"]).exits(0);
    // Asked again it runs nothing and says the same in words, with the page.
    let again = culprit(&place, &axis).exits(0);
    let out = again.out();
    assert!(out.starts_with("A2 came with VALUE=6 ("), "{out}");
    assert!(
        out.contains(" before it, ") && out.contains("confirmed 5 to 0 in 5 blocks"),
        "{out}"
    );
    assert!(again.err().contains("note: nothing is run"), "{}", again.err());
    assert_eq!(recorded(&place.path("logs/culprit_A2")), runs);
    let page = fs::read_to_string(place.path("logs/culprit_A2/culprit.html")).unwrap();
    assert!(
        page.contains("<svg") && page.contains("VALUE=6") && page.contains("confirmed 5 to 0"),
        "{page}"
    );
    let show = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("reproduce-flaky show "))
        .unwrap();
    place.run(&["show", show.split("   ").next().unwrap()]).exits(0);
}

#[test]
fn a_failure_that_was_there_before_came_with_none_of_them() {
    let place = place();
    let ran = culprit(&place, &["--values", "VALUE=1,2,3,4", "-E", "RATE=0.9"]).exits(4);
    let out = ran.out();
    assert!(out.starts_with("A2: none of these: it was there before (9"), "{out}");
    let again = culprit(
        &place,
        &["--values", "VALUE=1,2,3,4", "-E", "RATE=0.9", "--format", "json"],
    )
    .exits(4);
    let found = json(&again);
    assert_eq!(
        (&found["state"], &found["answer"], &found["culprit"]),
        (&"none".into(), &"before".into(), &Value::Null),
        "{found}"
    );
    assert!(found["none"].as_f64().unwrap() >= 0.95, "{found}");
}

#[test]
fn what_never_fails_at_the_bad_end_is_not_searched_for() {
    let place = place();
    let ran = culprit(
        &place,
        &["--values", "VALUE=1,2,3,4", "-E", "FROM=9", "--max-runs", "12"],
    )
    .exits(4);
    assert!(
        ran.out()
            .starts_with("A2: undecided: 0/4 at the bad end, `VALUE=4`, which is too rare to search for"),
        "{}",
        ran.out()
    );
}

#[test]
fn a_candidate_that_fails_otherwise_or_errors_is_left_out_and_named() {
    let place = place();
    let more = [
        "--values",
        "VALUE=1,2,3,4,5",
        "-E",
        "FROM=4",
        "-E",
        "OTHER=3",
        "--no-confirm",
    ];
    let ran = culprit(&place, &more).exits(0);
    let out = ran.out();
    assert!(
        out.starts_with("A2 came with VALUE=4, or with `VALUE=3` before it, which cannot be run ("),
        "{out}"
    );
    assert!(
        out.contains("VALUE=3") && out.contains("left out: failed UNKNOWN"),
        "{out}"
    );
    let more = [
        "--values",
        "VALUE=1,2,3,4,5",
        "-E",
        "FROM=3",
        "-E",
        "ERRS=4",
        "-t",
        "errs",
        "--format",
        "json",
    ];
    let found = json(&culprit(&place, &more).exits(0));
    assert_eq!(found["culprit"], "VALUE=3", "{found}");
    let at = |name: &str| {
        let all = found["candidates"].as_array().unwrap().iter();
        all.clone().find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!(at("VALUE=4")["of"], 0, "{found}");
    // The bad end has to run.
    let err = culprit(&place, &["--values", "VALUE=1,2,3", "-E", "OTHER=3", "-t", "bad"])
        .exits(1)
        .err();
    assert!(
        err.contains("error: the bad end, `VALUE=3`, cannot be run: failed UNKNOWN"),
        "{err}"
    );
}

#[test]
fn candidates_are_told_apart_by_any_flags_and_recorded_sweeps_count() {
    let place = place();
    let shared = [&LOCAL[..], &["-E", "RATE=0.5"]].concat();
    for (tag, value, code) in [("good", "VALUE=1", 0), ("bad", "VALUE=3", 3)] {
        let own = ["-E", value, "-E", "FROM=2", "-e", "8", "-t", tag];
        place.run(&[&shared[..], &own].concat()).exits(code);
    }
    fs::write(
        place.path("axis"),
        "# the pool\nold -E VALUE=1\n\nnew -E VALUE=2 -E RATE=1\n'newest one' -E VALUE=3 -E RATE=1\n",
    )
    .unwrap();
    let ends = [
        "--recorded",
        "old=logs/serial_good",
        "--recorded",
        "newest one=logs/serial_bad",
    ];
    let axis = [&["--candidates", "axis", "-E", "FROM=2", "--format", "json"], &ends[..]].concat();
    let ran = culprit(&place, &axis).exits(0);
    let found = json(&ran);
    assert_eq!(found["culprit"], "new", "{found}");
    assert!(found["candidates"][0]["of"].as_u64().unwrap() >= 8, "{found}");
    assert!(
        ran.err()
            .contains(" at the bad end, 3 candidates from `old` to `newest one`: about "),
        "{}",
        ran.err()
    );
    assert!(
        place.path("logs/culprit_A2/serial_newest-one/sweep.json").is_file()
            || recorded(&place.path("logs/culprit_A2/serial_newest-one")) == 0
    );
}

#[test]
fn a_search_that_was_killed_in_the_middle_of_a_round_goes_on() {
    let place = place();
    let axis = [
        "--values",
        "VALUE=1,2,3,4,5,6",
        "-E",
        "FROM=4",
        "-E",
        "WAITS=3",
        "--format",
        "json",
    ];
    let mut command = place.command(&words(&axis));
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // A round of two, of which one waits, or both; three runs of the bad end are behind it.
    let search = place.path("logs/culprit_A2");
    until("a run that waits", || {
        fs::read_dir(search.join("serial_VALUE-3/.attempts")).is_ok_and(|mut all| all.next().is_some())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    crate::place::end_processes_of(place.dir.path());
    let before = recorded(&search);
    assert!(before >= 3, "{before}");
    fs::write(place.path("gate"), "").unwrap();
    let found = json(&culprit(&place, &axis).exits(0));
    assert_eq!(found["culprit"], "VALUE=4", "{found}");
    assert_eq!(
        usize::try_from(found["runs"].as_u64().unwrap()).unwrap(),
        recorded(&search)
    );
    assert!(recorded(&search) > before);
    // What was asked then cannot become another question.
    let other = ["--values", "VALUE=1,2,3,4,5,7", "-E", "FROM=4"];
    let err = culprit(&place, &other).exits(1).err();
    assert!(
        err.contains(
            "error: `logs/culprit_A2` was begun as another search (candidates)\nhint: name the new search with --tag"
        ),
        "{err}"
    );
}

#[test]
fn conditions_of_a_recorded_sweep_are_those_of_every_probe() {
    let place = place();
    let base = [
        "-e",
        "1",
        "-t",
        "busy",
        "-E",
        "VALUE=1",
        "-E",
        "RATE=0",
        "--condition",
        "switch-interval",
    ];
    place.run(&[&LOCAL[..], &base].concat()).exits(0);
    let more = [
        "--values",
        "VALUE=1,2,3",
        "-E",
        "FROM=2",
        "--condition-of",
        "logs/serial_busy",
        "--no-confirm",
    ];
    culprit(&place, &more).exits(0);
    let exit: Value =
        serde_json::from_slice(&fs::read(place.path("logs/culprit_A2/serial_VALUE-3/run001/exit.json")).unwrap())
            .unwrap();
    assert_eq!(
        exit["conditions"]["named"],
        serde_json::json!(["switch-interval"]),
        "{exit}"
    );
    let err = culprit(&place, &["--values", "VALUE=1,2", "--condition-of", "nowhere"])
        .exits(2)
        .err();
    assert!(err.contains("error: `nowhere` is no recorded sweep"), "{err}");
}
