//! What is handed on to sessions reaches them as given, and arms that make no sense are refused.

use std::fs;
use std::path::PathBuf;

use super::Place;
use crate::engine;

/// Whatever a shell would run, were there one between the user's words and the session.
const SHELL: &str = "$(touch pwned); `touch pwned` && touch pwned | \"touch pwned\" 'x";

#[track_caller]
fn words_stay_words(backend: &[&str]) {
    let test = format!("import os\ndef test_a():\n    assert os.environ['GIVEN'] == {SHELL:?}\n");
    let place = Place::new(&[("sub $(touch pwned);/test_a.py", &test)]);
    let (given, deselected) = (format!("GIVEN={SHELL}"), format!("--deselect={SHELL}"));
    let words = [
        "-e",
        "1",
        "--logs-dir",
        "logs $(touch pwned);",
        "-E",
        &given,
        "--",
        &deselected,
    ];
    place.run(&[backend, &words].concat()).exits(0);
    let run = place.path("logs $(touch pwned);/serial/run001");
    let exit: serde_json::Value = serde_json::from_slice(&fs::read(run.join("exit.json")).unwrap()).unwrap();
    assert!(exit["argv"].as_array().unwrap().contains(&deselected.into()), "{exit}");
    let found: Vec<PathBuf> = [place.dir.path(), &place.path("sub $(touch pwned);"), &run]
        .iter()
        .map(|dir| dir.join("pwned"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn what_a_shell_would_run_reaches_the_session_as_it_is() {
    words_stay_words(&["--backend", "local"]);
    if engine::daemon() {
        words_stay_words(&["--image", "host"]);
    }
}

#[test]
fn arms_run_side_by_side_until_they_are_shown_to_differ() {
    let place = Place::new(&[(
        "test_arm.py",
        "import os\n\ndef test_arm():\n    assert os.environ['FAILS'] == '0'\n",
    )]);
    let arms = ["--arm", "before -E FAILS=1", "--arm", "after -E FAILS=0"];
    let words = [
        &["--backend", "local", "-e", "60", "-t", "fix", "--stop", "decided"],
        &arms[..],
    ]
    .concat();
    let ran = place.run(&words).exits(3);
    assert!(ran.err().contains("stopped by the rule `decided`"), "{}", ran.err());
    let (before, after) = (
        place.rows("logs/serial_fix-before"),
        place.rows("logs/serial_fix-after"),
    );
    assert!(
        before.len() < 60 && before.len().abs_diff(after.len()) <= 1,
        "{} {}",
        before.len(),
        after.len()
    );
    assert!(
        before.values().all(|row| row["verdict"] == "failed") && after.values().all(|row| row["verdict"] == "passed")
    );
    assert!(ran.out().contains("fewer"), "{}", ran.out());
    let specs = ["before", "after"].map(|arm| {
        let text = fs::read_to_string(place.path(&format!("logs/serial_fix-{arm}/sweep.json"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    });
    assert_eq!(specs[0]["arm"]["seed"], specs[1]["arm"]["seed"]);
    assert_eq!(specs[1]["ended"], "decided");
    // The same command line goes on where it stopped, which is nowhere: it is decided already.
    let again = place.run(&words).exits(3);
    assert!(again.err().contains("stopped by the rule `decided`"), "{}", again.err());
    assert_eq!(place.rows("logs/serial_fix-before").len(), before.len());
}

#[test]
fn arms_that_make_no_sense_are_refused() {
    let place = Place::passing();
    for (words, expected) in [
        (&["--arm", "only"][..], "there is only one arm, `only`"),
        (&["--arm", "a", "--arm", "a -j 2"], "all arms share"),
        (&["--arm", "a", "--arm", "a"], "two arms are called `a`"),
        (&["--arm", "a/b", "--arm", "c"], "invalid arm `a/b`"),
        (
            &["--arm", "a --nonsense", "--arm", "c"],
            "unexpected argument '--nonsense'",
        ),
        (&["--arm", "a 'x", "--arm", "c"], "invalid arm `a 'x`"),
        (&["--until", "Z9"], "no signature has the id `Z9`"),
    ] {
        let ran = place.run(words).exits(2);
        assert!(ran.err().contains(expected), "{words:?}: {}", ran.err());
    }
}
