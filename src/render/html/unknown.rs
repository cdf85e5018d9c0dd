//! Failures that no signature covers, those that are one bug together: what to write a signature for first.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, framed, heading};
use crate::model::summary::Unknown;
use crate::render::visible::short;

/// Most groups shown of a sweep.
const MOST_GROUPS: usize = 50;
/// Most runs that a group links to.
const MOST_LINKS: usize = 30;

pub(super) fn unknown(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let has_any = report.sheets.iter().any(|sheet| !sheet.summary.unknown.is_empty());
    has_any.then(|| {
        html! {
            p { "The same error in the same place is one group, whatever its values. "
                code { "reproduce-flaky signatures suggest" } " begins a signature for each." }
            @for (index, sheet) in report.sheets.iter().enumerate() { @if !sheet.summary.unknown.is_empty() {
                (heading(report, sheet))
                (framed("groups of unknown failures", &html! {
                    table {
                        caption.hide { "Groups of unknown failures" }
                        thead { tr {
                            th scope="col" { "group" } th.n scope="col" { "iterations" } th scope="col" { "such as" }
                            th scope="col" { "where" } th scope="col" { "runs" }
                        } }
                        tbody { @for group in sheet.summary.unknown.iter().take(MOST_GROUPS) { (row(group, index, names)) } }
                    }
                }))
                @if sheet.summary.unknown.len() > MOST_GROUPS { p { (sheet.summary.unknown.len() - MOST_GROUPS) " smaller groups are left out." } }
            } }
        }
    })
}

fn row(group: &Unknown, sheet: usize, names: &Names) -> Markup {
    let runs = &group.runs;
    html! {
        tr {
            th scope="row" { code { (group.id) } }
            td.n { (runs.len()) }
            td.text { code { (short(&group.example, 240)) } }
            td { code { (short(names.short(sheet, &group.place), 160)) } }
            td.runs {
                @for run in runs.iter().take(MOST_LINKS) { a href={ "#" (names.run(sheet, *run)) } { (run) } " " }
                @if runs.len() > MOST_LINKS { "and " (runs.len() - MOST_LINKS) " more" }
            }
        }
    }
}
