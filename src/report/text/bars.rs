//! Rates as bars on one scale: where each is, and how far its interval goes.

use std::fmt::Write as _;

use super::super::paint::Paint;
use super::Chart;
use crate::report::summary::Summary;
use crate::stats::{Rate, percent};

/// Cells of a bar.
const CELLS: usize = 44;
/// Most rows.
const MOST: usize = 12;
/// Ends that the scale may have.
const ENDS: [f64; 7] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// A row for all failures and one for each category; nothing where no rate is known, or none is to be drawn.
pub(super) fn bars(summary: &Summary, chart: Chart, paint: Paint) -> String {
    if chart == Chart::None || summary.rate.count.failed() == 0 {
        return String::new();
    }
    let own = summary
        .categories
        .iter()
        .filter_map(|category| Some((category.id.as_str(), category.rate?)));
    let rows: Vec<(&str, Rate)> = std::iter::once(("any", summary.rate)).chain(own).take(MOST).collect();
    let highest = rows.iter().map(|(_, rate)| rate.high).fold(0.0, f64::max);
    let end = ENDS.into_iter().find(|end| highest <= *end).unwrap_or(1.0);
    let width = rows.iter().map(|(id, _)| id.chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "\n{}, from 0 to {}\n",
        paint.bold("failure rates with their intervals"),
        percent(end)
    );
    for (id, rate) in rows {
        let _ = writeln!(text, "  {id:width$}  {}  {}", bar(&rate, end, chart, paint), rate.count);
    }
    text
}

fn bar(rate: &Rate, end: f64, chart: Chart, paint: Paint) -> String {
    let (at, within, outside) = match chart {
        Chart::Unicode => ("●", "━", "·"),
        Chart::Ascii | Chart::None => ("o", "=", "."),
    };
    // The cell of the bar that a rate falls into.
    let cell = |rate: f64| {
        (1..CELLS)
            .filter(|edge| rate / end * CELLS as f64 >= *edge as f64)
            .count()
    };
    let (low, high) = (cell(rate.low), cell(rate.high));
    let value = cell(rate.count.rate().unwrap_or(0.0)).clamp(low, high);
    let dim = |n: usize| {
        if n == 0 {
            String::new()
        } else {
            paint.dim(&outside.repeat(n))
        }
    };
    let red = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            paint.red(text)
        }
    };
    let inside = within.repeat(value - low) + at + &within.repeat(high - value);
    dim(low) + &red(&inside) + &dim(CELLS - 1 - high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Count, Method};

    #[test]
    fn a_bar_shows_the_rate_within_its_interval() {
        let drawn = |failed, of, end| {
            bar(
                &Rate::new(Count::new(failed, of).unwrap(), 0.95, Method::Wilson),
                end,
                Chart::Ascii,
                Paint::Plain,
            )
        };
        assert_eq!(drawn(5, 10, 1.0), "..........============o===========..........");
        assert_eq!(drawn(0, 100, 0.05), "o================================...........");
        assert_eq!(drawn(10, 10, 1.0), "...............................============o");
        for (failed, of) in [(1, 1), (1, 1000), (999, 1000), (3, 7)] {
            assert_eq!(drawn(failed, of, 1.0).len(), CELLS);
        }
        let unicode = bar(
            &Rate::new(Count::new(1, 2).unwrap(), 0.95, Method::Wilson),
            1.0,
            Chart::Unicode,
            Paint::Plain,
        );
        assert_eq!((unicode.chars().count(), unicode.matches('●').count()), (CELLS, 1));
    }
}
