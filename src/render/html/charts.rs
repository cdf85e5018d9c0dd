//! The parts of the page that are mostly pictures: outcomes with rates, durations, the timeline.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, chart, framed, heading};
use crate::model::OutcomeKind;
use crate::model::durations::Spread;
use crate::model::summary::Summary;
use crate::render::svg::{self, rates};

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
        OutcomeKind::Hung => "H",
        OutcomeKind::Crashed => "C",
        OutcomeKind::TimedOut => "T",
        OutcomeKind::Failed => "F",
        OutcomeKind::Infra | OutcomeKind::NoTests | OutcomeKind::UsageError | OutcomeKind::NoResult => "E",
        OutcomeKind::Passed => "low",
    };
    html! {
        ul.legend aria-label="what the cells mean" {
            @for kind in OutcomeKind::ALL.into_iter().filter(|kind| has(*kind)) {
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

/// Rates by class, drawn.
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
    let row = |summary: &Summary, name: &str, spread: Option<Spread>| {
        html! { @if let Some(spread) = spread {
            tr {
                @if report.sheets.len() > 1 { td { (crate::render::visible::visible(&summary.sweep)) } }
                th scope="row" { (name) }
                td.n { (spread.n) }
                @for value in [spread.min, spread.median, spread.p90, spread.max] { td.n { (svg::time(value)) } }
            }
        } }
    };
    let table = html! {
        table {
            caption.hide { "Spread of durations" }
            thead { tr {
                @if report.sheets.len() > 1 { th scope="col" { "sweep" } }
                th scope="col" { "iterations that" } th.n scope="col" { "n" } th.n scope="col" { "shortest" }
                th.n scope="col" { "median" } th.n scope="col" { "nine of ten within" } th.n scope="col" { "longest" }
            } }
            tbody { @for sheet in known() {
                @let spread = &sheet.summary.durations_s;
                (row(sheet.summary, "passed", spread.passed))
                (row(sheet.summary, "failed", spread.failed))
            } }
        }
    };
    Some(html! {
        @for sheet in known() {
            (heading(report, sheet))
            @if let Some(drawing) = svg::durations(sheet.summary) { (chart(&drawing)) }
        }
        (framed("durations", &table))
    })
}

/// The timeline of each sweep.
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
