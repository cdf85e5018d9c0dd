//! The tables of causes, tests and comparisons.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, chart, charts, framed, heading};
use crate::model::summary::Category;
use crate::render::figures::rate;
use crate::render::svg;
use crate::render::visible::{short, visible};
use crate::render::words::rate_cell;
use crate::stats::p_value;

/// Most failing tests in a table.
const MOST_TESTS: usize = 500;
/// Most runs that a cause links to.
const MOST_LINKS: usize = 40;
/// Most tests that a cause names.
const MOST_NAMED: usize = 12;

/// Causes with how often, where, and what to look at.
pub(super) fn failures(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.summary.categories.is_empty());
    has_any.then(|| {
        html! {
            p { "An iteration with several causes counts for each of them. Lines are intervals of the rates." }
            (charts::rate_chart(report))
            @for (index, sheet) in report.sheets.iter().enumerate() {
                @if !sheet.summary.categories.is_empty() {
                    (heading(report, sheet))
                    (framed("causes", &html! {
                        table {
                            caption.hide { "Causes in " (visible(&sheet.summary.sweep)) }
                            thead { tr {
                                th scope="col" { "cause" } th scope="col" { "what" } th scope="col" { "failure rate" }
                                th scope="col" { "tests" } th scope="col" { "iterations" }
                            } }
                            tbody { @for category in &sheet.summary.categories { (cause(category, index, names)) } }
                        }
                    }))
                }
            }
        }
    })
}

fn cause(category: &Category, sheet: usize, names: &Names) -> Markup {
    let mut tests: Vec<(&String, &u64)> = category.tests.iter().collect();
    tests.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let runs = &category.runs[..category.runs.len().min(MOST_LINKS)];
    html! {
        tr {
            th scope="row" { a href={ "#?cause=" (visible(&category.id)) } { (visible(&category.id)) } }
            td { (visible(&category.title)) @if !category.advice.is_empty() { p.faint { (short(&category.advice, 400)) } } }
            td { @match &category.rate {
                Some(rate) => { (rate.count) ": " (rate_cell(rate)) },
                None => { "only errored: outside the rate" },
            } }
            td { ul.plain {
                @for (test, n) in tests.iter().take(MOST_NAMED) { li { (n) " × " code { (short(names.short(sheet, test), 120)) } } }
                @if tests.len() > MOST_NAMED { li { "and " (tests.len() - MOST_NAMED) " more" } }
            } }
            td.runs {
                @for run in runs { a href={ "#" (names.run(sheet, *run)) } { (run) } " " }
                @if category.runs.len() > runs.len() { "and " (category.runs.len() - runs.len()) " more" }
            }
        }
    }
}

/// Tests with how often, and the map of when.
pub(super) fn tests(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.summary.tests.is_empty());
    has_any.then(|| {
        html! { @for (index, sheet) in report.sheets.iter().enumerate() {
            @let summary = sheet.summary;
            @let tests = &summary.tests[..summary.tests.len().min(MOST_TESTS)];
            @if !tests.is_empty() {
                (heading(report, sheet))
                @if let Some(map) = svg::heat(summary, names.prefix(index)) {
                    (chart(&map))
                    @if summary.tests.len() > svg::MOST_TESTS {
                        p.faint { "The map shows the " (svg::MOST_TESTS) " tests that failed most often." }
                    }
                }
                p { "Failed of "
                    @if summary.is_reach_assumed { "the iterations that passed or failed, since not all of them say which tests they reached." }
                    @else { "the iterations that reached the test." }
                }
                (framed("failing tests", &html! {
                    table {
                        caption.hide { "Tests that failed in " (visible(&summary.sweep)) }
                        thead { tr {
                            th scope="col" { "test" } th.n scope="col" { "failed of" } th scope="col" { "causes" }
                        } }
                        tbody { @for test in tests {
                            tr {
                                th scope="row" { code {
                                    @if let Some(number) = names.test(&test.nodeid) { a href={ "#?test=" (number) } { (short(&test.nodeid, 300)) } }
                                    @else { (short(&test.nodeid, 300)) }
                                } }
                                td.n { (test.failed) "/" (test.of) }
                                td { (visible(&test.categories.join(" "))) }
                            }
                        } }
                    }
                }))
                @if summary.tests.len() > tests.len() {
                    p { (summary.tests.len() - tests.len()) " more tests failed, none of them more often: see "
                        code { "reproduce-flaky summary --format csv" } "." }
                }
            }
        } }
    })
}

/// What the first sweep against each other one carries, class by class.
pub(super) fn comparisons(report: &Report<'_>) -> Option<Markup> {
    (!report.comparisons.is_empty()).then(|| {
        html! { @for comparison in report.comparisons {
            h3 { (visible(&comparison.new.name)) " against " (visible(&comparison.base.name)) }
            (framed("comparison", &html! {
                table {
                    caption.hide { "Classes before and now" }
                    thead { tr {
                        th scope="col" { "class" } th scope="col" { "before" } th scope="col" { "now" }
                        th.n scope="col" { "p fewer" } th.n scope="col" { "p more" } th.n scope="col" { "adjusted" }
                        th scope="col" { "verdict" } th.n scope="col" { "clean runs needed" }
                    } }
                    tbody { @for class in &comparison.classes {
                        @let confidence = comparison.question.confidence;
                        tr {
                            th scope="row" { (visible(&class.id)) }
                            td { (class.base.count) ": " (rate(&class.base, confidence)) }
                            td { (class.new.count) ": " (rate(&class.new, confidence)) }
                            td.n { (p_value(class.fisher.less)) }
                            td.n { (p_value(class.fisher.greater)) }
                            td.n { (p_value(class.p_adjusted)) }
                            td { b { (class.verdict.as_str()) } }
                            td.n { @if let Some(n) = class.clean_runs_needed { (n) } }
                        }
                    } }
                }
            }))
            @if !comparison.notes.is_empty() {
                ul.notes { @for note in &comparison.notes { li { span.tag { "note" } " " (short(note, 600)) } } }
            }
        } }
    })
}
