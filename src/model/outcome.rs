//! What we conclude about one iteration: `outcome.json`, made again whenever signatures change.

use serde::{Deserialize, Serialize};

/// What an iteration came to, the strongest that holds. The order of the variants is that strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Ended from outside: nothing in the run ended it.
    Hung,
    /// A process of the session died without finishing its work.
    Crashed,
    /// pytest-timeout ended a test.
    TimedOut,
    /// An ordinary failure or error, collection errors and internal errors included.
    Failed,
    /// Every failure is the network's or the engine's: it says nothing about the tests.
    Infra,
    /// pytest found nothing to run.
    NoTests,
    /// pytest was called wrongly.
    UsageError,
    /// No attempt gave an answer, wherever it was placed.
    NoResult,
    /// Nothing failed.
    Passed,
}

impl OutcomeKind {
    /// Every kind, strongest first.
    pub const ALL: [OutcomeKind; 9] = [
        OutcomeKind::Hung,
        OutcomeKind::Crashed,
        OutcomeKind::TimedOut,
        OutcomeKind::Failed,
        OutcomeKind::Infra,
        OutcomeKind::NoTests,
        OutcomeKind::UsageError,
        OutcomeKind::NoResult,
        OutcomeKind::Passed,
    ];

    /// The word used in files and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeKind::Hung => "hung",
            OutcomeKind::Crashed => "crashed",
            OutcomeKind::TimedOut => "timed_out",
            OutcomeKind::Failed => "failed",
            OutcomeKind::Infra => "infra",
            OutcomeKind::NoTests => "no_tests",
            OutcomeKind::UsageError => "usage_error",
            OutcomeKind::NoResult => "no_result",
            OutcomeKind::Passed => "passed",
        }
    }

    /// What this says about the tests.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            OutcomeKind::Passed => Verdict::Passed,
            OutcomeKind::Hung | OutcomeKind::Crashed | OutcomeKind::TimedOut | OutcomeKind::Failed => Verdict::Failed,
            OutcomeKind::Infra | OutcomeKind::NoTests | OutcomeKind::UsageError | OutcomeKind::NoResult => {
                Verdict::Errored
            }
        }
    }
}

/// Whether an iteration counts for or against the tests, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing failed.
    Passed,
    /// A failure of the tests or of what they test.
    Failed,
    /// Says nothing about the tests: outside every denominator, always shown.
    Errored,
}

impl Verdict {
    /// The word used in files and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Errored => "errored",
        }
    }
}

/// One line that made a signature match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashKind {
    /// The session's own process, or xdist's controller.
    Session,
    /// A worker of xdist.
    Worker,
    /// The child that pytest-forked ran a test in.
    Forked,
    /// One that the memory limit killed.
    Memory,
}

/// A process that died, as far as anything tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The judgement of one iteration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub categories: Vec<String>,
    /// Node ids of the tests that failed; for a collection error the file.
    pub failing_tests: Vec<String>,
    /// Where each category was seen.
    pub evidence: Vec<Evidence>,
    /// Processes that died.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crashes: Vec<Crash>,
    /// The session's own counts.
    pub counts: Counts,
    /// Facts that contradict each other, and anything else a reader should know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// An outcome with nothing but its kind.
    #[must_use]
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
            counts: Counts::default(),
            notes: Vec::new(),
        }
    }
}
