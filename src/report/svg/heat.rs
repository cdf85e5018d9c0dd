//! Tests over iterations: which test failed when. In a long sweep, a column stands for several iterations.

use super::strip::target;
use super::{Box, Drawing, mark};
use crate::report::shown::short;
use crate::report::summary::{Run, Summary};
use crate::report::test_names::TestNames;

const LEFT: f64 = 290.0;
const WIDTH: f64 = 460.0;
const LINE: f64 = 18.0;
/// Most columns; with more iterations, several share a column.
const MOST_COLUMNS: usize = 115;
/// Most tests; those that failed most often come first.
pub(crate) const MOST_TESTS: usize = 40;

/// Draws the map; `None` where no failing test is known.
pub fn heat(summary: &Summary, prefix: &str) -> Option<Drawing> {
    let tests = &summary.tests[..summary.tests.len().min(MOST_TESTS)];
    if tests.is_empty() {
        return None;
    }
    let mut numbers: Vec<u32> = summary
        .not_passed
        .iter()
        .chain(&summary.passed)
        .map(|run| run.iteration)
        .collect();
    numbers.sort_unstable();
    let per_column = numbers.len().div_ceil(MOST_COLUMNS).max(1);
    let n_columns = numbers.len().div_ceil(per_column);
    let pitch = (WIDTH / n_columns as f64).min(14.0);
    let mut drawing = Drawing::new(
        LEFT + WIDTH + 60.0,
        format!(
            "which of {} failing tests failed in which iteration; the table has the counts",
            tests.len()
        ),
    );
    let bottom = tests.len() as f64 * LINE;
    for (column, first) in numbers.iter().step_by(per_column).enumerate() {
        let every = (n_columns / 8).max(1);
        if column % every == 0 && column + every / 2 <= n_columns {
            let x = LEFT + column as f64 * pitch;
            drawing.line((x, 0.0), (x, bottom), "grid");
            drawing.text(x, bottom + 14.0, "faint", &first.to_string());
        }
    }
    let names = TestNames::of(summary);
    for (line, test) in tests.iter().enumerate() {
        let y = line as f64 * LINE;
        drawing.text(LEFT - 8.0, y + 13.0, "end", &short(names.short(&test.nodeid), 42));
        drawing.text(LEFT + WIDTH + 8.0, y + 13.0, "faint", &test.rate.count.to_string());
        let failed: Vec<&Run> = summary
            .not_passed
            .iter()
            .filter(|run| run.failing_tests.contains(&test.nodeid))
            .collect();
        let column = |run: &Run| numbers.partition_point(|number| *number < run.iteration) / per_column;
        let place = |column: usize| Box {
            x: LEFT + column as f64 * pitch,
            y: y + 2.0,
            width: (pitch - 1.0).max(0.8),
            height: LINE - 4.0,
        };
        if per_column == 1 && failed.len() <= 200 {
            for run in failed {
                let title = format!("iteration {}: {}", run.iteration, run.categories.join(" "));
                drawing.cell(mark(run.outcome).0, place(column(run)), &target(prefix, run), &title);
            }
        } else {
            for (share, part) in shares(&failed, &column, per_column) {
                let boxes: Vec<Box> = part.into_iter().map(place).collect();
                drawing.boxes(["h1", "h2", "h3", "h4"][share], &boxes);
            }
        }
    }
    drawing.height = bottom + 20.0;
    Some(drawing)
}

/// Columns by the share of their iterations that failed, in quarters.
fn shares(failed: &[&Run], column: &dyn Fn(&Run) -> usize, per_column: usize) -> Vec<(usize, Vec<usize>)> {
    let mut parts = vec![Vec::new(); 4];
    let columns: Vec<usize> = failed.iter().map(|run| column(run)).collect();
    for same in columns.chunk_by(|a, b| a == b) {
        let quarter = (same.len() * 4).div_ceil(per_column).clamp(1, 4);
        parts[quarter - 1].push(same[0]);
    }
    parts.into_iter().enumerate().collect()
}
