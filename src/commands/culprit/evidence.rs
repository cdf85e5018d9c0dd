//! What a run says about the class that a search looks for.

use crate::judge::{Outcome, OutcomeKind, Verdict};
use crate::stats::Answer;
use crate::sweep::stop::Class;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// Number of the attempt to find and confirm a candidate, from 1.
    pub(super) attempt: u32,
    /// The candidate that it helps to confirm, and the number of its block; `None` in the search.
    pub(super) confirms: Option<(usize, u32)>,
    pub(super) came: RunResult,
}

/// What a run says about the class.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RunResult {
    InFlight,
    Answered {
        failed: bool,
    },
    Silent {
        why: String,
        /// Whether the next run of the candidate would say the same.
        is_certain: bool,
        /// Whether it failed for another reason; else it errored.
        is_other: bool,
    },
}

impl RunResult {
    /// A failure of another class says nothing: the class may have been hidden by it.
    pub(super) fn of(outcome: &Outcome, class: &Class) -> RunResult {
        let silent = |is_certain, is_other| RunResult::Silent {
            why: why(outcome),
            is_certain,
            is_other,
        };
        match outcome.verdict {
            Verdict::Passed => RunResult::Answered { failed: false },
            Verdict::Failed if class.has(outcome) => RunResult::Answered { failed: true },
            Verdict::Failed => silent(false, true),
            Verdict::Errored => {
                let is_certain = matches!(outcome.outcome, OutcomeKind::UsageError | OutcomeKind::NoTests);
                silent(is_certain, false)
            }
        }
    }

    pub(super) fn answer(&self) -> Answer {
        match self {
            RunResult::InFlight => Answer::Awaited,
            RunResult::Answered { failed: true } => Answer::Failed,
            RunResult::Answered { failed: false } => Answer::Passed,
            RunResult::Silent { .. } => Answer::Unanswered,
        }
    }
}

pub(super) fn why(outcome: &Outcome) -> String {
    let mut words = outcome.outcome.as_str().replace('_', " ");
    if !outcome.categories.is_empty() {
        words = format!("{words} {}", outcome.categories.join("+"));
    }
    let evidence = outcome.evidence.first().map(|evidence| evidence.text.trim());
    match evidence.or_else(|| outcome.notes.first().map(String::as_str)) {
        Some(text) if !text.is_empty() => format!("{words}: {text}"),
        Some(_) | None => words,
    }
}
