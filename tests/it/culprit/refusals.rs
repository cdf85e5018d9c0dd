//! Searches that cannot be: said before anything runs.

use std::fs;

use super::{culprit, place};

#[test]
fn a_search_that_cannot_be_is_refused_in_words() {
    let place = place();
    fs::write(place.path("empty"), "# nothing\n").unwrap();
    for (words, said) in [
        (
            &[][..],
            "error: nothing says among which candidates to search\nhint: --images A B C, --commits GOOD..BAD",
        ),
        (
            &["--values", "VALUE=1"],
            "error: there is only one candidate, `VALUE=1`\nhint: name at least a good one and a bad one",
        ),
        (
            &["--values", "VALUE"],
            "error: invalid values `VALUE`: no `=` stands in it",
        ),
        (
            &["--values", "VALUE=1,2,1"],
            "error: two candidates are called `VALUE=1`",
        ),
        (
            &["--values", "VALUE=1,2", "--candidate", "a", "--candidate", "b"],
            "error: --candidate and --values name candidates each, and a search has one axis",
        ),
        (
            &["--candidate", "a -E X=1", "--candidate", "a -E X=2"],
            "error: two candidates are called `a`",
        ),
        (&["--candidate", "a -E X=1"], "error: there is only one candidate, `a`"),
        (
            &["--candidate", " -E X=1", "--candidate", "b"],
            "invalid candidate ` -E X=1`: it begins with a flag",
        ),
        (
            &["--candidate", "a --nosuch", "--candidate", "b"],
            "invalid candidate `a --nosuch`: unexpected argument '--nosuch'",
        ),
        (
            &["--candidate", "a -j 4", "--candidate", "b"],
            "invalid candidate `a -j 4`: all candidates share --jobs",
        ),
        (
            &["--candidate", "a 'b", "--candidate", "b"],
            "error: invalid candidate `a 'b`: ",
        ),
        (&["--candidates", "empty"], "error: no candidate is named"),
        (&["--images", "a:1", "a:2"], "error: --images needs containers"),
        (
            &["--values", "VALUE=1,2", "-e", "9"],
            "error: --end has no place here: a search decides itself",
        ),
        (
            &["--values", "VALUE=1,2", "--engine", "slurm"],
            "error: --engine has no place here: which run comes next follows from the last ones",
        ),
        (
            &["--values", "VALUE=1,2", "--weights", "VALUE=9=2"],
            "error: no candidate is called `VALUE=9`, as --weights has it\nhint: they are VALUE=1, VALUE=2",
        ),
        (
            &["--values", "VALUE=1,2", "--weights", "VALUE=2=0"],
            "error: all weights are 0",
        ),
        (
            &["--values", "VALUE=1,2", "--weights", "VALUE=2=x"],
            "error: invalid weight `x` of `VALUE=2`",
        ),
        (
            &["--values", "VALUE=1,2", "--recorded", "VALUE=1=nowhere"],
            "error: `nowhere` is no recorded sweep",
        ),
        (&["--values", "VALUE=1,2", "--first-parent"], "--commits"),
        (&["--values", "VALUE=1,2", "--max-runs", "3"], "--max-runs"),
        (
            &["--commits", "v1"],
            "error: invalid range `v1`\nhint: --commits GOOD..BAD",
        ),
        (&["--commits", "v1...v2"], "error: invalid range `v1...v2`"),
    ] {
        let err = culprit(&place, words).exits(2).err();
        assert!(err.contains(said), "{words:?}: {err}");
    }
    let err = culprit(&place, &["--candidates", "nowhere"]).exits(1).err();
    assert!(err.contains("error: failed to read `nowhere`: "), "{err}");
    let err = culprit(&place, &["--commits", "v1..v2"]).exits(1).err();
    assert!(
        err.contains("not a git repository")
            && err.contains("hint: commits are looked for in a directory of a git repository"),
        "{err}"
    );
    let err = place.run(&["culprit", "--values", "A=1,2"]).exits(2).err();
    assert!(
        err.contains("error: nothing says which failure is looked for\nhint: --of A2"),
        "{err}"
    );
    assert!(!place.path("logs").exists());
}

#[test]
fn a_dry_run_says_the_cost_and_the_candidates_and_runs_nothing() {
    let place = place();
    let ran = culprit(&place, &["--values", "VALUE=1,2,3", "--dry-run"]).exits(0);
    let err = ran.err();
    assert!(err.contains("A2: 3 candidates from `VALUE=1` to `VALUE=3`"), "{err}");
    assert!(err.contains("   1  VALUE=2"), "{err}");
    assert!(ran.out().contains("logs/culprit_A2/serial_VALUE-1"), "{}", ran.out());
    assert!(!place.path("logs").exists());
}
