//! One answer as a line of a report.

use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::{Evidence, OutcomeKind, Record, Verdict};

/// One answer in a report.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Run {
    pub iteration: u32,
    pub verdict: Verdict,
    pub outcome: OutcomeKind,
    pub categories: Vec<String>,
    pub failing_tests: Vec<String>,
    /// `None` where no fact says it.
    pub exit_code: Option<i32>,
    /// Wall time in seconds.
    pub duration_s: Option<f64>,
    /// The run's directory, as the user would type it.
    pub dir: String,
    /// The evidence, a line for each category and test.
    pub evidence: Vec<Evidence>,
    /// Facts that contradict the outcome, and anything else a reader should know.
    pub notes: Vec<String>,
}

impl Run {
    pub fn of(record: &Record) -> Run {
        let Record {
            iteration,
            dir,
            exit,
            outcome,
            ..
        } = record;
        Run {
            iteration: *iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories.clone(),
            failing_tests: outcome.failing_tests.clone(),
            exit_code: exit.as_ref().and_then(|exit| exit.code),
            duration_s: exit.as_ref().and_then(|exit| exit.duration_s),
            dir: dir.display().to_string(),
            evidence: outcome.evidence.clone(),
            notes: outcome.notes.clone(),
        }
    }

    /// Why, in one line: the first evidence, else the first note.
    pub fn reason(&self) -> Option<&str> {
        let evidence = self.evidence.first().map(|evidence| evidence.text.as_str());
        evidence.or_else(|| self.notes.first().map(String::as_str))
    }

    /// Where evidence is: a file with its line; where there is none, the run's directory.
    pub fn place(&self, evidence: Option<&Evidence>) -> String {
        let Some(evidence) = evidence else {
            return self.dir.clone();
        };
        match evidence.line {
            Some(line) => format!("{}/{}:{line}", self.dir, evidence.file),
            None => format!("{}/{}", self.dir, evidence.file),
        }
    }
}
