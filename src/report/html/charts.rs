//! The parts of the page that are mostly pictures: outcomes with rates, durations, the timeline.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, chart, heading, table};
use crate::judge::OutcomeKind;
use crate::report::cells::{Cells, Column};
use crate::report::shown::shown;
use crate::report::signs;
use crate::report::summary::Summary;
use crate::report::svg::{self, rates};
use crate::report::time;
use crate::stats::durations::Spread;

/// The strip of each sweep, what its signs mean, and the stretches in words.
pub(super) fn outcomes(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.records.is_empty());
    has_any.then(|| {
        html! {
            (legend(report))
            @for (index, sheet) in report.sheets.iter().enumerate() {
                (heading(report, sheet))
                (chart(&svg::strip(sheet.summary, names.prefix(index))))
                (regimes(sheet.summary))
            }
        }
    })
}

/// The outcomes that occur, with color and sign.
fn legend(report: &Report<'_>) -> Markup {
    let has = |kind: OutcomeKind| {
        let mut outcomes = report.sheets.iter().flat_map(|sheet| &sheet.summary.outcomes);
        outcomes.any(|(known, _)| *known == kind)
    };
    let words = |kind: OutcomeKind| kind.as_str().replace('_', " ");
    let sign = |kind: OutcomeKind| match kind {
        OutcomeKind::Passed => "low".to_owned(),
        kind => signs::sign(kind).to_string(),
    };
    html! {
        ul.legend aria-label="what the cells mean" {
            @for kind in OutcomeKind::ALL.iter().copied().filter(|kind| has(*kind)) {
                li { span class={ "swatch s-" (kind.as_str()) } {} b { (sign(kind)) } " " (words(kind)) }
            }
        }
    }
}

fn regimes(summary: &Summary) -> Markup {
    html! { @if summary.regimes.len() > 1 {
        p {
            "Stretches with different rates: "
            @for (index, regime) in summary.regimes.iter().enumerate() {
                @if index > 0 { ", then " }
                (regime.count) " in " (regime.first) "-" (regime.last)
            }
            @if let Some(p) = summary.regime_p { " (p = " (crate::stats::p_value(p)) ")" }
            "."
        }
    } }
}

/// The rates of each class with their intervals.
pub(super) fn rate_chart(report: &Report<'_>) -> Markup {
    let summaries: Vec<Summary> = report.sheets.iter().map(|sheet| sheet.summary.clone()).collect();
    chart(&rates(&svg::rate_rows(&summaries)))
}

/// Distributions and their figures.
pub(super) fn durations(report: &Report<'_>) -> Option<Markup> {
    let known = || {
        report
            .sheets
            .iter()
            .filter(|sheet| sheet.summary.durations_s.all.is_some())
    };
    known().next()?;
    let has_names = report.sheets.len() > 1;
    let row = |summary: &Summary, name: &str, spread: Option<Spread>| {
        let spread = spread?;
        let mut row = vec![html! { (shown(&summary.sweep)) }; usize::from(has_names)];
        row.push(html! { (name) });
        row.push(html! { (spread.n) });
        let times = [spread.min, spread.median, spread.p90, spread.max];
        row.extend(times.map(|value| html! { (time::rounded(value)) }));
        Some(row)
    };
    let mut columns = vec![Column::text("sweep"); usize::from(has_names)];
    columns.push(Column::names("iterations that"));
    columns.extend(["n", "shortest", "median", "nine of ten within", "longest"].map(Column::figures));
    let rows = known().flat_map(|sheet| {
        let spread = &sheet.summary.durations_s;
        let rows = [("passed", spread.passed), ("failed", spread.failed)];
        rows.into_iter()
            .filter_map(|(name, spread)| row(sheet.summary, name, spread))
    });
    let cells = Cells::new(columns, rows);
    Some(html! {
        @for sheet in known() {
            (heading(report, sheet))
            @if let Some(drawing) = svg::durations(sheet.summary) { (chart(&drawing)) }
        }
        (table("durations", "Spread of durations", &cells))
    })
}

pub(super) fn timeline(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let drawn: Vec<_> = report
        .sheets
        .iter()
        .enumerate()
        .filter_map(|(index, sheet)| Some((sheet, svg::timeline(sheet.records, names.prefix(index))?)))
        .collect();
    (!drawn.is_empty()).then(|| {
        html! {
            p { "One line a slot: a place of a node in which iterations follow each other, made out from their times." }
            @for (sheet, drawing) in &drawn { (heading(report, sheet)) (chart(drawing)) p.faint { (drawing.label) "." } }
        }
    })
}
