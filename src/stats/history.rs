//! Nights in a row: the rate of each, the night a class first appeared, and whether the rate stayed what it was.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::comparison::ANY;
use super::rate::Ends;
use super::{Answers, Count, Method, Rate, iterations, regime};
use crate::judge::{Record, Verdict};
use crate::stats::conditions::{self, Conditions};

/// One sweep of a row, its iterations in order of start; errored ones only as a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Night {
    /// Name of the sweep's directory.
    pub name: String,
    /// When its first iteration started; `None` where nothing says so.
    pub started_at: Option<DateTime<Utc>>,
    /// Categories of each iteration that passed or failed; `None` for one that passed.
    pub results: Vec<Option<Vec<String>>>,
    /// Iterations that say nothing about the tests.
    pub errored: u64,
    pub conditions: Conditions,
    pub method: Method,
    /// Why its number of answers depends on what they were.
    pub reasons: Vec<String>,
}

impl Night {
    pub fn of(answers: Answers<'_>) -> Night {
        let name = answers.name();
        let start = |record: &Record| record.exit.as_ref().and_then(|exit| exit.started_at);
        let mut ordered: Vec<&Record> = answers.all().collect();
        let is_timed = ordered.iter().all(|record| start(record).is_some());
        ordered.sort_by_key(|record| (start(record).filter(|_| is_timed), record.iteration));
        let results = ordered.iter().filter_map(|record| match record.outcome.verdict {
            Verdict::Passed => Some(None),
            Verdict::Failed => Some(Some(record.outcome.categories.clone())),
            Verdict::Errored => None,
        });
        let results: Vec<Option<Vec<String>>> = results.collect();
        Night {
            started_at: ordered
                .iter()
                .filter_map(|record| start(record))
                .min()
                .or(answers.spec.map(|spec| spec.created_at)),
            errored: (ordered.len() - results.len()) as u64,
            results,
            conditions: Conditions::of(&name, answers.spec, answers.all()),
            method: answers.method(),
            reasons: answers.reasons(),
            name,
        }
    }

    fn series<'a>(&'a self, id: &'a str) -> impl Iterator<Item = bool> + 'a {
        self.results.iter().map(move |result| {
            result
                .as_ref()
                .is_some_and(|categories| id == ANY || categories.iter().any(|category| category == id))
        })
    }

    fn count(&self, id: &str) -> Count {
        let failed = self.series(id).filter(|failed| *failed).count();
        Count::new(failed as u64, self.results.len() as u64).unwrap_or_default()
    }
}

/// One night of the history.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NightRow {
    /// Name of the sweep's directory.
    pub name: String,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// Rate of each class.
    #[serde(serialize_with = "ends")]
    #[schemars(with = "BTreeMap<String, Ends>")]
    pub rates: BTreeMap<String, Rate>,
    /// Iterations outside the rates.
    pub errored: u64,
}

/// A stretch of nights with one rate.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stretch {
    /// First night of it.
    pub first: String,
    /// Last night of it.
    pub last: String,
    /// How many failed of how many.
    #[serde(flatten)]
    pub count: Count,
}

/// One class over all nights.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClassHistory {
    /// `any`, or the category.
    pub id: String,
    /// The first night it was seen; `None` where it never was.
    pub first_night: Option<String>,
    /// The last night it was seen.
    pub last_night: Option<String>,
    /// Nights on which it was seen.
    pub nights: usize,
    /// The stretches with different rates; one where nothing changed.
    pub regimes: Vec<Stretch>,
    /// Chance that a constant, independent rate splits as well.
    pub regime_p: f64,
}

/// The whole history.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct History {
    /// Version of this layout, 1.
    pub format: u32,
    /// The nights in order.
    pub nights: Vec<NightRow>,
    /// `any` first, then every category that was ever seen.
    pub classes: Vec<ClassHistory>,
    /// What a reader must know before believing the rest.
    pub notes: Vec<String>,
}

impl History {
    /// Puts nights in a row: by their starts, and as they were given where one is missing.
    pub fn of(mut nights: Vec<Night>, confidence: f64) -> History {
        if nights.iter().all(|night| night.started_at.is_some()) {
            nights.sort_by_key(|night| night.started_at);
        }
        let seen: BTreeSet<&String> = nights
            .iter()
            .flat_map(|night| night.results.iter().flatten().flatten())
            .collect();
        let ids: Vec<&str> = std::iter::once(ANY)
            .chain(seen.into_iter().map(String::as_str))
            .collect();
        let rows = nights.iter().map(|night| NightRow {
            name: night.name.clone(),
            started_at: night.started_at,
            rates: ids
                .iter()
                .map(|id| ((*id).to_owned(), Rate::new(night.count(id), confidence, night.method)))
                .collect(),
            errored: night.errored,
        });
        History {
            format: 1,
            nights: rows.collect(),
            classes: ids.iter().map(|id| class(id, &nights)).collect(),
            notes: notes(&nights),
        }
    }
}

fn ends<S: Serializer>(rates: &BTreeMap<String, Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rates.iter().map(|(id, rate)| (id, Ends::of(*rate))))
}

fn class(id: &str, nights: &[Night]) -> ClassHistory {
    let counts: Vec<Count> = nights.iter().map(|night| night.count(id)).collect();
    let (found, regime_p) = regime::regimes_between(&counts);
    let regimes = found
        .into_iter()
        .map(|regime| Stretch {
            first: nights[regime.positions.start].name.clone(),
            last: nights[regime.positions.end - 1].name.clone(),
            count: regime.count,
        })
        .collect();
    let seen: Vec<&Night> = nights.iter().filter(|night| night.count(id).failed() > 0).collect();
    ClassHistory {
        id: id.to_owned(),
        first_night: seen.first().map(|night| night.name.clone()),
        last_night: seen.last().map(|night| night.name.clone()),
        nights: seen.len(),
        regimes,
        regime_p,
    }
}

fn notes(nights: &[Night]) -> Vec<String> {
    let mut notes = Vec::new();
    for night in nights {
        if night.results.is_empty() {
            notes.push(format!("`{}`: no iteration passed or failed", night.name));
        }
        if night.errored > 0 {
            notes.push(format!(
                "`{}`: {} errored, outside the rates",
                night.name,
                iterations(night.errored)
            ));
        }
        for reason in &night.reasons {
            notes.push(format!(
                "`{}`: {reason}: its intervals are those that may be watched",
                night.name
            ));
        }
    }
    for pair in nights.windows(2) {
        for difference in conditions::differences(Some(&pair[0].conditions), Some(&pair[1].conditions)) {
            notes.push(format!(
                "`{}`: {} is `{}`, `{}` before",
                pair[1].name, difference.what, difference.new, difference.base
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(day: i64, failed: usize, of: usize, category: &str) -> Night {
        Night {
            name: format!("night{day}"),
            started_at: DateTime::from_timestamp(1_760_000_000 + day * 86_400, 0),
            results: (0..of)
                .map(|index| (index < failed).then(|| vec![category.to_owned()]))
                .collect(),
            ..Night::default()
        }
    }

    #[test]
    fn nights_are_in_order_and_say_when_a_class_first_appeared() {
        let nights = vec![
            night(3, 2, 20, "B1"),
            night(1, 0, 20, ""),
            night(2, 1, 20, "A1"),
            night(4, 1, 20, "A1"),
        ];
        let history = History::of(nights, 0.95);
        let names: Vec<&str> = history.nights.iter().map(|night| night.name.as_str()).collect();
        assert_eq!(names, ["night1", "night2", "night3", "night4"]);
        let first: Vec<(&str, Option<&str>, usize)> = history
            .classes
            .iter()
            .map(|class| (class.id.as_str(), class.first_night.as_deref(), class.nights))
            .collect();
        assert_eq!(
            first,
            [
                ("any", Some("night2"), 3),
                ("A1", Some("night2"), 2),
                ("B1", Some("night3"), 1)
            ]
        );
        assert_eq!(history.nights[2].rates["B1"].count.to_string(), "2/20");
    }

    #[test]
    fn a_rate_that_rose_over_the_nights_is_two_regimes() {
        let nights = (1..=6)
            .map(|day| night(day, if day > 4 { 10 } else { 0 }, 20, "A2"))
            .collect();
        let history = History::of(nights, 0.95);
        let regimes = &history.classes[1].regimes;
        assert_eq!(
            (regimes[0].last.as_str(), regimes[1].first.as_str()),
            ("night4", "night5")
        );
        assert!(history.classes[1].regime_p < 1e-6);
    }

    #[test]
    fn a_night_without_results_is_in_the_row_and_in_the_notes() {
        let mut empty = night(2, 0, 0, "");
        empty.errored = 3;
        let history = History::of(vec![night(1, 0, 20, ""), empty], 0.95);
        assert_eq!(history.nights.len(), 2);
        assert_eq!(history.notes.len(), 2);
        assert_eq!(History::of(Vec::new(), 0.95).classes[0].nights, 0);
    }
}
