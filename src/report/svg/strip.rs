//! The strip: a cell for each iteration, in order. Stretches with different rates are marked below the cells.

use super::{Box, Drawing, mark};
use crate::judge::{OutcomeKind, Verdict};
use crate::report::summary::{Run, Summary};
use crate::report::wrap::cut;

/// Space for the number of a line's first iteration.
const LEFT: f64 = 46.0;
const WIDTH: f64 = 700.0;
/// Most iterations whose cells have tooltips; more would make the picture too large.
const MOST_TITLED: usize = 1_500;
/// Most missing iterations that get a cell.
const MOST_MISSING: u64 = 2_000;

/// Draws the strip. `prefix` is the beginning of the link of each cell, such as `n4/run`.
pub fn strip(summary: &Summary, prefix: &str) -> Drawing {
    let mut runs: Vec<&Run> = summary.not_passed.iter().chain(&summary.passed).collect();
    runs.sort_by_key(|run| run.iteration);
    let label = format!(
        "outcomes of {} iterations of {} in order: {} passed, {} failed, {} errored",
        summary.iterations.recorded,
        summary.sweep,
        summary.iterations.passed,
        summary.iterations.failed,
        summary.iterations.errored
    );
    let mut drawing = Drawing::new(LEFT + WIDTH + 4.0, label);
    let places = places(&runs, summary.iterations.missing);
    let n_places = places.len();
    let per_line: usize = match n_places {
        0..=1_000 => 50,
        1_001..=20_000 => 100,
        _ => 200,
    };
    let pitch = WIDTH / per_line as f64;
    let (gap, tall) = if per_line == 50 { (2.0, 16.0) } else { (1.0, 10.0) };
    let has_regimes = summary.regimes.len() > 1;
    let line_height = tall + 6.0 + if has_regimes { 16.0 } else { 0.0 };
    let is_titled = summary.not_passed.len() <= MOST_TITLED;
    let mut by_class: Vec<(&str, Vec<Box>)> = Vec::new();
    let mut signs = Vec::new();
    for (index, (number, run)) in places.iter().enumerate() {
        let (line, column) = (index / per_line, index % per_line);
        let (x, top) = (LEFT + column as f64 * pitch, line as f64 * line_height);
        if column == 0 {
            drawing.text(LEFT - 8.0, top + tall - 3.0, "end faint", &number.to_string());
        }
        let kind = run.map(|run| run.outcome);
        // Cells of passes are low, so that the others stand out without color.
        let height = match kind {
            Some(OutcomeKind::Passed) | None => tall / 2.0,
            Some(_) => tall,
        };
        let at = Box {
            x,
            y: top + tall - height,
            width: pitch - gap,
            height,
        };
        let (class, sign) = kind.map_or(("o-missing", ' '), mark);
        match run {
            Some(run) if run.verdict != Verdict::Passed && is_titled => {
                drawing.cell(class, at, &target(prefix, run), &title(run));
                signs.push((x + (pitch - gap) / 2.0, top + tall - 4.5, sign));
            }
            Some(_) | None => match by_class.iter_mut().find(|(known, _)| *known == class) {
                Some((_, boxes)) => boxes.push(at),
                None => by_class.push((class, vec![at])),
            },
        }
    }
    for (class, boxes) in by_class {
        drawing.boxes(class, &boxes);
    }
    if per_line == 50 {
        for (x, y, sign) in signs {
            drawing.text(x, y, "sign", &sign.to_string());
        }
    }
    if has_regimes {
        regimes(&mut drawing, summary, &places, per_line, (pitch, tall, line_height));
    }
    drawing.height = n_places.div_ceil(per_line).max(1) as f64 * line_height;
    drawing
}

/// Where a click on a run's cell leads.
pub(super) fn target(prefix: &str, run: &Run) -> String {
    if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}{:03}", run.iteration)
    }
}

/// The tooltip of a run's cell.
pub(super) fn title(run: &Run) -> String {
    let mut text = format!("iteration {}: {}", run.iteration, run.outcome.as_str());
    for part in [run.categories.join(" "), run.failing_tests.join(" ")] {
        if !part.is_empty() {
            text += " · ";
            text += &cut(&part, 120);
        }
    }
    text
}

/// The iterations that get a cell, in order: all, or those that are recorded where very many are missing.
fn places<'a>(runs: &[&'a Run], missing: u64) -> Vec<(u32, Option<&'a Run>)> {
    let mut places: Vec<(u32, Option<&Run>)> = Vec::new();
    for run in runs {
        if missing <= MOST_MISSING {
            let next = places.last().map_or(run.iteration, |(number, _)| number + 1);
            places.extend((next..run.iteration).map(|number| (number, None)));
        }
        places.push((run.iteration, Some(*run)));
    }
    places
}

/// A line below each stretch, with its count where it begins.
fn regimes(
    drawing: &mut Drawing,
    summary: &Summary,
    places: &[(u32, Option<&Run>)],
    per_line: usize,
    (pitch, tall, line_height): (f64, f64, f64),
) {
    for (index, regime) in summary.regimes.iter().enumerate() {
        let first = places.partition_point(|(number, _)| *number < regime.first);
        let end = places.partition_point(|(number, _)| *number <= regime.last);
        let class = if index % 2 == 0 { "regime0" } else { "regime1" };
        for line in first / per_line..=end.saturating_sub(1) / per_line {
            let from = first.max(line * per_line);
            let to = end.min((line + 1) * per_line);
            if from >= to {
                continue;
            }
            let x = |place: usize| LEFT + (place - line * per_line) as f64 * pitch;
            let y = line as f64 * line_height + tall + 4.0;
            drawing.line((x(from), y), (x(to) - 2.0, y), class);
            if from == first {
                // A label at the right end grows to the left, so that it stays in the picture.
                let text = format!("{} in {}-{}", regime.count, regime.first, regime.last);
                let is_right = x(from) > LEFT + WIDTH - 110.0;
                let (at, class) = if is_right {
                    (x(to), "end faint")
                } else {
                    (x(from), "faint")
                };
                drawing.text(at, y + 13.0, class, &text);
            }
        }
    }
}
