//! One sweep at this moment. What was read of a recorded iteration is not read again until it changes, so that looking
//! again and again at ten thousand of them costs little.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::commands::judged::CONFIDENCE;
use crate::model::durations::Spread;
use crate::model::status::{Latest, Running, SweepStatus};
use crate::model::summary::{Method, Rate};
use crate::model::{Spec, Verdict};
use crate::render::visible::short;
use crate::store::{self, InFlight, RunStamp, StoreError};

/// How many of the last iterations are told.
const MOST_LATEST: usize = 200;

/// What is known of the sweeps that were looked at.
#[derive(Debug, Default)]
pub(super) struct Watched {
    sweeps: BTreeMap<PathBuf, BTreeMap<u32, (RunStamp, Brief)>>,
}

/// What a status tells of one recorded iteration.
#[derive(Debug)]
struct Brief {
    /// `None` where nobody has judged it.
    outcome: Option<Latest>,
    duration_s: Option<f64>,
}

impl Watched {
    /// Looks at one sweep.
    pub(super) fn look(&mut self, dir: &Path) -> Result<SweepStatus, StoreError> {
        // First what runs: what is published meanwhile is counted as recorded, and not lost in between.
        let in_flight = store::in_flight(dir)?;
        let spec = store::spec(dir).unwrap_or_default();
        let runs = self.sweeps.entry(dir.to_owned()).or_default();
        let there = store::stamps(dir)?;
        runs.retain(|iteration, (stamp, _)| there.get(iteration).is_some_and(|now| now == stamp));
        for (iteration, stamp) in there {
            runs.entry(iteration).or_insert_with(|| {
                let brief = brief(iteration, &stamp);
                (stamp, brief)
            });
        }
        Ok(status(dir, in_flight, spec.as_ref(), runs))
    }

    /// Forgets sweeps that are no longer looked at.
    pub(super) fn keep_only(&mut self, dirs: &[PathBuf]) {
        self.sweeps.retain(|dir, _| dirs.contains(dir));
    }
}

fn brief(iteration: u32, stamp: &RunStamp) -> Brief {
    let run = store::read_run(iteration, stamp.dir.clone());
    Brief {
        duration_s: run.exit.and_then(|exit| exit.duration_s),
        outcome: run.outcome.map(|outcome| Latest {
            iteration,
            verdict: outcome.verdict,
            outcome: outcome.outcome,
            categories: outcome.categories,
            failing_tests: outcome.failing_tests,
            dir: run.dir.display().to_string(),
        }),
    }
}

fn status(
    dir: &Path,
    in_flight: Vec<InFlight>,
    spec: Option<&Spec>,
    runs: &BTreeMap<u32, (RunStamp, Brief)>,
) -> SweepStatus {
    let recorded = runs.len() as u64;
    let outcomes = || runs.values().filter_map(|(_, brief)| brief.outcome.as_ref());
    let n_with = |verdict| outcomes().filter(|outcome| outcome.verdict == verdict).count() as u64;
    let mut by_category: BTreeMap<String, u64> = BTreeMap::new();
    for category in outcomes().flat_map(|outcome| &outcome.categories) {
        *by_category.entry(category.clone()).or_default() += 1;
    }
    let durations = runs.values().filter_map(|(_, brief)| brief.duration_s).collect();
    let mut latest: Vec<Latest> = outcomes().rev().take(MOST_LATEST).cloned().collect();
    latest.reverse();
    let now = Utc::now();
    let mut status = SweepStatus {
        sweep: dir.display().to_string(),
        running: !in_flight.is_empty(),
        planned: planned(spec).max(recorded),
        recorded,
        passed: n_with(Verdict::Passed),
        failed: n_with(Verdict::Failed),
        errored: n_with(Verdict::Errored),
        rate: rate(n_with(Verdict::Failed), n_with(Verdict::Passed), !in_flight.is_empty()),
        by_category,
        in_flight: in_flight
            .into_iter()
            .filter(|running| !runs.contains_key(&running.iteration))
            .map(|running| describe(running, now))
            .collect(),
        usual_s: Spread::of(durations).map(|spread| spread.median),
        left_s: None,
        ended: spec.and_then(|spec| spec.ended.clone()),
        latest,
    };
    status.estimate();
    status
}

/// While it runs people look again and again, so that the interval must allow for it.
fn rate(failed: u64, passed: u64, is_running: bool) -> Rate {
    let method = if is_running {
        Method::ConfidenceSequence
    } else {
        Method::Wilson
    };
    Rate::new(failed, failed + passed, CONFIDENCE, method)
}

fn planned(spec: Option<&Spec>) -> u64 {
    spec.map_or(0, |spec| u64::from(spec.last.saturating_sub(spec.first)) + 1)
}

fn describe(running: InFlight, now: DateTime<Utc>) -> Running {
    Running {
        iteration: running.iteration,
        elapsed_s: running.since.map(|since| (now - since).as_seconds_f64().max(0.0)),
        host: running.host,
        pid: running.pid,
        attempt: running.attempt.map(|attempt| attempt.display().to_string()),
        last_line: running.last_line.map(|line| short(line.trim(), 400)),
    }
}
