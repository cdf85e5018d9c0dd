//! What `amplify` does not search, and what it says then.

use super::{DIR, local};

#[test]
fn what_cannot_be_searched_is_refused_before_anything_runs() {
    let place = local();
    let refused = |words: &[&str], code: i32, expected: &str| {
        let err = place.run(&[&["amplify"], words].concat()).exits(code).err();
        assert!(err.contains(expected), "{words:?}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    };
    let with = |knobs: [&'static str; 3]| {
        let mut words = vec!["logs/serial", "--of", "A2"];
        for knob in knobs {
            words.extend(["--knob", knob]);
        }
        words
    };
    refused(
        &[],
        2,
        "nothing says what is to come more often\nhint: name a recorded sweep",
    );
    refused(
        &["logs/none", "--of", "A2"],
        2,
        "`logs/none` is neither a sweep's directory",
    );
    refused(
        &["test_sync.py", "--of", "A2"],
        2,
        "`test_sync.py` is no sweep\nhint: name a recorded sweep",
    );
    refused(&["2/75", "--of", "A2"], 2, "`2/75` are counts");
    refused(&["logs/serial", "--of", "passed"], 2, "`passed` is no failure");
    refused(&["logs/serial", "--max-runs", "10"], 2, "10 is not in 80..=100000");
    refused(&["logs/serial", "--retry", "failed"], 2, "--retry has no place here");
    refused(
        &with(["fast", "one-core", "malloc"]),
        2,
        "no knob is called `fast`\nhint: one of cpus, one-core",
    );
    refused(&with(["noise", "one-core", "malloc"]), 2, "`noise` is no knob");
    refused(
        &with(["one-core", "one-core", "malloc"]),
        2,
        "two knobs are called `one-core`",
    );
    refused(
        &with(["cpus", "one-core", "malloc"]),
        2,
        "the knob `cpus` would change nothing",
    );
    refused(
        &with(["workers", "one-core", "malloc"]),
        2,
        "no number of xdist workers is named",
    );
    refused(
        &with(["x: -i other", "one-core", "malloc"]),
        2,
        "invalid knob `x`: --image is the same for all runs",
    );
    refused(
        &with(["x: --nonsense", "one-core", "malloc"]),
        2,
        "invalid knob `x`: unexpected argument '--nonsense'",
    );
    refused(&with(["x:", "one-core", "malloc"]), 2, "the knob `x` has no flags");
    refused(
        &["logs/serial", "--knob", "malloc"],
        2,
        "a search takes 3 to 12 knobs, and here are 1 (malloc)",
    );
    assert!(!place.path(DIR).exists());
    // What would be tried is said without trying it.
    let ran = place.run(&["amplify", "logs/serial", "--dry-run"]).exits(0);
    assert!(
        ran.err()
            .contains("4 knobs: one-core, switch-interval, threads, malloc")
            || ran.err().contains("order"),
        "{}",
        ran.err()
    );
    assert!(!place.path(DIR).exists());
}
