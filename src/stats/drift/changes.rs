//! What else differs between the iterations before a split and those after it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Point;
use crate::spec::short_id;

/// Which iterations ran side by side. A lane is a place in which iterations follow each other, made out from their
/// times: each takes the lowest one that is free on its node.
pub(super) struct Lanes {
    /// Lane of each point, from 1; `None` where a time is missing.
    pub(super) lane: Vec<Option<usize>>,
    /// Iterations in flight when each started, itself included.
    in_flight: Vec<Option<usize>>,
}

impl Lanes {
    pub(super) fn of(points: &[Point]) -> Lanes {
        let mut busy: BTreeMap<Option<&str>, Vec<DateTime<Utc>>> = BTreeMap::new();
        let mut lanes = Lanes {
            lane: Vec::with_capacity(points.len()),
            in_flight: Vec::with_capacity(points.len()),
        };
        for point in points {
            let (Some(started_at), Some(ended_at)) = (point.started_at, point.ended_at()) else {
                lanes.lane.push(None);
                lanes.in_flight.push(None);
                continue;
            };
            let ends = busy.entry(point.node.as_deref()).or_default();
            let lane = ends.iter().position(|end| *end <= started_at).unwrap_or(ends.len());
            if lane == ends.len() {
                ends.push(ended_at);
            } else {
                ends[lane] = ended_at;
            }
            lanes.lane.push(Some(lane + 1));
            lanes
                .in_flight
                .push(Some(ends.iter().filter(|end| **end > started_at).count().max(1)));
        }
        lanes
    }
}

/// What differs between the iterations before a split and those after it. `start` is the position of the first of
/// `before` in all points.
pub(super) fn changes(before: &[Point], after: &[Point], all: &[Point], lanes: &Lanes, start: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut values = |what: &str, value: fn(&Point) -> Option<&str>| {
        let set = |part: &[Point]| {
            part.iter()
                .filter_map(value)
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        let (old, new) = (set(before), set(after));
        if old != new && !old.is_empty() && !new.is_empty() {
            let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
            found.push(format!("{what}: {} before, {} after", list(old), list(new)));
        }
    };
    values("image", |point| point.image_id.as_deref().map(short_id));
    values("node", |point| point.node.as_deref());
    values("backend", |point| point.backend.as_deref());
    values("jobs", |point| point.jobs.as_deref());
    values("version of reproduce-flaky", |point| point.tool.as_deref());
    let middle = start + before.len();
    let load = |from: usize, to: usize| median(lanes.in_flight[from..to].iter().flatten().map(|n| *n as f64).collect());
    if let (Some(old), Some(new)) = (load(start, middle), load(middle, middle + after.len()))
        && (old - new).abs() >= 1.0
    {
        found.push(format!("iterations in flight: {old:.0} before, {new:.0} after"));
    }
    let busy = |part: &[Point]| median(part.iter().filter_map(|point| point.load).collect());
    if let (Some(old), Some(new)) = (busy(before), busy(after))
        && (old - new).abs() >= 1.0
        && (old / new).max(new / old) >= 1.5
    {
        found.push(format!("load of the machine: {old:.1} before, {new:.1} after"));
    }
    let usual = |part: &[Point]| median(part.iter().filter_map(|point| point.duration_s).collect());
    if let (Some(old), Some(new)) = (usual(before), usual(after))
        && before.len().min(after.len()) >= 5
        && (old / new).max(new / old) >= 1.5
    {
        found.push(format!("median duration: {old:.0} s before, {new:.0} s after"));
    }
    let (Some(first), Some(last_end)) = (after.first(), before.iter().filter_map(Point::ended_at).max()) else {
        return found;
    };
    let Some(started_at) = first.started_at else {
        return found;
    };
    let gap_s = (started_at - last_end).as_seconds_f64();
    if gap_s > 600.0 && gap_s > 5.0 * usual(all).unwrap_or(0.0) {
        found.push(format!("a gap of {} before {}", rough_time(gap_s), first.iteration));
    }
    for hung in all.iter().filter(|point| point.hung) {
        let (Some(from), Some(to)) = (hung.started_at, hung.ended_at()) else {
            continue;
        };
        let others = || after.iter().filter(|point| point.iteration != hung.iteration);
        let beside = others()
            .filter(|point| point.started_at.is_some_and(|start| from <= start && start < to))
            .count();
        if beside > 0 && 2 * beside >= others().count() {
            found.push(format!(
                "iteration {} was hanging, for {}, while {beside} of the {} after the split started",
                hung.iteration,
                rough_time((to - from).as_seconds_f64()),
                others().count()
            ));
        }
    }
    found
}

/// A time as people say it.
fn rough_time(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.1} h", seconds / 3600.0)
    } else {
        format!("{:.1} d", seconds / 86400.0)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
