//! A base against a new sweep, class by class: what `compare` says, as a value.
//!
//! A class is a category of the signatures, or `any` failure at all. Errored iterations are in no count.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::conditions::Difference;
use super::nodes::NodePair;
use super::side::{FirstSeen, Side};
use crate::stats::{self, Count, Fisher};

/// The id of the class that every failed iteration belongs to.
pub const ANY: &str = "any";

/// A direction stated before the sweeps were run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The new one fails less often.
    Fewer,
    /// The new one fails more often.
    More,
}

/// What is asked of two sweeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The only direction that is tested, if one was stated beforehand; else both are, each at half the level.
    pub expect: Option<Direction>,
    /// Chance of a wrong verdict where nothing changed, over all classes together.
    pub alpha: f64,
    /// Confidence of the intervals.
    pub confidence: f64,
}

impl Default for Question {
    fn default() -> Question {
        Question {
            expect: None,
            alpha: 0.05,
            confidence: 0.95,
        }
    }
}

impl Question {
    /// What an adjusted one-sided p has to be below.
    #[must_use]
    pub fn level(&self) -> f64 {
        match self.expect {
            Some(_) => self.alpha,
            None => self.alpha / 2.0,
        }
    }
}

/// What the numbers carry about one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Finding {
    /// The new one fails less often.
    #[serde(rename = "fewer")]
    Fewer,
    /// The new one fails more often.
    #[serde(rename = "more")]
    More,
    /// Chance explains the difference; never "fixed", never "unchanged".
    #[serde(rename = "no evidence")]
    NoEvidence,
}

impl Finding {
    /// The word used in files and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Fewer => "fewer",
            Finding::More => "more",
            Finding::NoEvidence => "no evidence",
        }
    }
}

/// A count with its interval: Wilson's, unless a stop rule made the number of iterations depend on the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The count.
    #[serde(flatten)]
    pub count: Count,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the interval is one that may be watched, because a stop rule did.
    #[serde(skip)]
    pub is_watched: bool,
}

impl Rate {
    /// The rate of a count.
    #[must_use]
    pub fn new(count: Count, confidence: f64) -> Rate {
        let (low, high) = count.interval(confidence);
        Rate {
            count,
            low,
            high,
            is_watched: false,
        }
    }

    /// The rate of a count that was watched while it grew, with the interval that allows for it.
    #[must_use]
    pub fn watched(count: Count, confidence: f64) -> Rate {
        let (low, high) = stats::confidence_sequence(count, 1.0 - confidence);
        Rate {
            count,
            low,
            high,
            is_watched: true,
        }
    }
}

/// One class of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// `any`, or the category.
    pub id: String,
    /// Before.
    pub base: Rate,
    /// Now.
    pub new: Rate,
    /// Fisher's exact test.
    #[serde(flatten, serialize_with = "p_values")]
    pub fisher: Fisher,
    /// The tested one-sided p (the smaller one where no direction was stated), after Holm over all classes.
    pub p_adjusted: f64,
    /// What follows.
    pub verdict: Finding,
    /// Clean iterations in a row that would show an improvement on the base; `None` where it did not fail.
    pub clean_runs_needed: Option<u64>,
}

fn p_values<S: Serializer>(fisher: &Fisher, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("p_less", &fisher.less)?;
    map.serialize_entry("p_greater", &fisher.greater)?;
    map.serialize_entry("p_two_sided", &fisher.two_sided)?;
    map.end()
}

impl Class {
    /// The direction the rates point in, whether or not the numbers carry it; `None` where they are equal.
    #[must_use]
    pub fn leaning(&self) -> Option<Direction> {
        match self.new.count.rate().partial_cmp(&self.base.count.rate()) {
            Some(std::cmp::Ordering::Less) => Some(Direction::Fewer),
            Some(std::cmp::Ordering::Greater) => Some(Direction::More),
            Some(std::cmp::Ordering::Equal) | None => None,
        }
    }

    /// The one-sided p that was tested: of the direction stated beforehand, else the smaller one.
    #[must_use]
    pub fn tested_p(&self, expect: Option<Direction>) -> f64 {
        tested_p(self.fisher, expect)
    }
}

fn tested_p(fisher: Fisher, expect: Option<Direction>) -> f64 {
    match expect {
        Some(Direction::Fewer) => fisher.less,
        Some(Direction::More) => fisher.greater,
        None => fisher.less.min(fisher.greater),
    }
}

/// A side, as far as the comparison shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The directory or the counts, as given.
    pub name: String,
    /// Failed iterations of those that passed or failed.
    #[serde(flatten)]
    pub count: Count,
}

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this layout, 1.
    pub format: u32,
    /// Before.
    pub base: Compared,
    /// Now.
    pub new: Compared,
    /// `any` first, then every category that either side has.
    pub classes: Vec<Class>,
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
    #[must_use]
    pub fn new(base: &Side, new: &Side, question: Question) -> Comparison {
        let mut ids: Vec<&str> = vec![ANY];
        let named: BTreeSet<&str> = base
            .by_category
            .keys()
            .chain(new.by_category.keys())
            .map(String::as_str)
            .collect();
        ids.extend(named);
        let counts: Vec<(Count, Count)> = ids.iter().map(|id| (base.class(id), new.class(id))).collect();
        let tests: Vec<Fisher> = counts.iter().map(|(base, new)| stats::fisher(*base, *new)).collect();
        let tested: Vec<f64> = tests.iter().map(|fisher| tested_p(*fisher, question.expect)).collect();
        let classes = ids
            .iter()
            .zip(counts)
            .zip(tests)
            .zip(stats::holm(&tested))
            .map(|(((id, counts), fisher), p_adjusted)| Class {
                id: (*id).to_owned(),
                base: base.rate(id, question.confidence),
                new: new.rate(id, question.confidence),
                fisher,
                p_adjusted,
                verdict: verdict(fisher, p_adjusted, question),
                clean_runs_needed: stats::clean_runs_needed(counts.0, question.alpha),
            })
            .collect();
        let differences = super::conditions::differences(base.conditions.as_ref(), new.conditions.as_ref());
        let mut notes: Vec<String> = [base, new].into_iter().flat_map(Side::notes).collect();
        notes.extend(super::conditions::notes(&differences));
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
            e_value: None,
            nodes: super::nodes::pairs(&base.nodes, &new.nodes),
            notes,
            question,
            differences,
            appeared: appeared(base, new),
        }
    }
}

fn appeared(base: &Side, new: &Side) -> Vec<(String, Option<FirstSeen>)> {
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

fn verdict(fisher: Fisher, p_adjusted: f64, question: Question) -> Finding {
    if p_adjusted >= question.level() {
        return Finding::NoEvidence;
    }
    match question.expect {
        None if fisher.less > fisher.greater => Finding::More,
        Some(Direction::Fewer) | None => Finding::Fewer,
        Some(Direction::More) => Finding::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(text: &str, categories: &[(&str, u64)]) -> Side {
        let mut side = Side::from_counts(text, text.parse().unwrap());
        side.by_category = categories.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        side
    }

    fn expecting(direction: Direction) -> Question {
        Question {
            expect: Some(direction),
            ..Question::default()
        }
    }

    #[test]
    fn two_failures_before_and_none_after_fifty_are_no_evidence() {
        let comparison = Comparison::new(&side("2/75", &[]), &side("0/50", &[]), Question::default());
        let any = &comparison.classes[0];
        assert_eq!((any.verdict, any.clean_runs_needed), (Finding::NoEvidence, Some(259)));
        assert!((any.p_adjusted - 0.358).abs() < 1e-3);
    }

    #[test]
    fn a_direction_stated_beforehand_is_tested_at_the_whole_level_and_alone() {
        let (base, new) = (side("13/50", &[]), side("0/12", &[]));
        let finding = |question| Comparison::new(&base, &new, question).classes[0].verdict;
        assert_eq!(finding(Question::default()), Finding::NoEvidence);
        assert_eq!(finding(expecting(Direction::Fewer)), Finding::Fewer);
        assert_eq!(finding(expecting(Direction::More)), Finding::NoEvidence);
    }

    #[test]
    fn every_class_of_either_side_is_compared_and_adjusted_for_the_others() {
        let base = side("13/50", &[("A2", 13)]);
        let new = side("1/50", &[("B1", 1)]);
        let comparison = Comparison::new(&base, &new, Question::default());
        let ids: Vec<&str> = comparison.classes.iter().map(|class| class.id.as_str()).collect();
        assert_eq!(ids, ["any", "A2", "B1"]);
        assert_eq!(
            comparison.classes.iter().map(|class| class.verdict).collect::<Vec<_>>(),
            [Finding::Fewer, Finding::Fewer, Finding::NoEvidence]
        );
        assert!((comparison.classes[1].p_adjusted / comparison.classes[1].fisher.less - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_side_that_says_nothing_gives_no_evidence() {
        let comparison = Comparison::new(&side("0/0", &[]), &side("5/5", &[]), Question::default());
        assert_eq!(comparison.classes[0].verdict, Finding::NoEvidence);
        assert!((comparison.classes[0].p_adjusted - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_json_has_the_published_fields_and_no_others() {
        let comparison = Comparison::new(&side("2/75", &[]), &side("0/50", &[]), Question::default());
        let json = serde_json::to_value(&comparison).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(keys(&json), "base classes e_value format new notes");
        assert_eq!(keys(&json["base"]), "failed name of");
        assert_eq!(
            keys(&json["classes"][0]),
            "base clean_runs_needed id new p_adjusted p_greater p_less p_two_sided verdict"
        );
        assert_eq!(keys(&json["classes"][0]["new"]), "failed high low of");
        assert_eq!(json["classes"][0]["verdict"], "no evidence");
    }
}
