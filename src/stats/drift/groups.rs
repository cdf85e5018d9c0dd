//! Failures that stand together in other ways than in two stretches: bursts, a node, a slot, a time of day.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Timelike, Utc};

use super::Point;
use super::changes::Lanes;
use crate::stats::{self, Count, regime};

/// Bursts, looked for inside each regime, since a split alone makes failures stand together.
pub(super) fn bursts(series: &[bool], regimes: &[stats::Regime]) -> Option<String> {
    let p = regimes
        .iter()
        .filter_map(|regime| regime::bursts(&series[regime.positions.clone()]))
        .map(|p| p * regimes.len() as f64)
        .min_by(f64::total_cmp)?;
    (p < regime::LEVEL)
        .then(|| format!("failures come in bursts: fewer, longer stretches than chance makes (p = {p:.0e})"))
}

/// A node, a slot, or a time of day that fails more than the rest. The last two are bound up with the order, so they
/// are looked at only where the order shows nothing.
pub(super) fn groups(points: &[Point], lanes: &Lanes, is_steady: bool) -> Vec<String> {
    let mut found = Vec::new();
    let node = points.iter().map(|point| point.node.clone());
    found.extend(worse_than_the_rest("node", points, node.collect()));
    if !is_steady {
        return found;
    }
    let lane = lanes.lane.iter().map(|lane| lane.map(|lane| lane.to_string()));
    found.extend(worse_than_the_rest("slot", points, lane.collect()));
    let times: Vec<DateTime<Utc>> = points.iter().filter_map(|point| point.started_at).collect();
    // Within one day, the time of day is just the order, which the regimes are about.
    if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max())
        && *last - *first >= TimeDelta::hours(36)
    {
        let quarter =
            |time: DateTime<Utc>| ["00-06 h", "06-12 h", "12-18 h", "18-24 h"][(time.hour() / 6) as usize % 4];
        let quarters = points
            .iter()
            .map(|point| point.started_at.map(|time| format!("{} UTC", quarter(time))));
        found.extend(worse_than_the_rest("time of day", points, quarters.collect()));
    }
    found
}

/// Groups smaller than this say nothing.
const LEAST_GROUP: u64 = 5;

/// The groups that fail more than all others together, by Fisher's exact test, two-sided, with Holm over the groups.
fn worse_than_the_rest(what: &str, points: &[Point], keys: Vec<Option<String>>) -> Vec<String> {
    let mut tallies: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (point, key) in points.iter().zip(keys) {
        if let Some(key) = key {
            let tally = tallies.entry(key).or_default();
            *tally = (tally.0 + u64::from(point.failed), tally.1 + 1);
        }
    }
    if tallies.len() < 2 {
        return Vec::new();
    }
    let total = tallies
        .values()
        .fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1));
    let groups: Vec<(String, Count, Count)> = tallies
        .into_iter()
        .filter(|(_, tally)| tally.1 >= LEAST_GROUP && total.1 - tally.1 >= LEAST_GROUP)
        .filter_map(|(key, tally)| {
            let rest = Count::new(total.0 - tally.0, total.1 - tally.1)?;
            Some((key, Count::new(tally.0, tally.1)?, rest))
        })
        .collect();
    let p_values: Vec<f64> = groups
        .iter()
        .map(|(_, group, rest)| stats::fisher(*rest, *group).two_sided)
        .collect();
    groups
        .iter()
        .zip(stats::holm(&p_values))
        .filter(|((_, group, rest), p)| *p < regime::LEVEL && group.rate() > rest.rate())
        .map(|((key, group, rest), p)| format!("{what} {key}: {group} failed, {rest} elsewhere (p = {p:.0e})"))
        .collect()
}
