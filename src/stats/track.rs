//! What is to become of the issue that each cause of failures has, from the nights: a cause has one issue for good.
//!
//! A cause is a category in a test, whatever the test's parameters, a category that no test is to blame for, or a group of
//! failures that no signature covers.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blame::Blame;
use super::{Answers, Count, fisher_greater, fisher_less};
use crate::judge::{Record, UNKNOWN, Verdict, cluster};

/// Chance of saying `fewer` or `more` of one night where nothing changed.
const LEVEL: f64 = 0.05;
/// Nights without a cause after which its return is worth a comment, and between two comments.
const QUIET: usize = 7;
/// Nights that are remembered, more than a year of them.
const MOST_NIGHTS: usize = 400;

/// A cause as one night showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The category, `UNKNOWN` included.
    pub class: String,
    /// The test without its parameters; empty where none is to blame.
    pub test: String,
    /// Answers that failed with it.
    pub failed: u64,
    /// Directory of the first of them.
    pub run: String,
    /// The line that says so; empty where there is none.
    pub evidence: String,
}

/// A night in counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackedNight {
    pub name: String,
    pub started_at: Option<DateTime<Utc>>,
    /// Answers that passed or failed.
    pub of: u64,
    /// What was seen, by cause.
    pub seen: BTreeMap<String, Sighting>,
}

impl TrackedNight {
    pub fn of(answers: Answers<'_>) -> TrackedNight {
        let mut seen: BTreeMap<String, Sighting> = BTreeMap::new();
        let failed = answers.all().filter(|record| record.outcome.verdict == Verdict::Failed);
        for record in failed {
            for (cause, sighting) in causes(record) {
                seen.entry(cause)
                    .and_modify(|known| known.failed += 1)
                    .or_insert(sighting);
            }
        }
        let start = |record: &Record| record.exit.as_ref().and_then(|exit| exit.started_at);
        TrackedNight {
            name: answers.name(),
            started_at: answers
                .all()
                .filter_map(start)
                .min()
                .or(answers.spec.map(|spec| spec.created_at)),
            of: answers.count().of(),
            seen,
        }
    }

    /// Nights of CI have one name, and nights of the script no time.
    fn is_same_night(&self, other: &TrackedNight) -> bool {
        match (self.started_at, other.started_at) {
            (Some(own), Some(other)) => own == other,
            (None, None) => self.name == other.name,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn count(&self, cause: &str) -> Count {
        let failed = self.seen.get(cause).map_or(0, |sighting| sighting.failed);
        Count::new(failed, self.of).unwrap_or_default()
    }
}

/// The causes of one failed iteration.
fn causes(record: &Record) -> BTreeMap<String, Sighting> {
    let outcome = &record.outcome;
    let sighting = |class: &str, test: &str, evidence: &str| Sighting {
        class: class.to_owned(),
        test: test.to_owned(),
        failed: 1,
        run: record.dir.display().to_string(),
        evidence: evidence.to_owned(),
    };
    let mut found = BTreeMap::new();
    for group in cluster::cluster([outcome]) {
        found.insert(group.id, sighting(UNKNOWN, &group.place, &group.example));
    }
    let blame = Blame::of(outcome);
    let mut blamed: BTreeSet<&str> = BTreeSet::new();
    for (test, classes) in blame.iter() {
        let function = test.split('[').next().unwrap_or(test);
        for class in classes.iter().filter(|class| **class != UNKNOWN) {
            blamed.insert(class);
            let mut lines = outcome.evidence.iter().filter(|evidence| evidence.category == **class);
            let own = lines.clone().find(|evidence| evidence.test.as_deref() == Some(test));
            let line = own.or_else(|| lines.next()).map_or("", |evidence| &evidence.text);
            found.insert(format!("{class} {function}"), sighting(class, function, line));
        }
    }
    for class in outcome.categories.iter().filter(|class| *class != UNKNOWN) {
        if !blamed.contains(class.as_str()) {
            let line = outcome.evidence.iter().find(|evidence| evidence.category == *class);
            found.insert(
                class.clone(),
                sighting(class, "", line.map_or("", |evidence| &evidence.text)),
            );
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueState {
    Open,
    Closed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    pub state: IssueState,
    /// Nights that have passed since something was last said.
    pub silent: usize,
}

/// What is to be done with an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The cause is new.
    Open,
    /// The failure became more frequent, or came back after nights without it.
    Comment,
    /// The issue was closed, and the failure is back.
    Reopen,
    /// The nights without it show that it became fewer.
    Close,
}

/// One step, with what a reader of the issue must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub step: Step,
    pub cause: String,
    pub sighting: Sighting,
    pub night: TrackedNight,
    pub first_night: String,
    pub last_night: String,
    /// Over the nights from the first one with the cause to the last one with it.
    pub seen: Count,
    /// The night that decides, or of a closing step all nights since the last one with the cause.
    pub now: Count,
    /// Fisher's exact test of `now` against the nights before, one-sided in the direction of the step; `None` where the
    /// step needs no test.
    pub p: Option<f64>,
    /// Nights since the cause was last seen before this one.
    pub quiet: usize,
}

/// All nights so far and the issue of each cause: the whole state, so that a night need not be kept to be counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Version of this layout, 1.
    pub format: u32,
    pub nights: Vec<TrackedNight>,
    pub issues: BTreeMap<String, Issue>,
}

impl Default for Track {
    fn default() -> Track {
        Track {
            format: 1,
            nights: Vec::new(),
            issues: BTreeMap::new(),
        }
    }
}

impl Track {
    /// Takes nights in, in the order of their starts, and says what follows from each. A night that is known already
    /// brings its counts up to date, and opens issues for what it did not show before.
    pub fn add(&mut self, mut nights: Vec<TrackedNight>) -> Vec<Decision> {
        nights.sort_by_key(|night| night.started_at);
        let mut decisions = Vec::new();
        for night in nights {
            let known = self.nights.iter().position(|known| known.is_same_night(&night));
            let is_new = known.is_none();
            let at = known.unwrap_or(self.nights.len());
            if is_new {
                self.nights.push(night);
                self.issues.values_mut().for_each(|issue| issue.silent += 1);
            } else {
                self.nights[at] = night;
            }
            decisions.extend(self.decide(at, is_new));
        }
        let surplus = self.nights.len().saturating_sub(MOST_NIGHTS);
        self.nights.drain(..surplus);
        decisions
    }

    fn decide(&mut self, at: usize, is_new: bool) -> Vec<Decision> {
        let tonight: BTreeSet<String> = self.nights[at].seen.keys().cloned().collect();
        let all: BTreeSet<String> = self.issues.keys().cloned().chain(tonight).collect();
        let mut decisions = Vec::new();
        for cause in all {
            let state = self.issues.get(&cause).cloned();
            let Some(decision) = self.step(&cause, state.as_ref(), at, is_new) else {
                continue;
            };
            let state = match decision.step {
                Step::Open | Step::Comment | Step::Reopen => IssueState::Open,
                Step::Close => IssueState::Closed,
            };
            self.issues.insert(cause, Issue { state, silent: 0 });
            decisions.push(decision);
        }
        decisions
    }

    /// What follows from a night for one cause, if anything.
    fn step(&self, cause: &str, issue: Option<&Issue>, at: usize, is_new: bool) -> Option<Decision> {
        let night = &self.nights[at];
        let sum = |nights: &[TrackedNight]| {
            let counts = nights.iter().map(|night| night.count(cause));
            let (failed, of) = counts.fold((0, 0), |(failed, of), count| (failed + count.failed(), of + count.of()));
            Count::new(failed, of).unwrap_or_default()
        };
        let has = |night: &TrackedNight| night.count(cause).failed() > 0;
        let upto = &self.nights[..=at];
        let first = upto.iter().position(has)?;
        let last = upto.iter().rposition(has)?;
        let before = upto[..at].iter().rposition(has);
        let is_seen = has(night);
        let quiet = at - before.map_or(at, |before| before + 1);
        let decision = |step, now, p| Decision {
            step,
            cause: cause.to_owned(),
            sighting: upto[last].seen[cause].clone(),
            night: night.clone(),
            first_night: upto[first].name.clone(),
            last_night: upto[last].name.clone(),
            seen: sum(&upto[first..=last]),
            now,
            p,
            quiet,
        };
        match issue {
            None if is_seen => Some(decision(Step::Open, night.count(cause), None)),
            Some(issue) if issue.state == IssueState::Closed && is_seen && is_new => {
                Some(decision(Step::Reopen, night.count(cause), None))
            }
            Some(issue) if issue.state == IssueState::Open && is_seen && is_new => {
                let p = fisher_greater(sum(&upto[first..at]), night.count(cause));
                if p < LEVEL && issue.silent >= QUIET {
                    Some(decision(Step::Comment, night.count(cause), Some(p)))
                } else {
                    (quiet >= QUIET).then(|| decision(Step::Comment, night.count(cause), None))
                }
            }
            Some(issue) if issue.state == IssueState::Open && !is_seen && is_new => {
                let clean = sum(&upto[last + 1..]);
                let p = fisher_less(sum(&upto[first..=last]), clean);
                (p < LEVEL).then(|| decision(Step::Close, clean, Some(p)))
            }
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(day: i64, of: u64, seen: &[(&str, u64)]) -> TrackedNight {
        let sighting = |cause: &str, failed| Sighting {
            class: cause.split(' ').next().unwrap().to_owned(),
            test: String::new(),
            failed,
            run: format!("nights/{day}/run001"),
            evidence: String::new(),
        };
        TrackedNight {
            name: format!("night{day}"),
            started_at: DateTime::from_timestamp(1_760_000_000 + day * 86_400, 0),
            of,
            seen: seen
                .iter()
                .map(|(cause, failed)| ((*cause).to_owned(), sighting(cause, *failed)))
                .collect(),
        }
    }

    fn steps(decisions: &[Decision]) -> Vec<(Step, &str)> {
        decisions
            .iter()
            .map(|decision| (decision.step, decision.night.name.as_str()))
            .collect()
    }

    #[test]
    fn an_issue_is_opened_once_and_closed_only_when_the_clean_nights_show_it() {
        let mut track = Track::default();
        let nights = (1..=3)
            .map(|day| night(day, 25, &[("A2", 1)]))
            .chain((4..=12).map(|day| night(day, 25, &[])));
        let decisions = track.add(nights.collect());
        // 3/75 before: 0/125 after five clean nights has p = 0.051, 0/150 after six has 0.036.
        assert_eq!(steps(&decisions), [(Step::Open, "night1"), (Step::Close, "night9")]);
        assert_eq!(
            (decisions[1].seen.to_string(), decisions[1].now.to_string()),
            ("3/75".into(), "0/150".into())
        );
        let expected = fisher_less(Count::new(3, 75).unwrap(), Count::new(0, 150).unwrap());
        assert_eq!(decisions[1].p, Some(expected));
        assert!(expected < 0.05);
    }

    #[test]
    fn the_same_nights_again_change_nothing_and_a_cause_that_is_back_reopens_its_issue() {
        let mut track = Track::default();
        let nights = || {
            (1..=3)
                .map(|day| night(day, 50, &[("B1", 10)]))
                .chain([night(4, 50, &[])])
                .collect::<Vec<_>>()
        };
        assert_eq!(
            steps(&track.add(nights())),
            [(Step::Open, "night1"), (Step::Close, "night4")]
        );
        let state = track.clone();
        assert_eq!(track.add(nights()), []);
        assert_eq!(track, state);
        assert_eq!(
            steps(&track.add(vec![night(5, 50, &[("B1", 1)])])),
            [(Step::Reopen, "night5")]
        );
        assert_eq!(track.issues["B1"].state, IssueState::Open);
    }

    #[test]
    fn a_comment_comes_when_a_cause_became_more_or_is_back_and_not_every_night() {
        let mut track = Track::default();
        let steady = (1..=10).map(|day| night(day, 50, &[("A1", 1)]));
        assert_eq!(steps(&track.add(steady.collect())), [(Step::Open, "night1")]);
        let more = (11..=14).map(|day| night(day, 50, &[("A1", 20)]));
        let decisions = track.add(more.collect());
        assert_eq!(steps(&decisions), [(Step::Comment, "night11")]);
        assert!(decisions[0].p.unwrap() < 0.05);
        let mut rare = Track::default();
        rare.add(vec![night(1, 5, &[("A1", 1)])]);
        let clean = (2..=9).map(|day| night(day, 5, &[]));
        assert_eq!(rare.add(clean.collect()), []);
        let back = rare.add(vec![night(10, 5, &[("A1", 1)])]);
        assert_eq!((steps(&back), back[0].quiet), (vec![(Step::Comment, "night10")], 8));
    }

    #[test]
    fn a_night_without_answers_closes_nothing() {
        let mut track = Track::default();
        track.add(vec![night(1, 20, &[("A4", 20)])]);
        assert_eq!(track.add(vec![night(2, 0, &[])]), []);
        assert_eq!(steps(&track.add(vec![night(3, 20, &[])])), [(Step::Close, "night3")]);
    }

    #[test]
    fn more_nights_than_are_remembered_do_not_open_an_issue_again() {
        let mut track = Track::default();
        track.add((0..1000).map(|day| night(day, 1, &[("A1", 1)])).collect());
        assert_eq!((track.nights.len(), track.issues.len()), (MOST_NIGHTS, 1));
    }
}
