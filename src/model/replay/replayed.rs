//! What came of a replay, in figures.

use serde::Serialize;

use super::Target;
use crate::stats::Count;

/// What came of a replay, as `--format json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// Version of this layout, 1.
    pub format: u32,
    /// The tests in the order they ran, the one that failed last.
    pub tests: Vec<String>,
    /// Runs in which it failed again in the same way.
    pub failed: u64,
    /// Runs that say anything.
    pub of: u64,
    /// What the failure is called.
    pub category: String,
    /// Wilson's interval of the rate.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// Runs that say nothing.
    pub errored: u64,
    /// How the search for a shorter list ended; `None` where none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
}

/// What came of a search for a shorter list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shrunk {
    /// Tests before the failing one at the beginning.
    pub from: usize,
    /// Whether leaving out any one of the list was tested and makes the failure go away.
    pub minimal: bool,
    /// Runs of all lists together, those of earlier calls included.
    pub runs: usize,
}

impl Replayed {
    /// Confidence of the interval.
    pub const CONFIDENCE: f64 = 0.95;

    /// The figures of a list.
    #[must_use]
    pub fn new(tests: Vec<String>, count: Count, errored: u64, target: &Target) -> Replayed {
        let (low, high) = count.interval(Replayed::CONFIDENCE);
        Replayed {
            format: 1,
            tests,
            failed: count.failed(),
            of: count.of(),
            category: target.category().to_owned(),
            low,
            high,
            confidence: Replayed::CONFIDENCE,
            errored,
            shrunk: None,
        }
    }
}
