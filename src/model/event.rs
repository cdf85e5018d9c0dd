//! What happens in a sweep, as plain data: one closed enum, stamped once, carrying the tally.
//!
//! Displays and `events.jsonl` are functions of these; a new kind makes the compiler list every place that must show it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{OutcomeKind, Tally, Verdict};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The arm it concerns, in a sweep of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Seconds since this process started the sweep.
    pub elapsed_s: f64,
    /// The counts right after it.
    pub tally: Tally,
}

/// Everything that can happen in a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The probe has answered and the first iteration is about to start.
    SweepStarted {
        /// Directory of the sweep.
        sweep: String,
        /// First iteration asked for.
        first: u32,
        /// Last iteration asked for.
        last: u32,
        /// Iterations in flight.
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
        /// Its number.
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// An iteration takes much longer than those before it.
    IterationSlow {
        /// Its number.
        iteration: u32,
        /// Seconds it has been running.
        running_s: f64,
        /// Median of the finished ones, in seconds.
        usual_s: f64,
    },
    /// An iteration hung, and its container was left running.
    IterationKept {
        /// Its number.
        iteration: u32,
        /// Name of the container.
        container: String,
        /// When it is removed, or may be.
        until: DateTime<Utc>,
        /// The command that opens a shell in it.
        enter: String,
    },
    /// The world broke under an attempt; it is no result.
    AttemptLost {
        /// Number of the iteration.
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// What broke.
        reason: String,
    },
    /// An iteration has an answer, and it is on disk.
    IterationFinished {
        /// Its number.
        iteration: u32,
        /// What it says about the tests.
        verdict: Verdict,
        /// What happened.
        outcome: OutcomeKind,
        /// Ids of the signatures.
        categories: Vec<String>,
        /// Tests that failed.
        failing_tests: Vec<String>,
        /// Exit code.
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

impl EventKind {
    /// The iteration it is about, where it is about one.
    #[must_use]
    pub fn iteration(&self) -> Option<u32> {
        match self {
            EventKind::IterationStarted { iteration, .. }
            | EventKind::IterationSlow { iteration, .. }
            | EventKind::IterationKept { iteration, .. }
            | EventKind::AttemptLost { iteration, .. }
            | EventKind::IterationFinished { iteration, .. } => Some(*iteration),
            EventKind::SweepStarted { .. } | EventKind::CancelRequested { .. } | EventKind::SweepFinished { .. } => {
                None
            }
        }
    }
}
