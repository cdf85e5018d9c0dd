//! Whether a sweep has one constant, independent rate, and what else changed where it has not.
//!
//! A rate over two regimes describes neither. Bursts at a constant mean trip the search for regimes too, so the words
//! are never "the rate changed", and bursts are looked for apart.

use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::{Outcome, Record};
use crate::stats::{Answers, Count, p_value, regime};

mod changes;
mod groups;
mod point;

use changes::Lanes;

pub use point::Point;

/// The slot that each iteration ran in on its node, from 1, made out from the times; `None` where a time is missing.
/// The points have to be in the order of their starts.
pub fn slots(points: &[Point]) -> Vec<Option<usize>> {
    Lanes::of(points).lane
}

/// A stretch of iterations with one rate.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// First iteration of it.
    pub first: u32,
    /// Last iteration of it.
    pub last: u32,
    /// How many failed of how many.
    #[serde(flatten)]
    pub count: Count,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// The stretches in order of start; one where nothing changed, none where there was no result.
    pub regimes: Vec<Row>,
    /// Chance that a constant, independent rate splits as well as the first split; `None` where there was no result.
    pub regime_p: Option<f64>,
    /// What else was different on the two sides of each split, one list a split.
    pub changes: Vec<Vec<String>>,
    /// Anything else that speaks against one independent rate: bursts, a slot, a node, a time of day.
    pub notes: Vec<String>,
}

impl Drift {
    /// The stretches in words: `0/90 in 1-90, then 5/10 in 91-100 (p = 9e-6)`; `None` where there are not two.
    pub fn words(&self) -> Option<String> {
        if self.regimes.len() < 2 {
            return None;
        }
        let parts: Vec<String> = self
            .regimes
            .iter()
            .map(|row| format!("{} in {}-{}", row.count, row.first, row.last))
            .collect();
        Some(format!(
            "{} (p = {})",
            parts.join(", then "),
            p_value(self.regime_p.unwrap_or(1.0))
        ))
    }

    /// Everything that speaks against one constant, independent rate, one sentence each; none where nothing does.
    pub fn sentences(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(words) = self.words() {
            found.push(format!("not one constant, independent rate: {words}"));
            for (row, changes) in self.regimes.iter().skip(1).zip(&self.changes) {
                found.push(if changes.is_empty() {
                    format!("nothing that is recorded changed at iteration {}", row.first)
                } else {
                    format!("what else changed at iteration {}: {}", row.first, changes.join("; "))
                });
            }
        }
        found.extend(self.notes.iter().cloned());
        found
    }

    pub fn of(answers: Answers<'_>) -> Drift {
        Drift::of_points(answers.all().filter_map(Point::of).collect())
    }

    pub fn of_class(answers: Answers<'_>, has: impl Fn(&Outcome) -> bool) -> Drift {
        let point = |record: &Record| {
            let failed = has(&record.outcome);
            Point::of(record).map(|point| Point { failed, ..point })
        };
        Drift::of_points(answers.all().filter_map(point).collect())
    }

    /// Looks at iterations in the order of their starts, and of their numbers where a start is missing.
    fn of_points(mut points: Vec<Point>) -> Drift {
        let is_timed = points.iter().all(|point| point.started_at.is_some());
        points.sort_by_key(|point| (point.started_at.filter(|_| is_timed), point.iteration));
        let series: Vec<bool> = points.iter().map(|point| point.failed).collect();
        if series.is_empty() {
            return Drift::default();
        }
        let (found, p) = regime::regimes(&series);
        let parts: Vec<&[Point]> = found.iter().map(|regime| &points[regime.positions.clone()]).collect();
        let lanes = Lanes::of(&points);
        let changes = found
            .windows(2)
            .map(|pair| {
                let (before, after) = (&pair[0].positions, &pair[1].positions);
                changes::changes(
                    &points[before.clone()],
                    &points[after.clone()],
                    &points,
                    &lanes,
                    before.start,
                )
            })
            .collect();
        let mut notes: Vec<String> = groups::bursts(&series, &found).into_iter().collect();
        notes.extend(groups::groups(&points, &lanes, found.len() == 1));
        Drift {
            regimes: rows(&parts),
            regime_p: Some(p),
            changes,
            notes,
        }
    }
}

/// The parts by the numbers of their iterations.
fn rows(parts: &[&[Point]]) -> Vec<Row> {
    let numbers = |part: &[Point]| part.iter().map(|point| point.iteration).collect::<Vec<_>>();
    let spans: Vec<(u32, u32)> = parts
        .iter()
        .map(|part| {
            let numbers = numbers(part);
            (
                numbers.iter().copied().min().unwrap_or(0),
                numbers.iter().copied().max().unwrap_or(0),
            )
        })
        .collect();
    // Iterations that were repeated later are out of order; then the first and the last to start are what there is.
    let is_in_order = spans.windows(2).all(|pair| pair[0].1 < pair[1].0);
    parts
        .iter()
        .zip(spans)
        .map(|(part, span)| {
            let ends = (
                part.first().map_or(0, |point| point.iteration),
                part.last().map_or(0, |point| point.iteration),
            );
            let (first, last) = if is_in_order { span } else { ends };
            Row {
                first,
                last,
                count: count(part),
            }
        })
        .collect()
}

fn count(points: &[Point]) -> Count {
    let failed = points.iter().filter(|point| point.failed).count();
    Count::new(failed as u64, points.len() as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::Timelike;

    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;

    fn at(minutes: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_760_000_000 + minutes * 60, 0)
    }

    /// One iteration every two minutes, each taking one.
    fn points(n: u32, failed: &[u32]) -> Vec<Point> {
        (1..=n)
            .map(|iteration| Point {
                iteration,
                failed: failed.contains(&iteration),
                started_at: at(i64::from(iteration) * 2),
                duration_s: Some(60.0),
                node: Some("host".to_owned()),
                ..Point::default()
            })
            .collect()
    }

    const N4: [u32; 5] = [91, 96, 98, 99, 100];

    #[test]
    fn the_reports_sweep_is_two_regimes() {
        let drift = Drift::of_points(points(100, &N4));
        let json = serde_json::to_value(&drift.regimes).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                {"first": 1, "last": 90, "failed": 0, "of": 90},
                {"first": 91, "last": 100, "failed": 5, "of": 10}
            ])
        );
        assert_eq!(drift.words().unwrap(), "0/90 in 1-90, then 5/10 in 91-100 (p = 9e-6)");
        assert_eq!(
            drift.sentences(),
            [
                "not one constant, independent rate: 0/90 in 1-90, then 5/10 in 91-100 (p = 9e-6)",
                "nothing that is recorded changed at iteration 91"
            ]
        );
    }

    #[test]
    fn the_order_is_that_of_the_starts_and_else_that_of_the_numbers() {
        let mut shuffled = points(100, &N4);
        shuffled.reverse();
        assert_eq!(Drift::of_points(shuffled).regimes.len(), 2);
        let mut untimed = points(100, &N4);
        untimed[3].started_at = None;
        untimed.reverse();
        assert_eq!(Drift::of_points(untimed).regimes[1].first, 91);
    }

    #[test]
    fn what_changed_at_the_split_is_named() {
        let mut changed = points(100, &N4);
        for point in &mut changed[90..] {
            point.image_id = Some("sha256:bbbbbbbbbbbbbbbb".to_owned());
            point.started_at = point.started_at.map(|time| time + TimeDelta::hours(9));
            point.node = Some("other".to_owned());
        }
        for point in &mut changed[..90] {
            point.image_id = Some("sha256:aaaaaaaaaaaaaaaa".to_owned());
        }
        let drift = Drift::of_points(changed);
        assert_eq!(
            drift.changes[0],
            [
                "image: aaaaaaaaaaaa before, bbbbbbbbbbbb after",
                "node: host before, other after",
                "a gap of 9.0 h before 91"
            ]
        );
    }

    #[test]
    fn other_jobs_another_version_and_a_busier_machine_are_named() {
        let mut changed = points(100, &N4);
        for (index, point) in changed.iter_mut().enumerate() {
            let is_after = index >= 90;
            point.jobs = Some((if is_after { "4" } else { "1" }).to_owned());
            point.tool = Some((if is_after { "0.2.0" } else { "0.1.0" }).to_owned());
            point.load = Some(if is_after { 7.5 } else { 0.5 });
        }
        assert_eq!(
            Drift::of_points(changed).changes[0],
            [
                "jobs: 1 before, 4 after",
                "version of reproduce-flaky: 0.1.0 before, 0.2.0 after",
                "load of the machine: 0.5 before, 7.5 after"
            ]
        );
    }

    #[test]
    fn a_hang_that_ran_beside_the_second_part_is_named() {
        let mut hanging = points(100, &N4);
        hanging[88].hung = true;
        hanging[88].failed = true;
        hanging[88].duration_s = Some(3.0 * 3600.0);
        let drift = Drift::of_points(hanging);
        let all = drift.changes.concat().join("\n");
        assert!(
            all.contains("iteration 89 was hanging, for 3.0 h, while 11 of the 11 after the split started"),
            "{all} {drift:?}"
        );
    }

    #[test]
    fn more_iterations_in_flight_are_noticed() {
        let mut crowded = points(100, &N4);
        for point in &mut crowded[90..] {
            point.duration_s = Some(600.0);
        }
        let all = Drift::of_points(crowded).changes.concat().join("\n");
        assert!(all.contains("iterations in flight: 1 before, 5 after"), "{all}");
        assert!(all.contains("median duration: 60 s before, 600 s after"), "{all}");
    }

    #[test]
    fn a_node_and_a_time_of_day_that_fail_unlike_the_rest_are_named() {
        let mut mixed = points(200, &[]);
        for (index, point) in mixed.iter_mut().enumerate() {
            let is_bad = index % 4 == 0;
            point.node = Some((if is_bad { "bad" } else { "good" }).to_owned());
            point.failed = is_bad && index % 8 == 0;
        }
        let drift = Drift::of_points(mixed);
        assert!(
            drift
                .notes
                .iter()
                .any(|note| note.starts_with("node bad: 25/50 failed, 0/150 elsewhere")),
            "{drift:?}"
        );
        let mut nights = points(200, &[]);
        for (index, point) in nights.iter_mut().enumerate() {
            point.started_at = at(i64::try_from(index).unwrap() * 60);
            point.failed = point.started_at.unwrap().hour() < 6;
        }
        let drift = Drift::of_points(nights);
        assert!(
            drift
                .notes
                .iter()
                .any(|note| note.starts_with("time of day 00-06 h UTC")),
            "{drift:?}"
        );
    }

    #[test]
    fn bursts_are_told_apart_from_a_split() {
        assert!(Drift::of_points(points(100, &N4)).notes.is_empty());
        let drift = Drift::of_points(points(
            300,
            &[
                20, 21, 22, 23, 110, 111, 112, 113, 200, 201, 202, 203, 280, 281, 282, 283,
            ],
        ));
        assert!(
            drift
                .notes
                .iter()
                .any(|note| note.starts_with("failures come in bursts")),
            "{drift:?}"
        );
    }

    #[test]
    fn a_sweep_without_results_has_no_regime() {
        assert_eq!(Drift::of_points(Vec::new()), Drift::default());
        assert_eq!(Drift::of_points(points(1, &[1])).regimes.len(), 1);
    }
}
