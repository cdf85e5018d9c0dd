//! How far sweeps have come, whoever runs them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::judge::{OutcomeKind, Verdict};
use crate::stats::Rate;

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
    pub passed: u64,
    pub failed: u64,
    /// Iterations that say nothing about the tests.
    pub errored: u64,
    /// Failed of passed or failed; of a running sweep with the interval that may be watched.
    pub rate: Rate,
    pub by_category: BTreeMap<String, u64>,
    /// Iterations being run, in order.
    pub in_flight: Vec<Running>,
    /// Half of the recorded iterations took at most this long, in seconds; `None` where no duration is known.
    pub usual_s: Option<f64>,
    /// Time left at this pace, in seconds; `None` where nothing runs or nothing is known.
    pub left_s: Option<f64>,
    /// Why the last process that is done ended: `complete`, `interrupted`, a stop rule.
    pub ended: Option<String>,
    /// The stop rule that ended the work of any process on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_rule: Option<String>,
    /// Outcomes of the last iterations, oldest first.
    pub latest: Vec<Latest>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    pub iteration: u32,
    /// Seconds since its attempt began.
    pub elapsed_s: Option<f64>,
    pub host: Option<String>,
    pub pid: Option<u32>,
    pub attempt: Option<String>,
    /// Last line of its log, without color or control characters.
    pub last_line: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latest {
    pub iteration: u32,
    /// What it said about the tests.
    pub verdict: Verdict,
    pub outcome: OutcomeKind,
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing_tests: Vec<String>,
    /// Its directory, as the user would type it.
    pub dir: String,
}

impl SweepStatus {
    /// Where it stands in a few words. Complete is what has an answer for all that was asked, whatever a process said
    /// when it was done.
    pub fn state(&self) -> String {
        if self.running {
            return "running".to_owned();
        }
        match (&self.stop_rule, self.ended.as_deref()) {
            (_, Some(ended @ "complete")) if self.recorded >= self.planned => format!("not running ({ended})"),
            (Some(rule), _) => format!("ended by its stop rule `{rule}`"),
            (None, Some("complete")) => {
                format!("not running, {} of {} recorded", self.recorded, self.planned)
            }
            (None, Some(ended)) => format!("not running ({ended})"),
            (None, None) => "not running".to_owned(),
        }
    }

    /// Iterations without an answer.
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
    use super::*;
    use crate::stats::{Count, Method};

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
            rate: Rate::new(Count::new(0, 4).unwrap(), 0.95, Method::Wilson),
            by_category: BTreeMap::new(),
            in_flight: vec![running(40.0), running(500.0)],
            usual_s: Some(100.0),
            left_s: None,
            ended: None,
            stop_rule: None,
            latest: Vec::new(),
        };
        status.estimate();
        // 60 of the first, none of the second that is over its time, four more: 460 over two slots.
        assert_eq!(status.left_s, Some(230.0));
        status.in_flight.clear();
        status.left_s = None;
        status.estimate();
        assert_eq!(status.left_s, None);

        assert_eq!(status.state(), "running");
        status.running = false;
        status.ended = Some("complete".to_owned());
        assert_eq!(status.state(), "not running, 4 of 10 recorded");
        status.stop_rule = Some("until A4=1".to_owned());
        assert_eq!(status.state(), "ended by its stop rule `until A4=1`");
        // A later process ran what the rule had left out.
        status.recorded = status.planned;
        assert_eq!(status.state(), "not running (complete)");
    }
}
