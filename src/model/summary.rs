//! What a sweep came to: the value behind every report, a pure function of its records.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::drift::{Drift, Point, Row};
use super::durations::Durations;
use super::nodes::Node;
use super::test_rate::TestRates;
use super::{Limits, OutcomeKind, Record, Spec, Verdict};

mod causes;
mod names;
mod notes;
mod rate;
mod run;

pub use causes::{Category, Test, Unknown};
pub use names::{ranges, split_name};
pub use rate::{Method, Rate};
pub use run::{Run, blame, blame_of};

/// What a category means, as the signatures say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Id of the signature.
    pub id: String,
    /// A few words for tables.
    pub title: String,
    /// What to look at; empty where nobody wrote any.
    pub advice: String,
}

/// Everything that is known of a sweep and goes into its summary.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The sweep's directory, as the user would type it.
    pub sweep: &'a str,
    /// What was asked for; `None` in trees of the script.
    pub spec: Option<&'a Spec>,
    /// Its iterations, in order.
    pub records: &'a [Record],
    /// How often tests failed of how often they were reached.
    pub tests: &'a TestRates,
    /// The categories in the order of the signatures.
    pub classes: &'a [Class],
    /// Failures that no signature covers, grouped.
    pub unknown: &'a [Unknown],
    /// Iterations that some process is running now.
    pub running: u64,
    /// What of the sweep could not be read.
    pub problems: &'a [String],
    /// Confidence of the intervals.
    pub confidence: f64,
}

/// A sweep in figures. As JSON it is the contract of `summary --format json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Version of this layout, 1.
    pub format: u32,
    /// The sweep's directory, as the user would type it.
    pub sweep: String,
    /// `serial`, `n4` …; `None` where neither the specification nor the name says it.
    pub mode: Option<String>,
    /// `--tag`.
    pub tag: Option<String>,
    /// How many iterations there are of which kind.
    pub iterations: Iterations,
    /// Failed of passed or failed.
    pub rate: Rate,
    /// Iterations by outcome, the strongest first; only those that occur.
    #[serde(serialize_with = "as_map")]
    pub outcomes: Vec<(OutcomeKind, u64)>,
    /// Categories that occur, in the order of the signatures.
    pub categories: Vec<Category>,
    /// Tests that failed, the most frequent first.
    pub tests: Vec<Test>,
    /// Failing tests with parameters, all variants of one taken together: `test_indexers_sync[*]`.
    pub test_groups: Vec<Test>,
    /// Failures that no signature covers, those that look like one bug together; the most frequent first.
    pub unknown: Vec<Unknown>,
    /// Stretches with one rate; one where nothing changed.
    pub regimes: Vec<Row>,
    /// Chance that one constant rate splits as well as the first split; `None` without results.
    pub regime_p: Option<f64>,
    /// Wall times of iterations.
    pub durations_s: Durations,
    /// The machines, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// What a reader must know, a sentence each.
    pub notes: Vec<String>,
    /// Iterations that did not pass, in order.
    pub not_passed: Vec<Run>,
    /// Iterations that passed, in order.
    #[serde(skip)]
    pub passed: Vec<Run>,
    /// Whether `of` of a test counts every iteration, since some do not say which tests they reached.
    #[serde(skip)]
    pub is_reach_assumed: bool,
    /// What ran: image and arguments; `None` in trees of the script.
    pub conditions: Option<Conditions>,
}

/// How many iterations there are of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Iterations {
    /// Asked for so far; in trees of the script, from the first that is there to the last.
    pub planned: u64,
    /// With an answer.
    pub recorded: u64,
    /// Nothing failed.
    pub passed: u64,
    /// Something failed.
    pub failed: u64,
    /// They say nothing about the tests, and are in no rate.
    pub errored: u64,
    /// Without an answer.
    pub missing: u64,
}

/// What ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conditions {
    /// Image as the user named it; empty for processes of this machine.
    pub image: String,
    /// Identity of what was found under that name.
    pub image_id: Option<String>,
    /// Where attempts executed.
    pub backend: &'static str,
    /// Node ids and arguments handed to pytest.
    pub pytest_args: Vec<String>,
    /// What its iterations had to get by with, each set of limits once; empty where nothing was limited or added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<Limits>,
}

impl Summary {
    /// Summarizes a sweep.
    #[must_use]
    pub fn of(source: &Source<'_>) -> Summary {
        let Source {
            sweep,
            spec,
            records,
            confidence,
            ..
        } = *source;
        let n_with = |verdict| {
            records
                .iter()
                .filter(|record| record.outcome.verdict == verdict)
                .count() as u64
        };
        let (passed, failed) = (n_with(Verdict::Passed), n_with(Verdict::Failed));
        let missing = missing(spec, records);
        let recorded = records.len() as u64;
        let drift = Drift::of(records.iter().filter_map(Point::of).collect());
        let durations = durations(records);
        let (mode, tag) = match spec {
            Some(spec) => (Some(spec.mode), spec.tag.clone()),
            None => split_name(sweep),
        };
        let (passed_runs, not_passed): (Vec<Run>, Vec<Run>) = records
            .iter()
            .map(Run::of)
            .partition(|run| run.verdict == Verdict::Passed);
        Summary {
            format: 1,
            sweep: sweep.to_owned(),
            mode: mode.map(|mode| mode.to_string()),
            tag,
            iterations: Iterations {
                planned: recorded + missing.len() as u64,
                recorded,
                passed,
                failed,
                errored: n_with(Verdict::Errored),
                missing: missing.len() as u64,
            },
            rate: Rate::new(failed, passed + failed, confidence, Method::of(spec)),
            outcomes: OutcomeKind::ALL
                .into_iter()
                .map(|kind| {
                    (
                        kind,
                        records.iter().filter(|record| record.outcome.outcome == kind).count() as u64,
                    )
                })
                .filter(|(_, n)| *n > 0)
                .collect(),
            categories: causes::categories(source, passed + failed),
            tests: causes::tests(&source.tests.failing, source.classes),
            test_groups: causes::tests(&source.tests.groups, source.classes),
            notes: notes::notes(source, &missing, &drift, &durations),
            nodes: super::nodes::nodes(records, confidence),
            unknown: source.unknown.to_vec(),
            regimes: drift.regimes,
            regime_p: drift.regime_p,
            durations_s: durations,
            not_passed,
            passed: passed_runs,
            is_reach_assumed: source.tests.failing.iter().any(|test| test.is_assumed),
            conditions: spec.map(|spec| Conditions {
                image: spec.image.clone(),
                image_id: spec.image_id.clone(),
                backend: spec.backend.as_str(),
                pytest_args: spec.pytest_args.clone(),
                load: load(records),
            }),
        }
    }

    /// First and last iteration that is recorded.
    #[must_use]
    pub fn span(&self) -> Option<(u32, u32)> {
        let numbers = || self.not_passed.iter().chain(&self.passed).map(|run| run.iteration);
        Some((numbers().min()?, numbers().max()?))
    }
}

/// Every set of limits that iterations ran under, if any ran under one.
fn load(records: &[Record]) -> Vec<Limits> {
    let mut found: Vec<Limits> = Vec::new();
    for exit in records.iter().filter_map(|record| record.exit.as_ref()) {
        let own = exit.conditions.clone().unwrap_or_default();
        if !found.contains(&own) {
            found.push(own);
        }
    }
    if found.iter().all(|own| own.words().is_empty()) {
        found.clear();
    }
    found
}

/// Iterations that were asked for and have no answer.
fn missing(spec: Option<&Spec>, records: &[Record]) -> Vec<u32> {
    let recorded: BTreeSet<u32> = records.iter().map(|record| record.iteration).collect();
    let asked = match spec {
        Some(spec) => Some((spec.first, spec.last)),
        None => recorded.first().copied().zip(recorded.last().copied()),
    };
    asked.map_or_else(Vec::new, |(first, last)| {
        (first..=last)
            .filter(|iteration| !recorded.contains(iteration))
            .collect()
    })
}

fn durations(records: &[Record]) -> Durations {
    let known = records
        .iter()
        .filter_map(|record| Some((record.outcome.verdict, record.exit.as_ref()?.duration_s?)));
    Durations::of(&known.collect::<Vec<_>>())
}

fn as_map<S: Serializer>(outcomes: &[(OutcomeKind, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(outcomes.iter().copied())
}

#[cfg(test)]
mod tests;
