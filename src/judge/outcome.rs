//! What we conclude about one iteration: `outcome.json`, made again whenever signatures change.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::spec::words::words;

words! {
    /// What an iteration came to, the strongest that holds. The order of the variants is that strength.
    #[derive(Hash)]
    pub enum OutcomeKind {
        /// Ended from outside: nothing in the run ended it.
        Hung = "hung",
        /// A process of the session died without finishing its work.
        Crashed = "crashed",
        /// pytest-timeout ended a test.
        TimedOut = "timed_out",
        /// An ordinary failure or error, collection errors and internal errors included.
        Failed = "failed",
        /// Every failure is the network's or the engine's: it says nothing about the tests.
        Infra = "infra",
        /// The total deadline came while tests were still finishing.
        OutOfTime = "out_of_time",
        /// pytest found nothing to run.
        NoTests = "no_tests",
        /// pytest was called wrongly.
        UsageError = "usage_error",
        /// No attempt gave an answer, wherever it was placed.
        NoResult = "no_result",
        /// Nothing failed.
        Passed = "passed",
    }
}

impl OutcomeKind {
    /// What this says about the tests.
    pub fn verdict(self) -> Verdict {
        match self {
            OutcomeKind::Passed => Verdict::Passed,
            OutcomeKind::Hung | OutcomeKind::Crashed | OutcomeKind::TimedOut | OutcomeKind::Failed => Verdict::Failed,
            OutcomeKind::Infra
            | OutcomeKind::OutOfTime
            | OutcomeKind::NoTests
            | OutcomeKind::UsageError
            | OutcomeKind::NoResult => Verdict::Errored,
        }
    }
}

words! {
    /// Whether an iteration counts for or against the tests, or not at all.
    #[derive(Hash)]
    pub enum Verdict {
        /// Nothing failed.
        Passed = "passed",
        /// A failure of the tests or of what they test.
        Failed = "failed",
        /// Says nothing about the tests: outside every denominator, always shown.
        Errored = "errored",
    }
}

/// One line that made a signature match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Id of the signature, or `UNKNOWN`.
    pub category: String,
    /// File below the iteration's directory.
    pub file: String,
    /// Line in that file, from 1; `None` for evidence that is not a line, such as an exit fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The line itself, stripped of color and shortened.
    pub text: String,
    /// The test it belongs to, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// xdist worker it happened in, such as `gw6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// Which process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CrashKind {
    /// The session's own process, or xdist's controller.
    Session,
    /// A worker of xdist.
    Worker,
    /// The child that pytest-forked ran a test in.
    Forked,
    /// A process that the memory limit killed.
    Memory,
}

/// A process that died, as far as anything tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Crash {
    /// Which process.
    pub kind: CrashKind,
    /// Whether it died after the closing line.
    #[serde(default)]
    pub late: bool,
    /// The test it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// xdist worker, such as `gw6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Innermost frame of the thread that died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// Line of the console that says so, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// How many tests ended in which way, as the session itself counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Errors in setup, teardown or collection.
    pub errors: u64,
    /// Tests skipped.
    pub skipped: u64,
    /// Expected failures.
    pub xfailed: u64,
    /// Unexpected passes.
    pub xpassed: u64,
    /// Attempts repeated by rerunfailures.
    pub rerun: u64,
}

impl Counts {
    /// Tests, and phases of tests, that are counted; a repeated attempt is none.
    pub fn sum(self) -> u64 {
        self.passed + self.failed + self.errors + self.skipped + self.xfailed + self.xpassed
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.errors += other.errors;
        self.skipped += other.skipped;
        self.xfailed += other.xfailed;
        self.xpassed += other.xpassed;
        self.rerun += other.rerun;
    }
}

/// The judgement of one iteration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Version of this layout, 1.
    pub format: u32,
    /// Number of the iteration; `None` for a log that belongs to no sweep.
    #[serde(default)]
    pub iteration: Option<u32>,
    /// What it says about the tests.
    pub verdict: Verdict,
    /// What happened, the strongest that holds.
    pub outcome: OutcomeKind,
    /// Ids of the signatures that the failing tests matched, in the order of the signature files, or `UNKNOWN`.
    #[serde(deserialize_with = "at_most::<_, _, MOST_CATEGORIES>")]
    pub categories: Vec<String>,
    /// Node ids of the tests that failed; for a collection error the file.
    #[serde(deserialize_with = "at_most::<_, _, MOST_TESTS>")]
    pub failing_tests: Vec<String>,
    /// Where each category was seen.
    #[serde(deserialize_with = "at_most::<_, _, MOST_TESTS>")]
    pub evidence: Vec<Evidence>,
    /// Processes that died.
    #[serde(
        default,
        deserialize_with = "at_most::<_, _, MOST_TESTS>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub crashes: Vec<Crash>,
    /// How many tests ended in which way: as the session itself counted them, or, where it printed no closing line, as
    /// far as its progress showed them. `None` where nothing says it.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// Whether the session did not get to its closing line, so that the counts are of what it showed until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut_short: bool,
    /// Tests that failed, were run again in the same session, and did not fail in the end.
    #[serde(
        default,
        deserialize_with = "at_most::<_, _, MOST_TESTS>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub reran: Vec<String>,
    /// How long the whole session seems to take, in seconds, where it was out of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_session_s: Option<u64>,
    /// Facts that contradict each other, and anything else a reader should know.
    #[serde(deserialize_with = "at_most::<_, _, MOST_CATEGORIES>")]
    pub notes: Vec<String>,
}

/// The category of a pass that needed a rerun, where it is counted as a failure.
const RERUN: &str = "RERUN";

/// Most categories that are read back from a judgement: there are not as many signatures.
pub const MOST_CATEGORIES: usize = 64;
/// Most failing tests that are read back, and most lines of evidence.
pub const MOST_TESTS: usize = 10_000;

/// Reads the first `MOST` of a list. The others are passed over: a file of megabytes may come from anywhere.
fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(list: D) -> Result<Vec<T>, D::Error> {
    struct First<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for First<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut first = Vec::new();
            while first.len() < MOST {
                match list.next_element()? {
                    Some(element) => first.push(element),
                    None => return Ok(first),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    list.deserialize_seq(First::<T, MOST>(PhantomData))
}

/// How long the lists of a judgement are, those that are cut when it is read included.
#[derive(Deserialize)]
pub struct Lengths {
    #[serde(deserialize_with = "length")]
    pub categories: usize,
    #[serde(deserialize_with = "length")]
    pub failing_tests: usize,
}

fn length<'de, D: Deserializer<'de>>(list: D) -> Result<usize, D::Error> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while list.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    list.deserialize_seq(Count)
}

impl Outcome {
    /// Makes a pass that needed a rerun a failure of the tests that did, in a category of its own.
    pub fn count_reruns(&mut self) {
        let needed = !self.reran.is_empty() || self.counts.is_some_and(|counts| counts.rerun > 0);
        if self.outcome == OutcomeKind::Passed && needed {
            (self.outcome, self.verdict) = (OutcomeKind::Failed, Verdict::Failed);
            self.categories = vec![RERUN.to_owned()];
            self.failing_tests.clone_from(&self.reran);
        }
    }

    /// An outcome with nothing but its kind.
    pub fn new(outcome: OutcomeKind) -> Outcome {
        Outcome {
            format: 1,
            iteration: None,
            verdict: outcome.verdict(),
            outcome,
            categories: Vec::new(),
            failing_tests: Vec::new(),
            evidence: Vec::new(),
            crashes: Vec::new(),
            counts: None,
            is_cut_short: false,
            reran: Vec::new(),
            full_session_s: None,
            notes: Vec::new(),
        }
    }
}
