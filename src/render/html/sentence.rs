//! The top of the page: the verdict in one sentence, the counts, and what a reader must know before believing them.

use maud::{Markup, html};

use super::{Report, Sheet};
use crate::model::comparison::ANY;
use crate::model::summary::Summary;
use crate::render::visible::{short, visible};
use crate::render::{compare, words};

/// Most notes that stand open at the top.
const MOST_NOTES: usize = 8;

pub(super) fn head(report: &Report<'_>, title: &str) -> Markup {
    let sentences = verdict(report);
    html! {
        div.verdict {
            h1 { (short(title, 160)) }
            @for sentence in &sentences { p.lead { (visible(sentence)) } }
            (framed_counts(report))
            @for sheet in report.sheets { (notes(report, sheet)) }
        }
    }
}

/// The verdict: of a comparison where there is one, else of the sweep.
fn verdict(report: &Report<'_>) -> Vec<String> {
    let compared = report.comparisons.iter().filter_map(|comparison| {
        let any = comparison.classes.iter().find(|class| class.id == ANY)?;
        let sentence = compare::sentence(any, comparison.question, comparison.classes.len());
        let sentence = sentence.trim_start_matches("any: ");
        Some(format!(
            "{} against {}: {sentence}.",
            comparison.new.name, comparison.base.name
        ))
    });
    let compared: Vec<String> = compared.collect();
    if compared.is_empty() {
        report
            .sheets
            .iter()
            .map(|sheet| of_one(sheet.summary, report.sheets.len() > 1))
            .collect()
    } else {
        compared
    }
}

fn of_one(summary: &Summary, is_named: bool) -> String {
    let mut text = if is_named {
        format!("{}: ", summary.sweep)
    } else {
        String::new()
    };
    text += &words::rate(&summary.rate);
    if summary.regimes.len() > 1 {
        let parts: Vec<String> = summary
            .regimes
            .iter()
            .map(|regime| format!("{} in {}-{}", regime.count, regime.first, regime.last))
            .collect();
        text += &format!(", but not at one rate: {}", parts.join(", then "));
    }
    let most = summary
        .categories
        .iter()
        .filter_map(|category| Some((category, category.rate?.count.failed())))
        .max_by_key(|(_, failed)| *failed);
    if let Some((category, failed)) = most {
        let all = summary.iterations.failed;
        let share = match (failed == all, all) {
            (true, 1) => "it is".to_owned(),
            (true, _) => format!("all {all} are"),
            (false, _) => format!("{failed} of the {all} are"),
        };
        text += &format!("; {share} {}, {}", category.id, category.title.to_lowercase());
    }
    text + "."
}

/// The counts of each sweep.
fn framed_counts(report: &Report<'_>) -> Markup {
    let table = html! {
        table {
            caption.hide { "Counts of each sweep" }
            thead { tr {
                th scope="col" { "sweep" } th scope="col" { "mode" } th scope="col" { "iterations" }
                th.n scope="col" { "passed" } th.n scope="col" { "failed" } th.n scope="col" { "errored" }
                th.n scope="col" { "missing" } th scope="col" { "failure rate" }
            } }
            tbody { @for sheet in report.sheets {
                @let n = &sheet.summary.iterations;
                tr {
                    th scope="row" { (visible(&sheet.summary.sweep)) }
                    td { (sheet.summary.mode.as_deref().unwrap_or("unknown")) }
                    td { (n.recorded) @if let Some((first, last)) = sheet.summary.span() { " (" (first) "-" (last) ")" } }
                    td.n { (n.passed) } td.n { (n.failed) } td.n { (n.errored) } td.n { (n.missing) }
                    td { (sheet.summary.rate.count) ": " (words::rate_cell(&sheet.summary.rate)) }
                }
            } }
        }
    };
    super::framed("counts", &table)
}

/// What a reader must know; of very many notes the rest is folded away.
fn notes(report: &Report<'_>, sheet: &Sheet<'_>) -> Markup {
    let notes = &sheet.summary.notes;
    let (open, folded) = notes.split_at(notes.len().min(MOST_NOTES));
    let folded = &folded[..folded.len().min(500)];
    let name = if report.sheets.len() > 1 {
        format!("{}: ", sheet.summary.sweep)
    } else {
        String::new()
    };
    html! {
        @if !open.is_empty() {
            ul.notes aria-label="notes" { @for note in open { li { span.tag { "note" } " " (visible(&name)) (short(note, 600)) } } }
        }
        @if !folded.is_empty() {
            details { summary { (folded.len()) " more notes" } ul.notes { @for note in folded { li { (short(note, 300)) } } } }
        }
    }
}
