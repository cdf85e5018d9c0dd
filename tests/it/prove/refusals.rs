//! Bases that prove nothing, and those of which nothing runs here unasked.

use std::fs;

use super::{LOCAL, SUITE, base};
use crate::cli::{Place, Ran};

#[test]
fn a_base_that_proves_nothing_is_refused_in_words() {
    let place = base("1,3,5");
    let errors = |words: &[&str], code: i32| {
        let err = place.run(&[&["prove"], words].concat()).exits(code).err();
        err.lines()
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (words, code, said) in [
        (
            &["2/75"][..],
            2,
            "error: `2/75` are counts, and a proof needs the recorded runs of a sweep\nhint: name its directory; reproduce-flaky plan 2/75",
        ),
        (
            &["nowhere"],
            2,
            "error: `nowhere` is neither a sweep's directory nor counts",
        ),
        (
            &["logs"],
            1,
            "error: `logs` holds no recorded iteration\nhint: name one sweep, such as logs/serial",
        ),
        (
            &["serial", "--of", "A9"],
            1,
            "error: nothing to prove: no failure of the class `A9` in the 6 answered runs of `logs/serial`\nhint: what failed there: A2 (3/6)",
        ),
        (
            &["serial", "--of", "passed"],
            2,
            "`passed` is no failure; expected a category such as `A4`, `any`, or one of hung, crashed, timed_out, failed",
        ),
        (
            &["serial", "-e", "9"],
            2,
            "error: --end has no place here: a proof decides itself how many runs it takes",
        ),
        (
            &["serial", "--to", "0.9"],
            1,
            "error: no plan shows with a probability of 80 % that 90 % of 3/6 is left: the best shows",
        ),
        (&["serial", "--to", "2"], 2, "expected a rate"),
    ] {
        let err = errors(words, code);
        assert!(err.contains(said), "{words:?}: {err}");
    }
    place.run(&[&LOCAL[..], &["-e", "2", "-t", "clean"]].concat()).exits(0);
    let err = errors(&["serial_clean"], 1);
    assert!(
        err.contains("nothing to prove: none of the 2 answered runs of `logs/serial_clean` failed"),
        "{err}"
    );
    place
        .run(
            &[
                &LOCAL[..],
                &["-e", "3", "-t", "both", "-E", "FAILS=1", "-E", "OTHERS=2"],
            ]
            .concat(),
        )
        .exits(3);
    let err = errors(&["serial_both"], 2);
    assert!(
        err.contains("`logs/serial_both` failed in several classes: A2 (1/3), UNKNOWN (1/3)\nhint: name the one the fix is for, such as --of A2"),
        "{err}"
    );
    place
        .run(&[&LOCAL[..], &["-e", "1", "-t", "prove_A2"]].concat())
        .exits(0);
    let err = errors(&["serial"], 1);
    assert!(
        err.contains(
            "error: `logs/serial_prove_A2` holds a sweep that proves nothing\nhint: name the new proof with --tag"
        ),
        "{err}"
    );
}

#[test]
fn nothing_of_a_base_that_came_in_with_a_bundle_runs_unasked() {
    let sender = base("1,3,5,7,8,9,10");
    sender.run(&["export", "logs", "-o", "out.tar.zst"]).exits(0);
    let reader = Place::new(&[("test_sync.py", SUITE)]);
    let bundle = sender.path("out.tar.zst").display().to_string();
    reader.run(&["import", &bundle, "--logs-dir", "in"]).exits(0);
    let words = |more: &[&'static str]| {
        let mut words = vec!["prove", "in/serial", "--progress", "none", "--backend", "local"];
        words.extend(more);
        words
    };
    let err = reader.run(&words(&["--control", "-E", "FAILS="])).exits(1).err();
    assert!(
        err.contains("`in/serial` came in with a bundle, and nothing of it runs here unasked"),
        "{err}"
    );
    // Its counts may be trusted; nothing else is taken from it: not the variable that makes runs fail.
    reader.run(&words(&["--trust-base", "-t", "trusted"])).exits(0);
    let spec = fs::read_to_string(reader.path("logs/serial_prove_trusted/sweep.json")).unwrap();
    assert!(!spec.contains("FAILS"), "{spec}");
    // Told to, it runs, with the variables that it names as they are here.
    let words = words(&["--control", "-E", "FAILS=", "--allow", "local,env"]);
    let told = reader.command(&words).env("FAILS", "1,3,5,7,8,9,10").output().unwrap();
    let ran = Ran::of(told).exits(0);
    assert!(ran.out().starts_with("A2: fewer: 0/8 beside 5/8"), "{}", ran.out());
}
