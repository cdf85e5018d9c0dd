//! Failures that no signature covers, grouped by error and place, the most frequent first.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, heading, table};
use crate::judge::cluster::Group;
use crate::report::cells::{Cells, Column};
use crate::report::shown::short;

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
                (groups(&sheet.summary.unknown, index, names))
                @if sheet.summary.unknown.len() > MOST_GROUPS { p { (sheet.summary.unknown.len() - MOST_GROUPS) " smaller groups are left out." } }
            } }
        }
    })
}

fn groups(groups: &[Group], sheet: usize, names: &Names) -> Markup {
    let columns = [
        Column::names("group"),
        Column::figures("iterations"),
        Column::text("such as").class("text"),
        Column::text("where"),
        Column::text("runs").class("runs"),
    ];
    let rows = groups.iter().take(MOST_GROUPS).map(|group| {
        vec![
            html! { code { (group.id) } },
            html! { (group.iterations.len()) },
            html! { code { (short(&group.example, 240)) } },
            html! { code { (short(names.short(sheet, &group.place), 160)) } },
            super::links(&group.iterations, MOST_LINKS, sheet, names),
        ]
    });
    table(
        "groups of unknown failures",
        "Groups of unknown failures",
        &Cells::new(columns, rows),
    )
}
