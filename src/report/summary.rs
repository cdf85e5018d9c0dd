//! What a sweep came to: the value behind every report, a pure function of its answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::judge::cluster::Group;
use crate::judge::{OutcomeKind, Record, Verdict};
use crate::spec::Mode;
use crate::stats::answers::n_with;
use crate::stats::drift::{Drift, Row};
use crate::stats::durations::Durations;
use crate::stats::nodes::{self, Node};
use crate::stats::starvation::Starved;
use crate::stats::test_rate::{TestRate, TestRates};
use crate::stats::{Answers, Rate};

mod categories;
mod conditions;
mod notes;
mod numbers;
mod reruns;
mod run;
mod texts;

pub use categories::Category;
pub use conditions::Conditions;
pub use numbers::{Gaps, ranges};
pub use reruns::Reran;
pub use run::Run;

/// What a category means, as the signatures say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub id: String,
    /// A few words for tables.
    pub title: String,
    /// What to look at; empty where nobody wrote any.
    pub advice: String,
}

/// Everything that is known of a sweep and goes into its summary.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub answers: Answers<'a>,
    pub tests: &'a TestRates,
    /// The categories in the order of the signatures.
    pub classes: &'a [Class],
    /// Failures that no signature covers, grouped.
    pub unknown: &'a [Group],
    /// Iterations that some process is running now.
    pub running: u64,
    /// What is known of its failing tests, where threads and processes were stopped.
    pub starved: &'a [Starved],
    /// What of the sweep could not be read.
    pub problems: &'a [String],
    pub confidence: f64,
}

/// A sweep in figures. As JSON it is the contract of `summary --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Version of this layout, 1.
    pub format: u32,
    pub sweep: String,
    /// `serial`, `n4` …; `None` where neither the specification nor the name says it.
    pub mode: Option<String>,
    pub tag: Option<String>,
    pub iterations: Iterations,
    /// Failed of passed or failed, every answer counted.
    pub rate: Rate,
    /// Iterations by outcome, the strongest first; only those that occur.
    #[serde(serialize_with = "as_map")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub outcomes: Vec<(OutcomeKind, u64)>,
    /// Categories that occur, in the order of the signatures.
    pub categories: Vec<Category>,
    /// Tests that failed, the most frequent first.
    pub tests: Vec<TestRate>,
    /// Failing tests with parameters, all variants of one taken together: `test_indexers_sync[*]`.
    pub test_groups: Vec<TestRate>,
    /// Tests that passed only after a rerun in the same session, the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reran: Vec<Reran>,
    /// Failures that no signature covers, those that look like one bug together; the most frequent first.
    pub unknown: Vec<Group>,
    /// Stretches with one rate; one where nothing changed.
    pub regimes: Vec<Row>,
    /// Chance that one constant rate splits as well as the first split; `None` without results.
    pub regime_p: Option<f64>,
    /// Wall times of iterations.
    pub durations_s: Durations,
    /// The machines, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Failing tests, and what was stopped when they failed; in sweeps with `--starve`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starved: Vec<Starved>,
    /// What a reader must know, a sentence each.
    pub notes: Vec<String>,
    /// Iterations that did not pass, in order.
    pub not_passed: Vec<Run>,
    /// Answers that others replaced, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Run>,
    /// Iterations that passed, in order.
    #[serde(skip)]
    pub passed: Vec<Run>,
    /// What ran; `None` in trees of the script.
    pub conditions: Option<Conditions>,
}

/// How many iterations there are of which kind, by the answers that stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Iterations {
    /// Asked for so far; in trees of the script, from the first that is there to the last.
    pub planned: u64,
    pub recorded: u64,
    pub passed: u64,
    pub failed: u64,
    /// Iterations that say nothing about the tests, and are in no rate.
    pub errored: u64,
    pub missing: u64,
}

impl Summary {
    pub fn of(source: &Source<'_>) -> Summary {
        let answers = source.answers;
        let Answers { spec, records, .. } = answers;
        let sweep = answers.name();
        let gaps = Gaps::of(spec, records);
        let recorded = records.len() as u64;
        let drift = Drift::of(answers);
        let durations = durations(answers);
        let (mode, tag) = match spec {
            Some(spec) => (Some(spec.mode), spec.tag.clone()),
            None => Mode::of_dir(&sweep),
        };
        let (passed, not_passed): (Vec<Run>, Vec<Run>) = records
            .iter()
            .map(Run::of)
            .partition(|run| run.verdict == Verdict::Passed);
        let n_of = |kind| {
            let has = |record: &&Record| record.outcome.outcome == kind;
            records.iter().filter(has).count() as u64
        };
        Summary {
            format: 1,
            sweep,
            mode: mode.map(|mode| mode.to_string()),
            tag,
            iterations: Iterations {
                planned: recorded + gaps.n,
                recorded,
                passed: n_with(records.iter(), Verdict::Passed),
                failed: n_with(records.iter(), Verdict::Failed),
                errored: n_with(records.iter(), Verdict::Errored),
                missing: gaps.n,
            },
            rate: answers.rate(source.confidence),
            outcomes: (OutcomeKind::ALL.iter().copied())
                .map(|kind| (kind, n_of(kind)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            categories: categories::categories(source),
            tests: in_order(&source.tests.failing, source.classes),
            test_groups: in_order(&source.tests.groups, source.classes),
            starved: source.starved.to_vec(),
            reran: reruns::reran(source),
            notes: notes::notes(source, &gaps, &drift, &durations),
            nodes: nodes::nodes(answers, source.confidence),
            unknown: source.unknown.to_vec(),
            regimes: drift.regimes,
            regime_p: drift.regime_p,
            durations_s: durations,
            not_passed,
            replaced: answers.replaced.iter().map(Run::of).collect(),
            passed,
            conditions: spec.map(|spec| Conditions::of(spec, answers)),
        }
    }

    /// Every iteration, in order.
    pub fn runs(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.not_passed.iter().chain(&self.passed).collect();
        runs.sort_by_key(|run| run.iteration);
        runs
    }

    /// First and last iteration that is recorded.
    pub fn span(&self) -> Option<(u32, u32)> {
        let numbers = || self.not_passed.iter().chain(&self.passed).map(|run| run.iteration);
        Some((numbers().min()?, numbers().max()?))
    }

    /// Whether `of` of a test counts every answer, since some do not say which tests they reached.
    pub fn is_reach_assumed(&self) -> bool {
        self.tests.iter().any(|test| test.is_assumed)
    }
}

/// Tests whose categories are in the order of the signatures.
fn in_order(tests: &[TestRate], classes: &[Class]) -> Vec<TestRate> {
    let mut tests = tests.to_vec();
    for test in &mut tests {
        test.categories.sort_by_key(|id| categories::place(classes, id));
    }
    tests
}

fn durations(answers: Answers<'_>) -> Durations {
    let known = answers
        .all()
        .filter_map(|record| Some((record.outcome.verdict, record.exit.as_ref()?.duration_s?)));
    Durations::of(&known.collect::<Vec<_>>())
}

fn as_map<S: Serializer>(outcomes: &[(OutcomeKind, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(outcomes.iter().copied())
}

#[cfg(test)]
mod tests;
