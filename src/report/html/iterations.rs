//! The table of iterations: a row for each that did not pass, one for each stretch of those that did.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::evidence::Articles;
use super::names::Names;
use super::{Report, Sheet, framed, head, heading};
use crate::judge::{Exit, Verdict};
use crate::report::cells::{Cells, Column};
use crate::report::shown::{short, shown};
use crate::report::summary::Run;
use crate::report::time;

/// Most bytes of rows over all sweeps.
const MOST_BYTES: usize = 1_300_000;

/// Most replaced answers of a sweep.
const MOST_REPLACED: usize = 200;

pub(super) fn iterations(report: &Report<'_>, names: &Names, written: &Articles) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.records.is_empty());
    let mut room = MOST_BYTES;
    has_any.then(|| {
        html! {
            (filters(report, names))
            @for (index, sheet) in report.sheets.iter().enumerate() {
                (heading(report, sheet))
                (table(sheet, index, (names, written), &mut room))
                @if !sheet.summary.replaced.is_empty() { (replaced(sheet, index, names)) }
            }
        }
    })
}

fn filters(report: &Report<'_>, names: &Names) -> Markup {
    let mut causes: Vec<(&str, &str)> = Vec::new();
    let mut outcomes: Vec<&str> = Vec::new();
    for summary in report.sheets.iter().map(|sheet| sheet.summary) {
        for category in &summary.categories {
            if !causes.iter().any(|(id, _)| *id == category.id) {
                causes.push((&category.id, &category.title));
            }
        }
        for (kind, _) in &summary.outcomes {
            if !outcomes.contains(&kind.as_str()) {
                outcomes.push(kind.as_str());
            }
        }
    }
    html! {
        form.filters role="search" aria-label="filter iterations and evidence" hidden {
            label { "cause " select name="cause" {
                option value="" { "all" }
                @for (id, title) in &causes { option value=(shown(id)) { (shown(id)) " " (short(title, 60)) } }
            } }
            label { "outcome " select name="outcome" {
                option value="" { "all" }
                @for outcome in &outcomes { option value=(outcome) { (outcome.replace('_', " ")) } }
            } }
            label { "test " select name="test" {
                option value="" { "all" }
                @for (number, test) in names.tests().into_iter().take(300) { option value=(number) { (short(test, 110)) } }
            } }
            @if report.sheets.len() > 1 {
                label { "sweep " select name="sweep" {
                    option value="" { "all" }
                    @for (index, sheet) in report.sheets.iter().enumerate() { option value=(index) { (shown(&sheet.summary.sweep)) } }
                } }
            }
            label { "text " input name="text" type="search" autocomplete="off"; }
            button type="reset" { "no filter" }
            output role="status" {}
        }
    }
}

fn table(sheet: &Sheet<'_>, index: usize, (names, written): (&Names, &Articles), room: &mut usize) -> Markup {
    let facts: BTreeMap<u32, Option<&Exit>> = sheet
        .records
        .iter()
        .map(|record| (record.iteration, record.exit.as_ref()))
        .collect();
    let mut rows: Vec<String> = Vec::new();
    let mut n_left_out = 0;
    for row in rows_of(sheet) {
        let row = match row {
            Row::Stretch(runs) => stretch(&runs, index, names),
            Row::One(run) => {
                let exit = facts.get(&run.iteration).copied().flatten();
                one(run, exit, written.has(index, run.iteration), index, names)
            }
        }
        .into_string();
        if row.len() > *room {
            n_left_out += 1;
            continue;
        }
        *room -= row.len();
        rows.push(row);
    }
    let columns = [
        Column::names("iteration"),
        Column::text("outcome"),
        Column::text("causes"),
        Column::text("tests"),
        Column::text("first evidence"),
        Column::figures("exit"),
        Column::figures("took"),
        Column::text("node"),
    ];
    html! {
        (framed("iterations", &html! {
            table.iterations {
                (head(&format!("Iterations of {}", shown(&sheet.summary.sweep)), &columns))
                tbody { @for row in &rows { (maud::PreEscaped(row)) } }
            }
        }))
        @if n_left_out > 0 {
            p { (n_left_out) " more rows would make this page too large; they are in "
                code { (shown(&sheet.summary.sweep)) "/results.csv" } "." }
        }
    }
}

fn replaced(sheet: &Sheet<'_>, index: usize, names: &Names) -> Markup {
    let runs = &sheet.summary.replaced;
    let listed = &runs[..runs.len().min(MOST_REPLACED)];
    let columns = [
        Column::names("iteration"),
        Column::text("outcome"),
        Column::text("causes"),
        Column::text("tests").class("tests"),
        Column::text("directory").class("text"),
    ];
    let rows = listed.iter().map(|run| {
        vec![
            html! { (run.iteration) },
            html! { (run.outcome.as_str().replace('_', " ")) },
            html! { (shown(&run.categories.join(" "))) },
            html! { @for test in run.failing_tests.iter().take(3) { code { (short(names.short(index, test), 110)) } " " } },
            html! { code { (short(&run.dir, 300)) } },
        ]
    });
    let caption = format!("Replaced answers of {}", shown(&sheet.summary.sweep));
    html! {
        p { "Replaced by " code { "--retry" } ", and counted like every other answer:" }
        (super::table("replaced answers", &caption, &Cells::new(columns, rows)))
        @if runs.len() > listed.len() { p { "and " (runs.len() - listed.len()) " more" } }
    }
}

enum Row<'a> {
    One(&'a Run),
    Stretch(Vec<&'a Run>),
}

/// Iterations that did not pass, and stretches between them.
fn rows_of<'a>(sheet: &Sheet<'a>) -> Vec<Row<'a>> {
    let mut runs: Vec<&Run> = sheet.summary.not_passed.iter().chain(&sheet.summary.passed).collect();
    runs.sort_by_key(|run| run.iteration);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        // A run that passed and has a note gets a row of its own.
        if run.verdict != Verdict::Passed || !run.notes.is_empty() {
            rows.push(Row::One(run));
            continue;
        }
        match rows.last_mut() {
            Some(Row::Stretch(stretch)) => stretch.push(run),
            Some(Row::One(_)) | None => rows.push(Row::Stretch(vec![run])),
        }
    }
    rows
}

fn stretch(runs: &[&Run], index: usize, names: &Names) -> Markup {
    let first = runs.first().map_or(0, |run| run.iteration);
    let last = runs.last().map_or(0, |run| run.iteration);
    let known = || runs.iter().filter_map(|run| run.duration_s);
    let (shortest, longest) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    html! {
        tr.passed data-s=(index) data-o="passed" data-first=(first) data-last=(last) data-prefix=(names.prefix(index)) {
            th scope="row" { (first) @if last > first { "-" (last) } }
            td.o { "passed" @if runs.len() > 1 { " × " (runs.len()) } }
            td colspan="4" {}
            td.n { @if shortest.is_finite() {
                @let (from, to) = (time::rounded(shortest), time::rounded(longest));
                @if from == to { (from) } @else { (from) " to " (to) }
            } }
            td {}
        }
    }
}

fn one(run: &Run, exit: Option<&Exit>, has_more: bool, index: usize, names: &Names) -> Markup {
    let name = names.run(index, run.iteration);
    // The run's name is an id and stands once on the page: at the evidence, or else at this row.
    let own_id = (!has_more).then_some(&name);
    let short_tests: Vec<String> = run
        .failing_tests
        .iter()
        .take(3)
        .map(|test| short(names.short(index, test), 110))
        .collect();
    html! {
        tr id=[own_id] data-s=(index) data-o=(run.outcome.as_str()) data-c=(shown(&run.categories.join(" "))) data-t=(names.numbers(run)) {
            th scope="row" { @if has_more { a href={ "#" (name) } { (run.iteration) } } @else { (run.iteration) } }
            td.o { (run.outcome.as_str().replace('_', " ")) }
            td { (shown(&run.categories.join(" "))) }
            td.tests {
                @for (index, test) in short_tests.iter().enumerate() { @if index > 0 { br; } code { (test) } }
                @if run.failing_tests.len() > short_tests.len() { br; "and " (run.failing_tests.len() - short_tests.len()) " more" }
            }
            td.text { (run.reason().map(|reason| short(reason, 140)).unwrap_or_default()) }
            td.n { (exit_words(run, exit)) }
            td.n { @if let Some(seconds) = run.duration_s { (time::rounded(seconds)) } }
            td.node { (exit.and_then(|exit| exit.node.as_deref()).map(|node| short(node, 40)).unwrap_or_default()) }
        }
    }
}

/// The exit code, and who ended the run where that was not the session itself.
pub(super) fn exit_words(run: &Run, exit: Option<&Exit>) -> String {
    let code = run
        .exit_code
        .map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    match exit {
        Some(exit) if exit.is_ended_from_outside() => format!("{code}, {}", exit.ended_by.as_str()),
        Some(exit) if exit.oom_killed => format!("{code}, out of memory"),
        Some(_) | None => code,
    }
}
