//! The status of one sweep at this moment. Of a recorded iteration only its judgement is looked at, and read again when it
//! changes, so that `status` is cheap over ten thousand iterations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::backend;
use crate::commands::judged_sweep::CONFIDENCE;
use crate::judge::Verdict;
use crate::report::shown::short;
use crate::run::{self, Brief, InFlight, StoreError};
use crate::spec::Spec;
use crate::stats::durations::Spread;
use crate::stats::{Count, Method, Rate};
use crate::sweep::status::{Latest, Running, SweepStatus};

/// Most of the last iterations that a status holds.
const MOST_LATEST: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Watched {
    sweeps: BTreeMap<PathBuf, Vec<Brief>>,
    /// Answers that `--retry` set aside, by directory: they change no more.
    replaced: BTreeMap<PathBuf, Option<Latest>>,
}

impl Watched {
    pub(super) fn look(&mut self, dir: &Path) -> Result<SweepStatus, StoreError> {
        // Iterations in flight are read first: one that is published meanwhile is then counted as recorded, not lost.
        let in_flight = run::in_flight(dir)?;
        let spec = run::spec(dir).unwrap_or_default();
        let runs = self.sweeps.entry(dir.to_owned()).or_default();
        *runs = run::look(dir, std::mem::take(runs), backend::cache().as_deref())?;
        let mut replaced = Vec::new();
        for (iteration, path) in run::replaced(dir) {
            let known = self.replaced.entry(path.clone());
            replaced.extend(known.or_insert_with(|| latest(iteration, path)).clone());
        }
        Ok(status(dir, in_flight, spec.as_ref(), runs, &replaced))
    }

    pub(super) fn keep_only(&mut self, dirs: &[PathBuf]) {
        self.sweeps.retain(|dir, _| dirs.contains(dir));
    }
}

/// What a run came to; `None` without a judgement.
fn latest(iteration: u32, dir: PathBuf) -> Option<Latest> {
    let run = run::read_run(iteration, dir);
    let outcome = run.outcome?;
    Some(Latest {
        iteration,
        verdict: outcome.verdict,
        outcome: outcome.outcome,
        categories: outcome.categories,
        failing_tests: outcome.failing_tests,
        dir: run.dir.display().to_string(),
    })
}

fn status(
    dir: &Path,
    in_flight: Vec<InFlight>,
    spec: Option<&Spec>,
    runs: &[Brief],
    replaced: &[Latest],
) -> SweepStatus {
    let recorded = runs.len() as u64;
    let judged = || runs.iter().filter_map(|run| Some((run, run.outcome?.verdict())));
    let n_with = |verdict| judged().filter(|(_, own)| *own == verdict).count() as u64;
    let mut by_category: BTreeMap<String, u64> = BTreeMap::new();
    let asked_again = replaced.iter().map(|answer| &answer.categories);
    for category in judged().map(|(run, _)| &run.categories).chain(asked_again).flatten() {
        *by_category.entry(category.clone()).or_default() += 1;
    }
    let durations = runs.iter().filter_map(|run| run.duration_s).collect();
    let last = judged().rev().take(MOST_LATEST);
    let mut latest: Vec<Latest> = last
        .filter_map(|(run, _)| latest(run.iteration, run.dir(dir)))
        .collect();
    latest.reverse();
    let now = Utc::now();
    let n_asked_again = |verdict| replaced.iter().filter(|answer| answer.verdict == verdict).count() as u64;
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
            .filter(|running| {
                runs.binary_search_by_key(&running.iteration, |run| run.iteration)
                    .is_err()
            })
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
