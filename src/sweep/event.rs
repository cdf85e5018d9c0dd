//! What happens in a sweep, as plain data: one closed enum, stamped once, carrying the tally.
//!
//! Displays and `events.jsonl` are functions of these; a new kind makes the compiler list every place that must show it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tally;
use crate::judge::{OutcomeKind, Verdict};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    #[serde(flatten)]
    pub kind: EventKind,
    /// The arm, in a sweep of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    pub at: DateTime<Utc>,
    /// Seconds since this process started the sweep.
    pub elapsed_s: f64,
    /// The counts right after the event.
    pub tally: Tally,
}

/// Everything that can happen in a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The probe has answered and the first iteration is about to start.
    SweepStarted {
        /// Directory of the sweep.
        sweep: String,
        first: u32,
        last: u32,
        jobs: u32,
        /// Iterations this process sets out to run.
        planned: u32,
        /// Iterations of the range that were recorded before.
        recorded: u32,
        /// Identity of what runs.
        image_id: Option<String>,
        /// `python`, `pytest` and its plugins, as the probe found them.
        versions: BTreeMap<String, String>,
    },
    /// An attempt at an iteration has started.
    IterationStarted {
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// An iteration takes much longer than those before it.
    IterationSlow {
        iteration: u32,
        /// Seconds it has been running.
        running_s: f64,
        /// Median of the finished ones, in seconds.
        usual_s: f64,
    },
    /// An iteration hung, and its container was left running.
    IterationKept {
        iteration: u32,
        container: String,
        until: DateTime<Utc>,
        enter: String,
    },
    /// The world broke under an attempt; it is no result.
    AttemptLost {
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        reason: String,
    },
    /// An iteration has an answer, and it is on disk.
    IterationFinished {
        iteration: u32,
        /// What it says about the tests.
        verdict: Verdict,
        outcome: OutcomeKind,
        /// Ids of the signatures.
        categories: Vec<String>,
        failing_tests: Vec<String>,
        /// Tests that failed, were run again in the same session and did not fail in the end.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reran: Vec<String>,
        exit_code: Option<i32>,
        /// Wall time in seconds.
        duration_s: f64,
        /// Directory that holds the evidence.
        dir: String,
        /// One line that says why, from the evidence.
        reason: Option<String>,
    },
    /// The user asked to stop.
    CancelRequested {
        /// Whether running iterations are ended rather than waited for.
        now: bool,
    },
    /// This process is done.
    SweepFinished {
        /// Why it ended: `complete`, `interrupted`, or the stop rule.
        reason: String,
        /// Iterations of the range without an answer.
        missing: u32,
    },
}
