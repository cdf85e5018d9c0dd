//! The top of the page: the verdict in one sentence, the counts, and the notes that qualify them.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{Report, Sheet};
use crate::report::cells::{Cells, Column};
use crate::report::shown::{short, shown};
use crate::report::summary::{Category, Summary};
use crate::stats::comparison::ANY;

/// Most causes that the verdict names.
const MOST_CAUSES: usize = 4;

/// Most notes that stand open at the top.
const MOST_NOTES: usize = 8;

pub(super) fn head(report: &Report<'_>, title: &str) -> Markup {
    let sentences = verdict(report);
    html! {
        div.verdict {
            h1 { (short(title, 160)) }
            @for sentence in &sentences { p.lead { (shown(sentence)) } }
            (counts(report))
            @for sheet in report.sheets { (notes(report, sheet)) }
        }
    }
}

/// The verdict: of a comparison where there is one, else of the sweep.
fn verdict(report: &Report<'_>) -> Vec<String> {
    let compared = report.comparisons.iter().filter_map(|comparison| {
        let any = comparison.classes.iter().find(|class| class.id == ANY)?;
        let sentence = comparison.sentence(any);
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
    text += &summary.rate.sentence();
    if summary.regimes.len() > 1 {
        let parts: Vec<String> = summary
            .regimes
            .iter()
            .map(|regime| format!("{} in {}-{}", regime.count, regime.first, regime.last))
            .collect();
        let _ = write!(text, ", but not at one rate: {}", parts.join(", then "));
    }
    let failed = |category: &Category| Some(category.rate?.count.failed());
    let causes = summary.categories.iter();
    let causes: Vec<(&Category, u64)> = causes
        .filter_map(|category| Some((category, failed(category)?)))
        .collect();
    let all = summary.rate.count.failed();
    match causes.as_slice() {
        [] => {}
        [(cause, failed)] => {
            let share = match (*failed == all, all) {
                (true, 1) => "it is".to_owned(),
                (true, _) => format!("all {all} are"),
                (false, _) => format!("{failed} of the {all} are"),
            };
            let _ = write!(text, "; {share} {}, {}", cause.id, cause.title.to_lowercase());
        }
        // One iteration may have several causes, of different tests.
        several => {
            let said = several.iter().take(MOST_CAUSES).map(|(cause, failed)| {
                let are = if *failed == 1 { "is" } else { "are" };
                format!("{failed} {are} {} ({})", cause.id, cause.title.to_lowercase())
            });
            let _ = write!(text, "; {}", said.collect::<Vec<_>>().join(", "));
            if several.len() > MOST_CAUSES {
                let _ = write!(text, " and {} more causes", several.len() - MOST_CAUSES);
            }
        }
    }
    text + "."
}

fn counts(report: &Report<'_>) -> Markup {
    let columns = [
        Column::names("sweep"),
        Column::text("mode"),
        Column::text("iterations").class("nowrap"),
        Column::figures("passed"),
        Column::figures("failed"),
        Column::figures("errored"),
        Column::figures("missing"),
        Column::text("failure rate").class("nowrap"),
    ];
    let rows = report.sheets.iter().map(|Sheet { summary, .. }| {
        let n = &summary.iterations;
        let numbers = [n.passed, n.failed, n.errored, n.missing].map(|n| html! { (n) });
        let mut row = vec![
            html! { (shown(&summary.sweep)) },
            html! { (summary.mode.as_deref().unwrap_or("unknown")) },
            html! { (n.recorded) @if let Some((first, last)) = summary.span() { " (" (first) "-" (last) ")" } },
        ];
        row.extend(numbers);
        row.push(html! { (summary.rate.count) ": " (summary.rate) });
        row
    });
    super::table("counts", "Counts of each sweep", &Cells::new(columns, rows))
}

/// The notes of a sweep; the rest of very many notes is folded away.
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
            ul.notes aria-label="notes" { @for note in open { li { span.tag { "note" } " " (shown(&name)) (super::prose(note, 600)) } } }
        }
        @if !folded.is_empty() {
            details { summary { (folded.len()) " more notes" } ul.notes { @for note in folded { li { (super::prose(note, 300)) } } } }
        }
    }
}
