//! `amplify` from end to end, on suites whose failures follow from the number of the iteration and the knobs that are on:
//! so every search of a seed is the same, whoever interrupts it.

mod containers;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::cli::{Place, Ran, until};
use crate::shared::Shared;

/// Fails seldom; with SLOW in two of three iterations; with BREAKS for another reason in nine of ten.
const SUITE: &str = r#"import os, time

ITERATION = int(os.environ["REPRODUCE_FLAKY_ITERATION"])

def test_sync():
    while ITERATION == int(os.environ.get("WAITS", 0)) and not os.path.exists("gate"):
        time.sleep(0.05)
    if ITERATION == 2 or (os.environ.get("SLOW") and ITERATION % 3):
        raise AssertionError("Router 1 has 78 events, Standalone A has 71 events")

def test_other():
    if os.environ.get("BREAKS") and ITERATION % 10:
        assert 1 == 2
"#;

const KNOBS: [&str; 6] = [
    "--knob",
    "slow: -E SLOW=1",
    "--knob",
    "calm: -E CALM=1",
    "--knob",
    "breaks: -E BREAKS=1",
];

const DIR: &str = "logs/serial_amplify_A2";

/// A place with a base of four runs, of which the second fails in A2. Sessions are as short as pytest makes them.
fn base(words: &[&str]) -> Place {
    let place = Place::new(&[("test_sync.py", SUITE)]);
    let own = [
        "--progress",
        "none",
        "-e",
        "4",
        "-j",
        "2",
        "-E",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1",
    ];
    place.run(&[&own[..], words].concat()).exits(3);
    place
}

fn local() -> Place {
    base(&["--backend", "local"])
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let own = [
        "amplify",
        "logs/serial",
        "--progress",
        "none",
        "--seed",
        "7",
        "--of",
        "A2",
    ];
    [&own[..], &KNOBS[..], more].concat()
}

fn start(place: &Place, more: &[&str]) -> Child {
    let mut command = place.command(&words(more));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The object on the last line.
pub(crate) fn object(ran: &Ran) -> Value {
    serde_json::from_str(ran.out().lines().last().unwrap()).unwrap()
}

/// What each run of a search had on, and which categories it failed in, by its directory's name.
pub(crate) type Course = BTreeMap<String, (Value, Value)>;

fn course(place: &Place) -> Course {
    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let runs = fs::read_dir(place.path(DIR)).into_iter().flatten().flatten();
    let runs = runs.filter(|entry| entry.file_name().to_string_lossy().starts_with("run"));
    runs.map(|entry| {
        let exit = read(entry.path().join("exit.json"));
        let outcome = read(entry.path().join("outcome.json"));
        let name = entry.file_name().to_string_lossy().into_owned();
        (
            name,
            (exit["conditions"]["amplify"].clone(), outcome["categories"].clone()),
        )
    })
    .collect()
}

/// A search that nobody interrupted, what it said, and its course.
pub(crate) fn whole() -> Arc<(Place, Ran, Course)> {
    static WHOLE: Shared<(Place, Ran, Course)> = Shared::new();
    let search = || {
        let place = local();
        let ran = place.run(&words(&["-j", "4", "--format", "json"])).exits(0);
        let course = course(&place);
        Some((place, ran, course))
    };
    WHOLE.get(search).unwrap()
}

#[test]
fn the_knob_that_helps_is_shown_with_its_flags_and_what_each_run_had_on() {
    let whole = whole();
    let (place, ran, course) = &*whole;
    let err = ran.err();
    assert!(
        err.contains("A2: 1/4 before; at most 150 runs, ") && err.contains("of which the search takes 24 to 97"),
        "{err}"
    );
    assert!(err.contains("3 knobs: slow, calm, breaks (--seed 7)"), "{err}");
    let found = object(ran);
    assert_eq!(
        (&found["format"], &found["class"], &found["state"]),
        (&1.into(), &"A2".into(), &"shown".into())
    );
    assert!(found["winner"].as_array().unwrap().contains(&"slow".into()), "{found}");
    assert!(
        !found["winner"].as_array().unwrap().contains(&"breaks".into()),
        "{found}"
    );
    assert_eq!(found["flags"].as_array().unwrap()[..2], ["-E", "SLOW=1"]);
    assert_eq!(found["amplified"]["failed"], 10, "{found}");
    let (low, factor) = (
        found["amplified"]["low"].as_f64().unwrap(),
        found["factor_low"].as_f64().unwrap(),
    );
    assert!((0.3..0.7).contains(&low) && factor > 1.0, "{found}");
    let verdicts: Vec<&str> = (found["knobs"].as_array().unwrap().iter())
        .map(|knob| knob["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts[2], "dropped", "{found}");
    assert_eq!(found["runs"], course.len());
    let stages: Vec<&str> = course
        .values()
        .map(|(part, _)| part["stage"].as_str().unwrap())
        .collect();
    assert!(stages[..24].iter().all(|stage| *stage == "search"), "{stages:?}");
    assert!(stages.contains(&"confirm"), "{stages:?}");
    let has = |part: &Value, name: &str| part["on"].as_array().unwrap().contains(&name.into());
    for (name, (part, categories)) in course {
        let number: u32 = name[3..].parse().unwrap();
        let fails = number == 2 || has(part, "slow") && !number.is_multiple_of(3);
        assert_eq!(
            categories.as_array().unwrap().contains(&"A2".into()),
            fails,
            "{name}: {part}"
        );
        assert_eq!(
            part["role"] == "base",
            part["on"] == json!([]) && part["stage"] == "confirm",
            "{name}: {part}"
        );
    }
    // Asked again, it says the same in words and runs nothing.
    let again = place.run(&words(&[])).exits(0);
    assert!(again.err().contains("nothing is run"), "{}", again.err());
    let out = again.out();
    assert!(
        out.starts_with("A2: 1/") && out.contains(" as it is, 10/") && out.contains("to repeat it: -E SLOW=1"),
        "{out}"
    );
    assert!(out.contains("dropped: it brings other failures"), "{out}");
    assert_eq!(found["runs"], self::course(place).len());
    // The flags do what it says.
    let repeated = [
        "--backend",
        "local",
        "-e",
        "4",
        "-t",
        "again",
        "--progress",
        "none",
        "-E",
        "SLOW=1",
    ];
    place.run(&repeated).exits(3);
    assert_eq!(
        place
            .rows("logs/serial_again")
            .values()
            .filter(|row| row["categories"].contains("A2"))
            .count(),
        3
    );
    the_winner_is_the_condition_of_other_runs(place);
    // Another search in its place is refused.
    let err = place.run(&words(&["--seed", "8"])).exits(1).err();
    assert!(
        err.contains("was begun as another search (--seed)\nhint: name the new search with --tag"),
        "{err}"
    );
}

/// `--condition-of` a search that has shown that SLOW helps.
fn the_winner_is_the_condition_of_other_runs(place: &Place) {
    let sweep = |tag: &str, more: &[&str]| {
        let own = ["--backend", "local", "--progress", "none", "-e", "1", "-t", tag];
        place.run(&[&own[..], &["--condition-of", DIR], more].concat())
    };
    let spec =
        |dir: &str| serde_json::from_slice::<Value>(&fs::read(place.path(dir).join("sweep.json")).unwrap()).unwrap();
    // The first iteration fails under it alone.
    let err = sweep("under", &[]).exits(3).err();
    let said = format!("note: under the conditions of `{DIR}`: slow (-E SLOW=1)");
    assert!(err.contains(&said), "{err}");
    let under = spec("logs/serial_under");
    assert_eq!(under["env"][0], json!({"name": "SLOW", "value": "1"}));
    assert_eq!(
        under["condition_of"]["knobs"],
        json!([{"name": "slow", "flags": ["-E", "SLOW=1"]}])
    );
    let out = place.run(&["summary", "logs/serial_under"]).exits(0).out();
    assert!(out.contains("conditions of serial_amplify_A2 (slow)"), "{out}");
    let out = place.run(&["compare", "logs/serial", "logs/serial_under"]).out();
    assert!(out.contains("variable SLOW"), "{out}");
    // What is given wins, and arms have conditions of their own.
    sweep("given", &["-E", "SLOW="]).exits(0);
    let arms = ["--arm", "plain", "--arm", "hard --condition-of logs/serial_amplify_A2"];
    let own = ["--backend", "local", "--progress", "none", "-e", "1"];
    place.run(&[&own[..], &arms].concat()).exits(3);
    assert_eq!(place.rows("logs/serial_plain")[&1]["verdict"], "passed");
    assert_eq!(place.rows("logs/serial_hard")[&1]["verdict"], "failed");
    // A proof runs its base again under them.
    let proof = [
        "prove",
        "logs/serial",
        "-E",
        "FIX=1",
        "--progress",
        "none",
        "--condition-of",
        DIR,
    ];
    let mut proving = place.command(&proof);
    let mut proving = proving.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let sides = ["logs/serial_prove_A2-base", "logs/serial_prove_A2"];
    until("both sides", || {
        sides.iter().all(|side| place.path(side).join("sweep.json").is_file())
    });
    proving.kill().unwrap();
    crate::place::end_processes_of(place.dir.path());
    let err = Ran::of(proving.wait_with_output().unwrap()).err();
    assert!(
        err.contains("variable SLOW `not set` before, `1` now: the base is run again beside the fix"),
        "{err}"
    );
    // Its cost is that of the rate which the search has measured, not of the recorded one.
    let cost = err
        .lines()
        .find(|line| line.contains(" 1/4 before; with the base run again"))
        .unwrap();
    assert!(
        cost.contains("; it came in 10/") && !cost.contains("about 20 blocks"),
        "{cost}"
    );
    let has_it = |dir: &str| spec(dir)["env"].as_array().unwrap().contains(&under["env"][0]);
    assert!(sides.iter().all(|side| has_it(side)));
    // A replay has them beside what the run had.
    let ran = place
        .run(&["replay", "logs/serial", "2", "--times", "1", "--condition-of", DIR])
        .exits(3);
    let err = ran.err();
    let home = err.lines().find_map(|line| line.strip_prefix("kept in ")).unwrap();
    let list = fs::read_dir(place.path(home)).unwrap().next().unwrap().unwrap();
    assert!(has_it(list.path().to_str().unwrap()));
}

#[test]
fn two_processes_share_one_search_and_come_to_one_answer() {
    let place = local();
    let both = [(); 2].map(|()| start(&place, &["--format", "json"]));
    let found = both.map(|child| object(&Ran::of(child.wait_with_output().unwrap()).exits(0)));
    let course = course(&place);
    for one in &found {
        assert_eq!(
            (&one["state"], &one["winner"]),
            (&"shown".into(), &json!(["slow"])),
            "{one}"
        );
        assert!(one["runs"].as_u64().unwrap() <= course.len() as u64);
    }
    // No block of the confirmation has more than its run of each side, and the numbers have no gap.
    let confirming = |role: &str| {
        let is_it = |(part, _): &&(Value, Value)| part["stage"] == "confirm" && part["role"] == role;
        course.values().filter(is_it).count()
    };
    assert!(confirming("winner").abs_diff(confirming("base")) <= 4, "{course:?}");
    let last = format!("run{:03}", course.len());
    assert_eq!(course.keys().next_back(), Some(&last));
}

#[test]
fn a_search_that_is_killed_inside_a_block_goes_on_to_the_same_course() {
    let whole = whole();
    let place = local();
    let mut killed = start(&place, &["-E", "WAITS=13"]);
    until("twelve runs and one that waits", || course(&place).len() == 12);
    killed.kill().unwrap();
    killed.wait().unwrap();
    crate::place::end_processes_of(place.dir.path());
    fs::write(place.path("gate"), "").unwrap();
    let ran = place.run(&words(&["-E", "WAITS=13", "--format", "json"])).exits(0);
    assert_eq!(object(&ran)["state"], "shown");
    assert_eq!(course(&place), whole.2);
}

#[test]
fn a_search_that_is_interrupted_is_open_and_says_what_is_known() {
    let place = local();
    let stopped = start(&place, &["-E", "WAITS=10", "--format", "json"]);
    until("nine runs and one that waits", || course(&place).len() == 9);
    kill_process(Pid::from_child(&stopped), Signal::INT).unwrap();
    fs::write(place.path("gate"), "").unwrap();
    let found = object(&Ran::of(stopped.wait_with_output().unwrap()).exits(130));
    assert_eq!(
        (&found["state"], &found["winner"]),
        (&"open".into(), &json!([])),
        "{found}"
    );
    assert_eq!(found["knobs"].as_array().unwrap().len(), 3);
    let under = ["--backend", "local", "-e", "1", "-t", "x", "--condition-of", DIR];
    let err = place.run(&under).exits(1).err();
    assert!(
        err.contains(&format!(
            "error: `{DIR}` is a search that is still open: no condition is shown yet\nhint: "
        )),
        "{err}"
    );
}

#[test]
fn where_no_knob_helps_it_is_said_that_nothing_was_shown() {
    let place = Place::new(&[("test_pass.py", "def test_pass():\n    pass\n")]);
    let words = [
        "amplify",
        "--of",
        "A2",
        "--backend",
        "local",
        "-j",
        "8",
        "--max-runs",
        "80",
        "--progress",
        "none",
        "--knob",
        "a: -E A=1",
        "--knob",
        "b: -E B=1",
        "--knob",
        "c: -- -q",
        "--",
        "test_pass.py",
    ];
    let out = place.run(&words).exits(4).out();
    assert!(out.starts_with("A2: nothing shown in 48 runs: "), "{out}");
    assert!(out.contains("not told apart") && !out.contains("matters"), "{out}");
    assert!(out.contains("\nnext\n  a condition that is stronger"), "{out}");
    let under = ["--backend", "local", "-e", "1", "-t", "x", "--condition-of", DIR];
    let err = place.run(&under).exits(1).err();
    assert!(
        err.contains(&format!(
            "error: `{DIR}` is a search that has shown no condition\nhint: name a sweep"
        )),
        "{err}"
    );
}
