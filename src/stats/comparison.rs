//! A base against a new sweep, class by class: what `compare` says, as a value.
//!
//! A class is a category of the signatures, or `any` failure at all. Errored iterations are in no count.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::nodes::NodePair;
use super::sample::{FirstSeen, Sample};
use crate::spec::words::words;
use crate::stats::conditions::Difference;
use crate::stats::rate::Ends;
use crate::stats::{self, Count, ExactTest, Fisher, OneSided, Rate, Sizes};

mod sentence;

/// The id of the class that every failed iteration belongs to.
pub const ANY: &str = "any";

words! {
    /// A direction stated before the sweeps were run.
    pub enum Direction {
        /// The new one fails less often.
        Fewer = "fewer",
        /// The new one fails more often.
        More = "more",
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The only direction that is tested, if one was stated beforehand; else both are, each at half the level.
    pub expect: Option<Direction>,
    /// Chance of a wrong verdict where nothing changed, over all classes together.
    pub alpha: f64,
    pub confidence: f64,
    /// The test, where one was asked for; else the one that fits the two sizes.
    pub test: Option<ExactTest>,
}

impl Default for Question {
    fn default() -> Question {
        Question {
            expect: None,
            alpha: 0.05,
            confidence: 0.95,
            test: None,
        }
    }
}

impl Question {
    /// What an adjusted one-sided p has to be below.
    pub fn level(&self) -> f64 {
        match self.expect {
            Some(_) => self.alpha,
            None => self.alpha / 2.0,
        }
    }
}

words! {
    /// What the numbers carry about one class.
    pub enum Finding {
        /// The new one fails less often.
        Fewer = "fewer",
        /// The new one fails more often.
        More = "more",
        /// Chance explains the difference; never "fixed", never "unchanged".
        NoEvidence = "no evidence",
    }
}

/// One class of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Class {
    /// `any`, or the category.
    pub id: String,
    #[serde(serialize_with = "Rate::ends")]
    #[schemars(with = "Ends")]
    pub base: Rate,
    #[serde(serialize_with = "Rate::ends")]
    #[schemars(with = "Ends")]
    pub new: Rate,
    /// Fisher's exact test.
    #[serde(flatten, serialize_with = "p_values")]
    #[schemars(with = "PValues")]
    pub fisher: Fisher,
    /// The test that the verdict comes from.
    pub test: ExactTest,
    /// Its p-values.
    #[serde(flatten, serialize_with = "tested")]
    #[schemars(with = "TestedPValues")]
    pub tested: OneSided,
    /// The tested one-sided p (the smaller one where no direction was stated), after Holm over all classes.
    pub p_adjusted: f64,
    /// What follows.
    pub verdict: Finding,
    /// Clean iterations in a row that would show an improvement on the base; `None` where it did not fail.
    pub clean_runs_needed: Option<u64>,
}

/// [`Fisher`] as a comparison publishes it.
#[derive(Serialize, JsonSchema)]
struct PValues {
    #[serde(rename = "p_less")]
    less: f64,
    #[serde(rename = "p_greater")]
    greater: f64,
    #[serde(rename = "p_two_sided")]
    two_sided: f64,
}

fn p_values<S: Serializer>(fisher: &Fisher, serializer: S) -> Result<S::Ok, S::Error> {
    PValues {
        less: fisher.less,
        greater: fisher.greater,
        two_sided: fisher.two_sided,
    }
    .serialize(serializer)
}

/// [`OneSided`] as a comparison publishes it.
#[derive(Serialize, JsonSchema)]
struct TestedPValues {
    #[serde(rename = "p_test_less")]
    less: f64,
    #[serde(rename = "p_test_greater")]
    greater: f64,
}

fn tested<S: Serializer>(p: &OneSided, serializer: S) -> Result<S::Ok, S::Error> {
    TestedPValues {
        less: p.less,
        greater: p.greater,
    }
    .serialize(serializer)
}

impl Class {
    /// The direction the rates point in, whether or not the numbers carry it; `None` where they are equal.
    pub fn leaning(&self) -> Option<Direction> {
        match self.new.count.rate().partial_cmp(&self.base.count.rate()) {
            Some(std::cmp::Ordering::Less) => Some(Direction::Fewer),
            Some(std::cmp::Ordering::Greater) => Some(Direction::More),
            Some(std::cmp::Ordering::Equal) | None => None,
        }
    }

    /// The one-sided p that was tested: of the direction stated beforehand, else the smaller one.
    pub fn tested_p(&self, expect: Option<Direction>) -> f64 {
        tested_p(self.tested, expect)
    }
}

fn tested_p(p: OneSided, expect: Option<Direction>) -> f64 {
    match expect {
        Some(Direction::Fewer) => p.less,
        Some(Direction::More) => p.greater,
        None => p.less.min(p.greater),
    }
}

/// How the sizes of two sides came about: fixed beforehand where both sweeps were to be equally long, and nothing seen
/// ended or selected either.
fn sizes(base: &Sample, new: &Sample) -> Sizes {
    if base.planned.is_some() && base.planned == new.planned {
        Sizes::FixedBeforehand
    } else {
        Sizes::Chosen
    }
}

/// A side, as far as the comparison shows it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Compared {
    /// The directory or the counts, as given.
    pub name: String,
    /// Failed iterations of those that passed or failed.
    #[serde(flatten)]
    pub count: Count,
}

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// Version of this layout, 1.
    pub format: u32,
    /// Before.
    pub base: Compared,
    /// Now.
    pub new: Compared,
    /// `any` first, then every category that either side has.
    pub classes: Vec<Class>,
    /// The test that the verdicts come from.
    pub test: ExactTest,
    /// Evidence from interleaved blocks that the arms differ in any failure; `None` where they were not interleaved.
    pub e_value: Option<f64>,
    /// The machines side by side, where either sweep used several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodePair>,
    /// What a reader must know before believing the rest.
    pub notes: Vec<String>,
    /// What was asked.
    #[serde(skip)]
    pub question: Question,
    /// In what the two sweeps differ, the intended change included.
    #[serde(skip)]
    pub differences: Vec<Difference>,
    /// Categories that the base does not have, and where the new one shows them first.
    #[serde(skip)]
    pub appeared: Vec<(String, Option<FirstSeen>)>,
}

impl Comparison {
    /// Compares two sides. A side without a single passed or failed iteration is compared too, with no evidence.
    pub fn new(base: &Sample, new: &Sample, question: Question) -> Comparison {
        let mut ids: Vec<&str> = vec![ANY];
        let named: BTreeSet<&str> = base
            .by_category
            .keys()
            .chain(new.by_category.keys())
            .map(String::as_str)
            .collect();
        ids.extend(named);
        let counts: Vec<(Count, Count)> = ids.iter().map(|id| (base.class(id), new.class(id))).collect();
        let fitting = ExactTest::fitting(sizes(base, new), base.any, new.any);
        let test = question.test.unwrap_or(fitting).computable(base.any, new.any);
        let tests: Vec<OneSided> = counts.iter().map(|(base, new)| test.p_values(*base, *new)).collect();
        let tested: Vec<f64> = tests.iter().map(|p| tested_p(*p, question.expect)).collect();
        let classes = ids
            .iter()
            .zip(counts)
            .zip(tests)
            .zip(stats::holm(&tested))
            .map(|(((id, counts), tested), p_adjusted)| Class {
                id: (*id).to_owned(),
                base: base.rate(id, question.confidence),
                new: new.rate(id, question.confidence),
                fisher: stats::fisher(counts.0, counts.1),
                test,
                tested,
                p_adjusted,
                verdict: verdict(tested, p_adjusted, question),
                clean_runs_needed: stats::clean_runs_needed(counts.0, question.alpha),
            })
            .collect();
        let differences = crate::stats::conditions::differences(base.conditions.as_ref(), new.conditions.as_ref());
        let mut notes: Vec<String> = [base, new].into_iter().flat_map(Sample::notes).collect();
        notes.extend(crate::stats::conditions::notes(&differences));
        let appeared = appeared(base, new);
        notes.extend(perturbed_alone(base, new, &appeared));
        Comparison {
            format: 1,
            base: Compared {
                name: base.name.clone(),
                count: base.any,
            },
            new: Compared {
                name: new.name.clone(),
                count: new.any,
            },
            classes,
            test,
            e_value: None,
            nodes: super::nodes::pairs(&base.nodes, &new.nodes),
            notes,
            question,
            differences,
            appeared,
        }
    }
}

fn appeared(base: &Sample, new: &Sample) -> Vec<(String, Option<FirstSeen>)> {
    // Typed counts have no categories, so nothing can be new against them.
    if base.conditions.is_none() {
        return Vec::new();
    }
    let is_new = |id: &&String| base.class(id).failed() == 0 && new.class(id).failed() > 0;
    new.by_category
        .keys()
        .filter(is_new)
        .map(|id| (id.clone(), new.first_seen.get(id).cloned()))
        .collect()
}

/// Says of the categories that only the new side shows that they may be its condition's own, where that side alone ran
/// under conditions that bring races out.
fn perturbed_alone(base: &Sample, new: &Sample, appeared: &[(String, Option<FirstSeen>)]) -> Option<String> {
    let words = |sample: &Sample| -> Vec<String> {
        let spec = sample
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.spec.as_ref());
        let container = spec.map(|spec| &spec.container);
        let named = container
            .iter()
            .flat_map(|container| container.conditions.iter().map(ToString::to_string));
        let starve = container.and_then(|container| container.starve.as_ref());
        named.chain(starve.map(|starve| format!("starve {starve}"))).collect()
    };
    let (without, with) = (words(base), words(new));
    if with.is_empty() || !without.is_empty() || appeared.is_empty() {
        return None;
    }
    let ids: Vec<&str> = appeared.iter().map(|(id, _)| id.as_str()).collect();
    Some(format!(
        "{} seen under `{}` alone (0/{} without): it may be the condition's own, and no failure of the suite",
        ids.join(", "),
        with.join(", "),
        base.any.of()
    ))
}

fn verdict(p: OneSided, p_adjusted: f64, question: Question) -> Finding {
    if p_adjusted >= question.level() {
        return Finding::NoEvidence;
    }
    match question.expect {
        None if p.less > p.greater => Finding::More,
        Some(Direction::Fewer) | None => Finding::Fewer,
        Some(Direction::More) => Finding::More,
    }
}

#[cfg(test)]
mod tests;
