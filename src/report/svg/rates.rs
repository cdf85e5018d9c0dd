//! Rates with their intervals, a line for each; the rates of one class in several sweeps stand below each other.

use super::{Box, Drawing, step};
use crate::report::shown::short;
use crate::report::summary::Summary;
use crate::stats::{Count, Rate, percent};

#[derive(Clone, Debug, PartialEq)]
pub struct RateRow {
    /// The class, such as `A2 event sync`; the same for all sweeps.
    pub class: String,
    pub sweep: String,
    /// Its place among the sweeps, 0 for the first.
    pub place: usize,
    pub rate: Rate,
}

/// The rates of some sweeps, class by class; a class that a sweep does not have failed 0 times there.
pub fn rows(summaries: &[Summary]) -> Vec<RateRow> {
    let mut classes: Vec<(&str, &str)> = Vec::new();
    for category in summaries.iter().flat_map(|summary| &summary.categories) {
        if category.rate.is_some() && !classes.iter().any(|(id, _)| *id == category.id) {
            classes.push((&category.id, &category.title));
        }
    }
    let mut rows = Vec::new();
    let mut add = |class: String, rate: &dyn Fn(&Summary) -> Rate| {
        for (place, summary) in summaries.iter().enumerate() {
            rows.push(RateRow {
                class: class.clone(),
                sweep: summary.sweep.clone(),
                place,
                rate: rate(summary),
            });
        }
    };
    add("any failure".to_owned(), &|summary| summary.rate);
    for (id, title) in classes {
        add(format!("{id} {title}"), &|summary| class_rate(summary, id));
    }
    rows
}

/// The rate of a class in a sweep.
fn class_rate(summary: &Summary, id: &str) -> Rate {
    let found = summary.categories.iter().find(|category| category.id == id);
    let rate = summary.rate;
    found.and_then(|category| category.rate).unwrap_or_else(|| {
        Rate::new(
            Count::new(0, rate.count.of()).unwrap_or_default(),
            rate.confidence,
            rate.method,
        )
    })
}

const LEFT: f64 = 240.0;
const PLOT: f64 = 290.0;
const RIGHT: f64 = 240.0;
const LINE: f64 = 20.0;

pub fn rates(rows: &[RateRow]) -> Drawing {
    let n_sweeps = rows.iter().map(|row| row.place + 1).max().unwrap_or(1);
    let confidence = rows.first().map_or(0.95, |row| row.rate.confidence);
    let mut drawing = Drawing::new(
        LEFT + PLOT + RIGHT,
        format!(
            "failure rates with their {} intervals; the table has the figures",
            percent(confidence)
        ),
    );
    let most = rows
        .iter()
        .map(|row| row.rate.high)
        .fold(0.0, f64::max)
        .clamp(1e-6, 1.0);
    let step = step(most);
    let scale_end = ((most / step).ceil() * step).min(1.0_f64.max(most));
    let x = |rate: f64| LEFT + rate / scale_end * PLOT;
    let classes = rows.chunk_by(|a, b| a.class == b.class).count() as f64;
    let heads = if n_sweeps > 1 { classes * LINE } else { 0.0 };
    let bottom = rows.len() as f64 * LINE + heads + classes * 4.0;
    let mut tick = 0.0;
    while tick <= scale_end + step / 1e3 {
        drawing.line((x(tick), 0.0), (x(tick), bottom), "grid");
        drawing.text(x(tick), bottom + 14.0, "mid faint", &percent(tick));
        tick += step;
    }
    let mut y = 0.0;
    for class in rows.chunk_by(|a, b| a.class == b.class) {
        if n_sweeps > 1 {
            drawing.text(0.0, y + 14.0, "strong", &short(&class[0].class, 60));
            y += LINE;
        }
        for row in class {
            one(&mut drawing, row, y, n_sweeps, &x);
            y += LINE;
        }
        y += 4.0;
    }
    drawing.height = bottom + 20.0;
    drawing
}

fn one(drawing: &mut Drawing, row: &RateRow, y: f64, n_sweeps: usize, x: &dyn Fn(f64) -> f64) {
    let middle = y + LINE / 2.0;
    let (name, class) = if n_sweeps > 1 {
        (&row.sweep, "end")
    } else {
        (&row.class, "end")
    };
    drawing.text(LEFT - 12.0, middle + 4.0, class, &short(name, 32));
    let is_new = row.place > 0;
    let Some(value) = row.rate.count.rate() else {
        drawing.text(LEFT + PLOT + 12.0, middle + 4.0, "faint", "nothing is known");
        return;
    };
    let class = if is_new { "whisker-new" } else { "whisker" };
    drawing.line((x(row.rate.low), middle), (x(row.rate.high), middle), class);
    for end in [row.rate.low, row.rate.high] {
        drawing.line((x(end), middle - 4.0), (x(end), middle + 4.0), class);
    }
    let at = Box {
        x: x(value) - 4.0,
        y: middle - 4.0,
        width: 8.0,
        height: 8.0,
    };
    drawing.boxes(if is_new { "dot-new" } else { "dot" }, &[at]);
    let text = format!("{}: {}", row.rate.count, row.rate);
    drawing.text(LEFT + PLOT + 12.0, middle + 4.0, "", &text);
}
