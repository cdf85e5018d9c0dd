//! The tables of causes, tests and comparisons.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, chart, charts, heading, table};
use crate::report::cells::{Cells, Column};
use crate::report::shown::{short, shown};
use crate::report::summary::Summary;
use crate::report::svg;
use crate::stats::comparison::Comparison;
use crate::stats::p_value;
use crate::stats::test_rate::TestRate;

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
                    (causes(sheet.summary, index, names))
                }
            }
        }
    })
}

fn causes(summary: &Summary, sheet: usize, names: &Names) -> Markup {
    let columns = [
        Column::names("cause"),
        Column::text("what"),
        Column::text("failure rate").class("nowrap"),
        Column::text("tests"),
        Column::text("iterations").class("runs"),
    ];
    let rows = summary.categories.iter().map(|category| {
        let tests = category.by_frequency();
        vec![
            html! { a href={ "#?cause=" (shown(&category.id)) } { (shown(&category.id)) } },
            html! { (shown(&category.title)) @if !category.advice.is_empty() { p.faint { (short(&category.advice, 400)) } } },
            html! { @match &category.rate {
                Some(rate) => { (rate.count) ": " (rate) },
                None => { "only errored: outside the rate" },
            } },
            html! { ul.plain {
                @for (test, n) in tests.iter().take(MOST_NAMED) { li { (n) " × " code { (short(names.short(sheet, test), 120)) } } }
                @if tests.len() > MOST_NAMED { li { "and " (tests.len() - MOST_NAMED) " more" } }
            } },
            super::links(&category.runs, MOST_LINKS, sheet, names),
        ]
    });
    let caption = format!("Causes in {}", shown(&summary.sweep));
    table("causes", &caption, &Cells::new(columns, rows))
}

/// Tests that passed only after a rerun, with how often.
pub(super) fn reran(report: &Report<'_>) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.summary.reran.is_empty());
    has_any.then(|| {
        html! {
            p { "Each failed, was run again in the same session, and did not fail in the end: the iteration counts as passed." }
            @for sheet in report.sheets.iter().filter(|sheet| !sheet.summary.reran.is_empty()) {
                (heading(report, sheet))
                (reran_of(sheet.summary))
            }
        }
    })
}

fn reran_of(summary: &Summary) -> Markup {
    let columns = [
        Column::names("test"),
        Column::figures("iterations, of those that reached it"),
    ];
    let rows = summary.reran.iter().take(MOST_TESTS).map(|test| {
        vec![
            html! { code { (short(&test.nodeid, 300)) } },
            html! { (test.iterations) "/" (test.of) },
        ]
    });
    let caption = format!("Tests that needed a rerun in {}", shown(&summary.sweep));
    table("tests that needed a rerun", &caption, &Cells::new(columns, rows))
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
                    @if summary.is_reach_assumed() { "the iterations that passed or failed, since not all of them say which tests they reached." }
                    @else { "the iterations that reached the test." }
                }
                (rates(summary, tests, names))
                @if summary.tests.len() > tests.len() {
                    p { (summary.tests.len() - tests.len()) " more tests failed, none of them more often: see "
                        code { "reproduce-flaky summary --format csv" } "." }
                }
            }
        } }
    })
}

/// How often each of these tests failed.
fn rates(summary: &Summary, tests: &[TestRate], names: &Names) -> Markup {
    let columns = [
        Column::names("test"),
        Column::figures("failed of"),
        Column::text("causes"),
    ];
    let rows = tests.iter().map(|test| {
        let name = short(&test.nodeid, 300);
        vec![
            html! { code {
                @if let Some(number) = names.test(&test.nodeid) { a href={ "#?test=" (number) } { (name) } } @else { (name) }
            } },
            html! { (test.rate.count) },
            html! { (shown(&test.categories.join(" "))) },
        ]
    });
    let caption = format!("Tests that failed in {}", shown(&summary.sweep));
    table("failing tests", &caption, &Cells::new(columns, rows))
}

/// What the first sweep against each other one carries, class by class.
pub(super) fn comparisons(report: &Report<'_>) -> Option<Markup> {
    (!report.comparisons.is_empty()).then(|| {
        html! { @for comparison in report.comparisons {
            h3 { (shown(&comparison.new.name)) " against " (shown(&comparison.base.name)) }
            (classes(comparison))
            @if !comparison.notes.is_empty() {
                ul.notes { @for note in &comparison.notes { li { span.tag { "note" } " " (super::prose(note, 600)) } } }
            }
        } }
    })
}

fn classes(comparison: &Comparison) -> Markup {
    let columns = [
        Column::names("class"),
        Column::text("before").class("nowrap"),
        Column::text("now").class("nowrap"),
        Column::figures("p fewer"),
        Column::figures("p more"),
        Column::figures("adjusted"),
        Column::text("verdict"),
        Column::figures("clean runs needed"),
    ];
    let rows = comparison.classes.iter().map(|class| {
        vec![
            html! { (shown(&class.id)) },
            html! { (class.base.count) ": " (class.base) },
            html! { (class.new.count) ": " (class.new) },
            html! { (p_value(class.tested.less)) },
            html! { (p_value(class.tested.greater)) },
            html! { (p_value(class.p_adjusted)) },
            html! { b { (class.verdict.as_str()) } },
            html! { @if let Some(n) = class.clean_runs_needed { (n) } },
        ]
    });
    table("comparison", "Classes before and now", &Cells::new(columns, rows))
}
