//! One conclusion about a run, and what all of them together amount to.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::facts::Facts;
use super::out_of_time::OutOfTime;
use super::{Crash, Evidence, Outcome, OutcomeKind, UNKNOWN};

/// Most tests that an outcome names.
const MAX_TESTS: usize = 10_000;
/// Most lines of evidence that an outcome keeps of one category.
const MAX_EVIDENCE: usize = 100;
/// Most processes that an outcome lists as dead.
const MAX_CRASHES: usize = 200;

/// How much a finding weighs, weakest first: the strongest finding of a run is its outcome. A guess is a conclusion
/// from what is missing; it counts only where nothing weighs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// The session reached its end, and nothing failed.
    Passed,
    /// The session found no test to run.
    NoTests,
    /// pytest was called wrongly.
    UsageError,
    /// The total deadline came while tests were still finishing.
    OutOfTime,
    /// A guess: letters or counts show a failure, and nothing names it.
    Nameless,
    /// The network or the engine failed, or there was no session.
    Infra,
    /// A test, a collection or pytest itself failed.
    Failed,
    /// A guess: the log stops before the session's end, and nothing says why.
    Cut,
    /// pytest-timeout ended a test.
    TimedOut,
    /// A guess: the session was not complete and its exit status, or the shell, says that it died.
    Died,
    /// A guess: somebody killed the session while a test's own log stood where tests are known to hang.
    StoodStill,
    /// A process said that it dies, xdist said it of a worker, or the engine of a process.
    Crashed,
    /// The session was ended from outside.
    Hung,
}

impl Strength {
    fn outcome(self) -> OutcomeKind {
        match self {
            Strength::Passed => OutcomeKind::Passed,
            Strength::NoTests => OutcomeKind::NoTests,
            Strength::UsageError => OutcomeKind::UsageError,
            Strength::OutOfTime => OutcomeKind::OutOfTime,
            Strength::Infra => OutcomeKind::Infra,
            Strength::Nameless | Strength::Failed => OutcomeKind::Failed,
            Strength::TimedOut => OutcomeKind::TimedOut,
            Strength::Died | Strength::Crashed => OutcomeKind::Crashed,
            Strength::Cut | Strength::StoodStill | Strength::Hung => OutcomeKind::Hung,
        }
    }

    fn is_guess(self) -> bool {
        matches!(
            self,
            Strength::Nameless | Strength::Cut | Strength::Died | Strength::StoodStill
        )
    }
}

/// What a finding says is the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The category of a signature, by its place in the set.
    Signature(usize),
    /// No signature covers the failure.
    Unknown,
    /// None that counts as a category: the outcome itself, whose word stands in the category's place.
    Outcome,
    /// Another finding says it.
    None,
}

/// Where a finding was seen.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// File below the run's directory; the console where none is named.
    pub(super) file: Option<String>,
    pub(super) line: Option<u64>,
    pub(super) text: String,
    /// xdist worker.
    pub(super) worker: Option<String>,
}

impl Place {
    /// A line of the console, or a fact that is no line.
    pub(super) fn at(line: Option<u64>, text: &str) -> Place {
        Place {
            file: None,
            line,
            text: text.trim().chars().take(400).collect(),
            worker: None,
        }
    }
}

/// One conclusion.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) strength: Strength,
    pub(super) cause: Cause,
    pub(super) evidence: Option<Place>,
    /// The test that it is about.
    pub(super) test: Option<String>,
    /// The process that died.
    pub(super) crash: Option<Crash>,
    /// What a reader should know besides.
    pub(super) note: Option<String>,
}

impl Finding {
    pub(super) fn new(strength: Strength) -> Finding {
        Finding {
            strength,
            cause: Cause::None,
            evidence: None,
            test: None,
            crash: None,
            note: None,
        }
    }

    /// A failure that no signature covers.
    pub(super) fn unknown(strength: Strength, place: Place) -> Finding {
        Finding {
            cause: Cause::Unknown,
            evidence: Some(place),
            ..Finding::new(strength)
        }
    }

    /// A line that says what the outcome is, where that is no failure of a test.
    pub(super) fn told(strength: Strength, place: Place) -> Finding {
        Finding {
            cause: Cause::Outcome,
            evidence: Some(place),
            ..Finding::new(strength)
        }
    }

    /// A finding that only says something to the reader.
    pub(super) fn noted(strength: Strength, note: impl Into<String>) -> Finding {
        Finding {
            note: Some(note.into()),
            ..Finding::new(strength)
        }
    }

    /// This finding as one of a test.
    pub(super) fn of(self, test: &str) -> Finding {
        Finding {
            test: Some(test.to_owned()).filter(|test| !test.is_empty()),
            ..self
        }
    }
}

/// Findings of several tests that one thing befell: the evidence stands with each.
pub(super) fn of_each(found: &[Finding], tests: &[String]) -> Vec<Finding> {
    if tests.is_empty() {
        return found.to_vec();
    }
    let mut each: Vec<Finding> = Vec::new();
    for (at, test) in tests.iter().enumerate() {
        // Of many tests the causes are the same, and the process died once.
        each.extend(found.iter().map(|finding| Finding {
            crash: finding.crash.clone().filter(|_| at == 0),
            ..finding.clone().of(test)
        }));
    }
    each
}

/// The strongest of some findings.
pub(super) fn strongest(found: &[Finding]) -> Strength {
    found
        .iter()
        .map(|finding| finding.strength)
        .max()
        .unwrap_or(Strength::Passed)
}

/// Sums up: the strongest finding is the outcome, the categories are those of all that count.
pub(super) fn outcome(facts: &Facts<'_>, mut found: Vec<Finding>) -> Outcome {
    let strongest = strongest(&found);
    found.retain(|finding| !finding.strength.is_guess() || finding.strength == strongest);
    // A hung test is named before those that merely failed.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.strength));
    let mut outcome = Outcome::new(strongest.outcome());
    let ids = Ids::new(facts);
    let mut categories: BTreeSet<usize> = BTreeSet::new();
    let mut is_unknown = false;
    let mut tests: HashSet<String> = HashSet::new();
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for mut finding in found {
        outcome
            .notes
            .extend(finding.note.take().filter(|note| !outcome.notes.contains(note)));
        if let Some(test) = &mut finding.test {
            ids.complete(test);
            if tests.insert(test.clone()) && outcome.failing_tests.len() < MAX_TESTS {
                outcome.failing_tests.push(test.clone());
            }
        }
        if let Some(mut crash) = finding.crash.take().filter(|_| outcome.crashes.len() < MAX_CRASHES) {
            crash.test.iter_mut().for_each(|test| ids.complete(test));
            outcome.crashes.push(crash);
        }
        let category = match finding.cause {
            Cause::Signature(index) => {
                categories.insert(index);
                facts.signatures.at(index).id.as_str()
            }
            Cause::Unknown => {
                is_unknown = true;
                UNKNOWN
            }
            // Only of the outcome that stands.
            Cause::Outcome if finding.strength == strongest => outcome.outcome.as_str(),
            Cause::Outcome | Cause::None => continue,
        };
        let Some(place) = finding.evidence else { continue };
        let evidence = Evidence {
            category: category.to_owned(),
            file: place.file.unwrap_or_else(|| facts.file.clone()),
            line: place.line,
            text: place.text,
            test: finding.test,
            worker: place.worker,
        };
        let kept = kept.entry(evidence.category.clone()).or_default();
        if *kept < MAX_EVIDENCE && !outcome.evidence.contains(&evidence) {
            *kept += 1;
            outcome.evidence.push(evidence);
        }
    }
    outcome.categories = categories
        .iter()
        .map(|index| facts.signatures.at(*index).id.clone())
        .collect();
    if is_unknown || (outcome.categories.is_empty() && outcome.outcome == OutcomeKind::Failed) {
        outcome.categories.push(UNKNOWN.to_owned());
    }
    if tests.len() > outcome.failing_tests.len() {
        outcome.notes.push(format!(
            "{} more tests failed than are named here",
            tests.len() - outcome.failing_tests.len()
        ));
    }
    outcome.counts = facts.counts();
    outcome.is_cut_short = facts
        .console
        .sessions
        .last()
        .is_none_or(|session| session.closing.is_none());
    outcome.full_session_s = match (outcome.outcome, facts.console.sessions.last()) {
        (OutcomeKind::OutOfTime, Some(session)) => OutOfTime::of(facts, session).and_then(|out| out.full_session_s),
        _ => None,
    };
    outcome.reran = facts.reran();
    outcome.reran.retain(|test| !tests.contains(test));
    outcome.reran.truncate(MAX_TESTS);
    outcome
}

/// Node ids that the console could only tell in part: a stack names the function of a test and not its parameters;
/// the trail has the test that began and did not end.
struct Ids<'a> {
    known: HashSet<&'a str>,
    /// The one unfinished test of a function; `None` where there are several.
    unfinished: BTreeMap<&'a str, Option<&'a str>>,
}

impl<'a> Ids<'a> {
    fn new(facts: &'a Facts<'_>) -> Ids<'a> {
        let mut unfinished: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let tests = facts.trail.iter().flat_map(|trail| &trail.tests);
        for test in tests.clone().filter(|test| !test.is_done) {
            let function = test.id.split('[').next().unwrap_or_default();
            unfinished
                .entry(function)
                .and_modify(|only| *only = only.filter(|only| *only == test.id))
                .or_insert(Some(&test.id));
        }
        Ids {
            known: tests.map(|test| test.id.as_str()).collect(),
            unfinished,
        }
    }

    fn complete(&self, id: &mut String) {
        if !id.contains('[')
            && !self.known.contains(id.as_str())
            && let Some(Some(whole)) = self.unfinished.get(id.as_str())
        {
            *id = (*whole).to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::pytest::console::Console;
    use crate::judge::pytest::trail;
    use crate::judge::testlog::TestLogs;
    use crate::judge::{RunFiles, SignatureSet};
    use std::io::{self, BufRead};

    struct NoFiles;

    impl RunFiles for NoFiles {
        fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
            Ok(None)
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

    fn sum(found: Vec<Finding>, trail_lines: &str) -> Outcome {
        let signatures = SignatureSet::built_in();
        let facts = Facts {
            file: "run.log".to_owned(),
            console: Console::default(),
            trail: Some(trail::read(trail_lines.as_bytes()).unwrap()),
            exit: None,
            logs: TestLogs::new(&NoFiles, &signatures, false),
            signatures: &signatures,
        };
        outcome(&facts, found)
    }

    fn unknown(strength: Strength, test: &str) -> Finding {
        Finding::unknown(strength, Place::at(Some(1), test)).of(test)
    }

    #[test]
    fn the_strongest_finding_is_the_outcome_and_comes_first() {
        let found = vec![unknown(Strength::Failed, "a"), unknown(Strength::Hung, "b")];
        let outcome = sum(found, "");
        assert_eq!(outcome.outcome, OutcomeKind::Hung);
        assert_eq!(outcome.failing_tests, ["b", "a"]);
        assert_eq!(outcome.evidence[0].test.as_deref(), Some("b"));
    }

    #[test]
    fn a_guess_counts_only_where_nothing_weighs_more() {
        let guess = || unknown(Strength::Nameless, "guessed");
        assert_eq!(sum(vec![guess()], "").failing_tests, ["guessed"]);
        let outcome = sum(vec![guess(), Finding::new(Strength::Crashed)], "");
        assert!(outcome.failing_tests.is_empty() && outcome.categories.is_empty());
    }

    #[test]
    fn the_parameters_of_a_test_that_died_come_from_the_trail() {
        let completed = |id: &str, trail: &str| sum(vec![unknown(Strength::Crashed, id)], trail).failing_tests;
        let died = "{\"event\":\"start\",\"nodeid\":\"a.py::test_x[tcp]\"}\n";
        assert_eq!(completed("a.py::test_x", died), ["a.py::test_x[tcp]"]);
        assert_eq!(completed("a.py::test_y", died), ["a.py::test_y"]);
        // Two that it may mean are one too many.
        let two = format!("{died}{}", died.replace("tcp", "nats"));
        assert_eq!(completed("a.py::test_x", &two), ["a.py::test_x"]);
    }

    #[test]
    fn tests_and_evidence_are_bounded_and_the_rest_is_counted() {
        let found = (0..MAX_TESTS + 7).map(|n| unknown(Strength::Failed, &format!("a.py::test_{n}")));
        let outcome = sum(found.collect(), "");
        assert_eq!(
            (outcome.failing_tests.len(), outcome.evidence.len()),
            (MAX_TESTS, MAX_EVIDENCE)
        );
        assert_eq!(outcome.notes, ["7 more tests failed than are named here"]);
    }
}
