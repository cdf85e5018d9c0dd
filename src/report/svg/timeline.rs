//! When iterations ran, slot by slot on each node. Gaps, crowds and hangs can be seen beside failures.

use chrono::{DateTime, TimeDelta, Utc};

use super::strip::target;
use super::{Box, Drawing, mark};
use crate::judge::{Record, Verdict};
use crate::report::shown::short;
use crate::report::summary::Run;
use crate::stats::drift::{self, Point};

const LEFT: f64 = 150.0;
const WIDTH: f64 = 590.0;
const LINE: f64 = 14.0;
/// Most slots; a note says how many more are left out.
const MOST_LANES: usize = 64;
/// Most iterations that did not pass whose bars have tooltips.
const MOST_TITLED: usize = 1_000;

struct Bar {
    run: Run,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    lane: (String, usize),
}

/// Draws the timeline; `None` where no times are known.
pub fn timeline(records: &[Record], prefix: &str) -> Option<Drawing> {
    let bars = bars(records);
    let first = bars.iter().map(|bar| bar.from).min()?;
    let last = bars.iter().map(|bar| bar.to).max()?;
    let span = (last - first).as_seconds_f64().max(1e-3);
    let mut lanes: Vec<&(String, usize)> = bars.iter().map(|bar| &bar.lane).collect();
    lanes.sort();
    lanes.dedup();
    let n_lanes = lanes.len();
    lanes.truncate(MOST_LANES);
    let left_out = if n_lanes > MOST_LANES {
        format!(", the first {MOST_LANES} of {n_lanes} slots")
    } else {
        String::new()
    };
    let mut drawing = Drawing::new(
        LEFT + WIDTH + 20.0,
        format!(
            "when {} iterations ran, by node and slot, from {} to {}{left_out}",
            bars.len(),
            stamp(first),
            stamp(last)
        ),
    );
    let x = |time: DateTime<Utc>| LEFT + (time - first).as_seconds_f64() / span * WIDTH;
    for (line, (node, slot)) in lanes.iter().enumerate() {
        let label = format!("{} {slot}", short(node, 18));
        drawing.text(LEFT - 8.0, line as f64 * LINE + 11.0, "end faint", label.trim());
    }
    let is_titled = bars.iter().filter(|bar| bar.run.verdict != Verdict::Passed).count() <= MOST_TITLED;
    let mut by_class: Vec<(&str, Vec<Box>)> = Vec::new();
    for bar in &bars {
        let Ok(line) = lanes.binary_search(&&bar.lane) else {
            continue;
        };
        let at = Box {
            x: x(bar.from),
            y: line as f64 * LINE + 2.0,
            width: (x(bar.to) - x(bar.from) - 0.5).max(0.5),
            height: LINE - 4.0,
        };
        let class = mark(bar.run.outcome).0;
        if bar.run.verdict != Verdict::Passed && is_titled {
            let title = super::strip::title(&bar.run);
            drawing.cell(class, at, &target(prefix, &bar.run), &title);
        } else {
            match by_class.iter_mut().find(|(known, _)| *known == class) {
                Some((_, boxes)) => boxes.push(at),
                None => by_class.push((class, vec![at])),
            }
        }
    }
    for (class, boxes) in by_class {
        drawing.boxes(class, &boxes);
    }
    let bottom = lanes.len() as f64 * LINE + 2.0;
    drawing.line((LEFT, bottom), (LEFT + WIDTH, bottom), "axis");
    drawing.text(LEFT, bottom + 14.0, "faint", &stamp(first));
    drawing.text(LEFT + WIDTH, bottom + 14.0, "end faint", &stamp(last));
    drawing.height = bottom + 20.0;
    Some(drawing)
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// The iterations whose times are known, with the slot of each.
fn bars(records: &[Record]) -> Vec<Bar> {
    let mut timed: Vec<(Point, &Record)> = records
        .iter()
        .filter_map(|record| {
            let exit = record.exit.as_ref()?;
            let point = Point {
                iteration: record.iteration,
                started_at: exit.started_at,
                duration_s: exit.duration_s,
                node: exit.node.clone(),
                ..Point::default()
            };
            point.ended_at().is_some().then_some((point, record))
        })
        .collect();
    timed.sort_by_key(|(point, _)| (point.started_at, point.iteration));
    let points: Vec<Point> = timed.iter().map(|(point, _)| point.clone()).collect();
    drift::slots(&points)
        .into_iter()
        .zip(timed)
        .filter_map(|(slot, (point, record))| {
            Some(Bar {
                run: Run::of(record),
                from: point.started_at?,
                to: point.ended_at()?.max(point.started_at? + TimeDelta::milliseconds(1)),
                lane: (point.node.unwrap_or_default(), slot?),
            })
        })
        .collect()
}
