//! How far sweeps have come, whoever runs them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::summary::Rate;
use super::{OutcomeKind, Verdict};

/// One sweep at this moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepStatus {
    /// The sweep's directory, as the user would type it.
    pub sweep: String,
    /// Whether any process is running an iteration of it.
    pub running: bool,
    /// Iterations asked for so far.
    pub planned: u64,
    /// Iterations with an answer.
    pub recorded: u64,
    /// Nothing failed.
    pub passed: u64,
    /// Something failed.
    pub failed: u64,
    /// They say nothing about the tests.
    pub errored: u64,
    /// Failed of passed or failed; while it runs with the interval that may be looked at again and again.
    pub rate: Rate,
    /// Iterations by category.
    pub by_category: BTreeMap<String, u64>,
    /// Iterations being run, in order.
    pub in_flight: Vec<Running>,
    /// Half of the recorded iterations took at most this long, in seconds; `None` where no duration is known.
    pub usual_s: Option<f64>,
    /// Time left at this pace, in seconds; `None` where nothing runs or nothing is known.
    pub left_s: Option<f64>,
    /// Why the last process that is done ended: `complete`, `interrupted`, a stop rule.
    pub ended: Option<String>,
    /// Outcomes of the last iterations, oldest first.
    pub latest: Vec<Latest>,
}

/// One iteration being run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    /// Its number.
    pub iteration: u32,
    /// Seconds since its attempt began.
    pub elapsed_s: Option<f64>,
    /// Machine that runs it.
    pub host: Option<String>,
    /// Process that runs it.
    pub pid: Option<u32>,
    /// Directory of its attempt.
    pub attempt: Option<String>,
    /// Last line of its log, without color or control characters.
    pub last_line: Option<String>,
}

/// One recorded iteration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latest {
    /// Its number.
    pub iteration: u32,
    /// What it said about the tests.
    pub verdict: Verdict,
    /// What happened.
    pub outcome: OutcomeKind,
    /// Categories of its failures.
    pub categories: Vec<String>,
    /// Tests that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing_tests: Vec<String>,
    /// Its directory, as the user would type it.
    pub dir: String,
}

impl SweepStatus {
    /// Iterations without an answer.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.planned.saturating_sub(self.recorded)
    }

    /// Sets the time left from what the running iterations have still to do and those that nobody runs yet.
    pub fn estimate(&mut self) {
        let (Some(usual), false) = (self.usual_s, self.in_flight.is_empty()) else {
            return;
        };
        let of_running = self
            .in_flight
            .iter()
            .map(|running| (usual - running.elapsed_s.unwrap_or(0.0)).max(0.0));
        let slots = self.in_flight.len() as f64;
        let waiting = self.missing().saturating_sub(self.in_flight.len() as u64) as f64;
        self.left_s = Some((of_running.sum::<f64>() + waiting * usual) / slots);
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::Method;
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_running_ones_and_those_behind_them() {
        let running = |elapsed_s| Running {
            iteration: 1,
            elapsed_s: Some(elapsed_s),
            host: None,
            pid: None,
            attempt: None,
            last_line: None,
        };
        let mut status = SweepStatus {
            sweep: "logs/n4".to_owned(),
            running: true,
            planned: 10,
            recorded: 4,
            passed: 4,
            failed: 0,
            errored: 0,
            rate: Rate::new(0, 4, 0.95, Method::Wilson),
            by_category: BTreeMap::new(),
            in_flight: vec![running(40.0), running(500.0)],
            usual_s: Some(100.0),
            left_s: None,
            ended: None,
            latest: Vec::new(),
        };
        status.estimate();
        // 60 of the first, none of the second that is over its time, four more: 460 over two slots.
        assert_eq!(status.left_s, Some(230.0));
        status.in_flight.clear();
        status.left_s = None;
        status.estimate();
        assert_eq!(status.left_s, None);
    }
}
