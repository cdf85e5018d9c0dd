//! The status of one sweep at this moment. A recorded iteration is read once and again only when it changes, so that
//! `status --follow` is cheap over ten thousand iterations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::commands::judged_sweep::CONFIDENCE;
use crate::judge::Verdict;
use crate::report::shown::short;
use crate::run::{self, InFlight, RunStamp, StoreError};
use crate::spec::Spec;
use crate::stats::durations::Spread;
use crate::stats::{Count, Method, Rate};
use crate::sweep::status::{Latest, Running, SweepStatus};

/// Most of the last iterations that a status holds.
const MOST_LATEST: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Watched {
    sweeps: BTreeMap<PathBuf, BTreeMap<u32, (RunStamp, Brief)>>,
    /// Answers that `--retry` set aside, by directory: they change no more.
    replaced: BTreeMap<PathBuf, Brief>,
}

/// What a status tells of one recorded iteration.
#[derive(Debug)]
struct Brief {
    /// `None` for an iteration without a judgement.
    outcome: Option<Latest>,
    duration_s: Option<f64>,
}

impl Watched {
    pub(super) fn look(&mut self, dir: &Path) -> Result<SweepStatus, StoreError> {
        // Iterations in flight are read first: one that is published meanwhile is then counted as recorded, not lost.
        let in_flight = run::in_flight(dir)?;
        let spec = run::spec(dir).unwrap_or_default();
        let runs = self.sweeps.entry(dir.to_owned()).or_default();
        let there = run::stamps(dir)?;
        runs.retain(|iteration, (stamp, _)| there.get(iteration).is_some_and(|now| now == stamp));
        for (iteration, stamp) in there {
            runs.entry(iteration).or_insert_with(|| {
                let brief = brief(iteration, stamp.dir.clone());
                (stamp, brief)
            });
        }
        let mut replaced = Vec::new();
        for (iteration, path) in run::replaced(dir) {
            let known = self.replaced.entry(path.clone());
            replaced.extend(known.or_insert_with(|| brief(iteration, path)).outcome.clone());
        }
        Ok(status(dir, in_flight, spec.as_ref(), runs, &replaced))
    }

    pub(super) fn keep_only(&mut self, dirs: &[PathBuf]) {
        self.sweeps.retain(|dir, _| dirs.contains(dir));
    }
}

fn brief(iteration: u32, dir: PathBuf) -> Brief {
    let run = run::read_run(iteration, dir);
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
    replaced: &[Latest],
) -> SweepStatus {
    let recorded = runs.len() as u64;
    let outcomes = || runs.values().filter_map(|(_, brief)| brief.outcome.as_ref());
    let n_with = |verdict| n_with(outcomes(), verdict);
    let mut by_category: BTreeMap<String, u64> = BTreeMap::new();
    for category in outcomes().chain(replaced).flat_map(|outcome| &outcome.categories) {
        *by_category.entry(category.clone()).or_default() += 1;
    }
    let durations = runs.values().filter_map(|(_, brief)| brief.duration_s).collect();
    let mut latest: Vec<Latest> = outcomes().rev().take(MOST_LATEST).cloned().collect();
    latest.reverse();
    let now = Utc::now();
    let n_asked_again = |verdict| self::n_with(replaced.iter(), verdict);
    let (failed, passed) = (n_asked_again(Verdict::Failed), n_asked_again(Verdict::Passed));
    let is_stopped = spec.is_some_and(|spec| spec.stop_rule().is_some());
    let rate = rate(
        n_with(Verdict::Failed) + failed,
        n_with(Verdict::Passed) + passed,
        !in_flight.is_empty() || is_stopped || failed + passed > 0,
    );
    let mut status = SweepStatus {
        sweep: dir.display().to_string(),
        running: !in_flight.is_empty(),
        planned: planned(spec).max(recorded),
        recorded,
        passed: n_with(Verdict::Passed),
        failed: n_with(Verdict::Failed),
        errored: n_with(Verdict::Errored),
        rate,
        by_category,
        in_flight: in_flight
            .into_iter()
            .filter(|running| !runs.contains_key(&running.iteration))
            .map(|running| describe(running, now))
            .collect(),
        usual_s: Spread::of(durations).map(|spread| spread.median),
        left_s: None,
        ended: spec.and_then(|spec| spec.ended.clone()),
        stop_rule: spec.and_then(Spec::stop_rule).map(str::to_owned),
        latest,
    };
    status.estimate();
    status
}

fn n_with<'a>(outcomes: impl Iterator<Item = &'a Latest>, verdict: Verdict) -> u64 {
    outcomes.filter(|outcome| outcome.verdict == verdict).count() as u64
}

/// The interval of a sweep that runs allows for being watched.
fn rate(failed: u64, passed: u64, is_watched: bool) -> Rate {
    let method = if is_watched {
        Method::ConfidenceSequence
    } else {
        Method::Wilson
    };
    Rate::new(
        Count::new(failed, failed + passed).unwrap_or_default(),
        CONFIDENCE,
        method,
    )
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
