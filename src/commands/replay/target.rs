//! What a replay repeats: the test that failed, what its failure is called, and whether another run failed like it.

use std::collections::BTreeSet;

use crate::judge::{Counts, Crash, Outcome, OutcomeKind, Verdict};

/// The failure that is to be seen again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The test that failed; `None` where the session died after its last test, and no test is to blame.
    pub test: Option<String>,
    /// Categories of the failure; a run that shares one of them has the same failure.
    pub categories: Vec<String>,
    /// How this failure ended: as the recorded run did, unless a process is known to have died in this test or in
    /// another one.
    pub outcome: OutcomeKind,
    /// Whether the recorded run names any failing test.
    pub is_named: bool,
}

/// What a run of a list came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The run failed again in the same way.
    Failed,
    /// The run passed, or failed in another way.
    Passed,
    /// The run says nothing about the tests.
    Errored,
}

impl Target {
    /// The failure of a test: unless one is asked for, the one a process died in, else the first failing one. `None`
    /// where the outcome is no failure of tests, or the test that is asked for did not fail in it. Where it names no test
    /// at all, only the user knows.
    pub fn of(outcome: &Outcome, asked: Option<&str>) -> Option<Target> {
        if outcome.verdict != Verdict::Failed {
            return None;
        }
        let test = match asked {
            Some(asked) if outcome.failing_tests.is_empty() => Some(asked),
            Some(asked) => Some(failing(outcome, asked)?),
            None => strongest(outcome),
        };
        let categories = categories(outcome, test);
        Some(Target {
            outcome: ending(outcome, test, &categories),
            categories: categories.into_iter().map(str::to_owned).collect(),
            test: test.map(str::to_owned),
            is_named: !outcome.failing_tests.is_empty(),
        })
    }

    /// What another run says about this failure: seen again if the same test failed for a reason of the same name.
    ///
    /// A session that died or hung without naming the test is another failure, unless the recorded one ended like that
    /// too. Nor does a session say anything that died before the test's turn: whether it would have failed is unknown.
    pub fn seen(&self, outcome: &Outcome) -> Seen {
        match outcome.verdict {
            Verdict::Errored => return Seen::Errored,
            Verdict::Passed => return Seen::Passed,
            Verdict::Failed => {}
        }
        if let Some(test) = self.test.as_ref().and_then(|test| failing(outcome, test)) {
            return if self.shares_a_name(&categories(outcome, Some(test))) {
                Seen::Failed
            } else {
                Seen::Passed
            };
        }
        let ended_alike = !self.is_named && outcome.outcome == self.outcome && is_nameless(outcome);
        if ended_alike && self.shares_a_name(&categories(outcome, None)) {
            Seen::Failed
        } else if is_cut_short(outcome) || outcome.failing_tests.is_empty() {
            Seen::Errored
        } else {
            Seen::Passed
        }
    }

    fn shares_a_name(&self, found: &BTreeSet<&str>) -> bool {
        self.categories.iter().any(|category| found.contains(category.as_str()))
    }

    /// The first category, by which the failure is named.
    pub fn category(&self) -> &str {
        self.categories.first().map_or("UNKNOWN", String::as_str)
    }
}

/// The failing test that says most about the run: where it crashed, the one that died, whichever failed before it.
pub fn strongest(outcome: &Outcome) -> Option<&str> {
    let mut tests = outcome.failing_tests.iter().map(String::as_str);
    let first = tests.clone().next();
    if outcome.outcome != OutcomeKind::Crashed {
        return first;
    }
    tests.find(|test| died_in(outcome, test)).or(first)
}

/// Whether a process is known to have died in this test.
fn died_in(outcome: &Outcome, test: &str) -> bool {
    let mut named = outcome.crashes.iter().filter_map(|crash| crash.test.as_deref());
    named.any(|named| named == test)
}

/// How the failure of these categories in this test ended.
fn ending(outcome: &Outcome, test: Option<&str>, categories: &BTreeSet<&str>) -> OutcomeKind {
    let elsewhere = |test: &str| {
        let mut others = outcome.failing_tests.iter().filter(|other| *other != test);
        !died_in(outcome, test) && others.any(|other| died_in(outcome, other))
    };
    match outcome.outcome {
        OutcomeKind::Hung if *categories == BTreeSet::from([CRASH]) => OutcomeKind::Crashed,
        OutcomeKind::Crashed if test.is_some_and(elsewhere) => OutcomeKind::Failed,
        kind => kind,
    }
}

/// Whether the session ended badly without a test that is to blame.
fn is_nameless(outcome: &Outcome) -> bool {
    let died_late = |crash: &Crash| crash.late && crash.test.is_none();
    outcome.failing_tests.is_empty() || outcome.crashes.iter().any(died_late)
}

/// Whether the session did not get to its closing line, so that tests after the failing one never ran.
fn is_cut_short(outcome: &Outcome) -> bool {
    let is_end = matches!(
        outcome.outcome,
        OutcomeKind::Hung | OutcomeKind::Crashed | OutcomeKind::TimedOut
    );
    is_end && (outcome.is_cut_short || outcome.counts.is_none_or(|counts| counts == Counts::default()))
}

/// The failing test of this name, as the outcome spells it.
fn failing<'a>(outcome: &'a Outcome, test: &str) -> Option<&'a str> {
    let found = outcome
        .failing_tests
        .iter()
        .find(|failing| without_group(failing) == without_group(test));
    found.map(String::as_str)
}

/// An id without what xdist's `--dist loadgroup` puts behind it, which a session in one process does not have.
pub fn without_group(id: &str) -> &str {
    match id.rsplit_once('@') {
        Some((id, group)) if !group.contains([']', ':', '/']) => id,
        Some(_) | None => id,
    }
}

/// The category of a process's death.
const CRASH: &str = "B1";

/// The categories of one failing test: those that evidence gives to it, else those that are given to no other.
fn categories<'a>(outcome: &'a Outcome, test: Option<&str>) -> BTreeSet<&'a str> {
    let all = || outcome.categories.iter().map(String::as_str);
    let Some(test) = test else {
        return all().collect();
    };
    let named = |category: &str, is_own: bool| {
        let mut lines = outcome.evidence.iter().filter(|evidence| evidence.category == category);
        lines.any(|evidence| evidence.test.as_ref().is_some_and(|of| (of == test) == is_own))
    };
    let own: BTreeSet<&str> = all().filter(|category| named(category, true)).collect();
    if !own.is_empty() {
        return own;
    }
    // Where one process died and another one hung, a test is in one of the two.
    if outcome.outcome == OutcomeKind::Hung && all().any(|category| category == CRASH) {
        if died_in(outcome, test) {
            return BTreeSet::from([CRASH]);
        }
        if outcome.failing_tests.iter().any(|other| died_in(outcome, other)) {
            return all().filter(|category| *category != CRASH).collect();
        }
    }
    let free: BTreeSet<&str> = all().filter(|category| !named(category, false)).collect();
    if free.is_empty() { all().collect() } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{CrashKind, Evidence};

    fn outcome(tests: &[&str], evidence: &[(&str, Option<&str>)]) -> Outcome {
        let mut outcome = Outcome::new(OutcomeKind::Failed);
        outcome.failing_tests = tests.iter().map(|test| (*test).to_owned()).collect();
        for (category, test) in evidence {
            if !outcome.categories.iter().any(|known| known == category) {
                outcome.categories.push((*category).to_owned());
            }
            outcome.evidence.push(Evidence {
                category: (*category).to_owned(),
                file: "run.log".to_owned(),
                line: None,
                text: String::new(),
                test: test.map(str::to_owned),
                worker: None,
            });
        }
        outcome
    }

    #[test]
    fn where_a_process_died_its_test_is_the_one_though_another_failed_before() {
        let (x, y) = ("a.py::x", "a.py::y");
        let mut both = ended(OutcomeKind::Crashed, &[x, y], &[("A2", Some(x)), ("B1", None)]);
        both.crashes.push(crash(Some(y)));
        let died = Target::of(&both, None).unwrap();
        assert_eq!((died.test.as_deref(), died.category()), (Some(y), "B1"));
        assert_eq!(died.outcome, OutcomeKind::Crashed);
        let failed = Target::of(&both, Some(x)).unwrap();
        assert_eq!((failed.category(), failed.outcome), ("A2", OutcomeKind::Failed));
        // The death has no name: whoever failed first.
        both.crashes = vec![crash(None)];
        let first = Target::of(&both, None).unwrap();
        assert_eq!((first.test.as_deref(), first.outcome), (Some(x), OutcomeKind::Crashed));
    }

    fn crash(test: Option<&str>) -> Crash {
        Crash {
            kind: CrashKind::Worker,
            late: false,
            test: test.map(str::to_owned),
            worker: Some("gw1".to_owned()),
            frame: None,
            line: None,
        }
    }

    #[test]
    fn the_first_failing_test_is_the_one_unless_another_is_asked_for() {
        let outcome = outcome(&["a.py::x", "a.py::y"], &[("A1", Some("a.py::x")), ("B1", None)]);
        let first = Target::of(&outcome, None).unwrap();
        assert_eq!((first.test.as_deref(), first.category()), (Some("a.py::x"), "A1"));
        // A crash has evidence of its own, which names no test.
        let other = Target::of(&outcome, Some("a.py::y")).unwrap();
        assert_eq!((other.test.as_deref(), other.category()), (Some("a.py::y"), "B1"));
        assert_eq!(Target::of(&outcome, Some("a.py::z")), None);
        assert_eq!(Target::of(&Outcome::new(OutcomeKind::Infra), None), None);
    }

    fn ended(kind: OutcomeKind, tests: &[&str], evidence: &[(&str, Option<&str>)]) -> Outcome {
        Outcome {
            outcome: kind,
            ..outcome(tests, evidence)
        }
    }

    #[test]
    fn a_failure_is_seen_again_only_in_the_same_test_and_under_the_same_name() {
        let x = "a.py::x";
        let target = Target::of(&ended(OutcomeKind::Crashed, &[x], &[("B1", None)]), None).unwrap();
        let crashed = |tests: &[&str], evidence: &[_]| target.seen(&ended(OutcomeKind::Crashed, tests, evidence));
        assert_eq!(crashed(&[x], &[("B1", None)]), Seen::Failed);
        assert_eq!(crashed(&[x], &[("A1", Some(x))]), Seen::Passed);
        assert_eq!(target.seen(&outcome(&["a.py::y"], &[("A1", None)])), Seen::Passed);
        assert_eq!(target.seen(&Outcome::new(OutcomeKind::Passed)), Seen::Passed);
        assert_eq!(target.seen(&Outcome::new(OutcomeKind::Infra)), Seen::Errored);
    }

    #[test]
    fn of_a_run_that_crashed_and_hung_each_test_has_its_own_name() {
        let (x, y) = ("a.py::x", "a.py::y");
        let mut both = ended(OutcomeKind::Hung, &[x, y], &[("A4", None), ("B1", None)]);
        both.crashes.push(crash(Some(x)));
        let crashed = Target::of(&both, None).unwrap();
        assert_eq!((crashed.category(), crashed.outcome), ("B1", OutcomeKind::Crashed));
        assert_eq!(
            crashed.seen(&ended(OutcomeKind::Crashed, &[x], &[("B1", None)])),
            Seen::Failed
        );
        let hung = Target::of(&both, Some(y)).unwrap();
        assert_eq!((hung.category(), hung.outcome), ("A4", OutcomeKind::Hung));
    }

    #[test]
    fn a_session_that_died_or_hung_without_naming_the_test_says_nothing_about_it() {
        let target = Target::of(&ended(OutcomeKind::Hung, &["a.py::x"], &[("A4", None)]), None).unwrap();
        for kind in [OutcomeKind::Hung, OutcomeKind::Crashed] {
            assert_eq!(
                target.seen(&ended(kind, &[], &[("A4", None), ("B1", None)])),
                Seen::Errored
            );
        }
        // Another test that hung before the turn of this one.
        let mut other = ended(OutcomeKind::Hung, &["a.py::y"], &[("A4", Some("a.py::y"))]);
        assert_eq!(target.seen(&other), Seen::Errored);
        // The child of one that is run in a process of its own died, and the session went on to its end.
        other.outcome = OutcomeKind::Crashed;
        other.counts = Some(Counts {
            passed: 3,
            ..Counts::default()
        });
        assert_eq!(target.seen(&other), Seen::Passed);
    }

    #[test]
    fn an_end_that_blames_no_test_is_seen_again_only_in_the_same_end_of_the_same_name() {
        let nameless = |kind, name| ended(kind, &[], &[(name, None)]);
        let target = Target::of(&nameless(OutcomeKind::Hung, "A4"), None).unwrap();
        assert_eq!((target.test.as_ref(), target.is_named), (None, false));
        assert_eq!(target.seen(&nameless(OutcomeKind::Hung, "A4")), Seen::Failed);
        assert_eq!(target.seen(&nameless(OutcomeKind::Crashed, "B1")), Seen::Errored);
        assert_eq!(target.seen(&nameless(OutcomeKind::Crashed, "A4")), Seen::Errored);
        assert_eq!(target.seen(&nameless(OutcomeKind::Hung, "A9")), Seen::Errored);
        let named = ended(OutcomeKind::Hung, &["a.py::y"], &[("A4", Some("a.py::y"))]);
        assert_eq!(target.seen(&named), Seen::Errored);
        // The user may know which test it was.
        let asked = Target::of(&nameless(OutcomeKind::Hung, "A4"), Some("a.py::y")).unwrap();
        assert_eq!(asked.seen(&named), Seen::Failed);
        assert_eq!(asked.seen(&nameless(OutcomeKind::Hung, "A4")), Seen::Failed);
    }

    #[test]
    fn a_death_after_the_last_test_is_seen_beside_a_failing_test() {
        let target = Target::of(&ended(OutcomeKind::Crashed, &[], &[("B1", None)]), None).unwrap();
        let mut again = ended(
            OutcomeKind::Crashed,
            &["a.py::y"],
            &[("A1", Some("a.py::y")), ("B1", None)],
        );
        again.counts = Some(Counts {
            failed: 1,
            ..Counts::default()
        });
        assert_eq!(target.seen(&again), Seen::Passed);
        again.crashes = vec![Crash {
            kind: CrashKind::Session,
            late: true,
            test: None,
            worker: None,
            frame: None,
            line: None,
        }];
        assert_eq!(target.seen(&again), Seen::Failed);
    }

    #[test]
    fn groups_of_xdist_are_no_part_of_a_name() {
        assert_eq!(without_group("a.py::x[a]@db"), "a.py::x[a]");
        assert_eq!(without_group("a.py::x[me@home]"), "a.py::x[me@home]");
        assert_eq!(without_group("a.py::x"), "a.py::x");
    }
}
