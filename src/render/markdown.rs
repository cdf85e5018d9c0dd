//! A summary for a page that shows Markdown, such as a job's summary: the four tables.

use std::fmt::Write as _;

use super::figures::{markdown, markdown_table};
use super::tables::{Cells, Listed, Table, cells};
use super::words;
use crate::model::summary::Summary;

/// The whole report.
#[must_use]
pub fn report(summaries: &[Summary], listed: Listed) -> String {
    let mut text = String::new();
    for summary in summaries {
        let _ = writeln!(
            text,
            "- {}: {}",
            markdown(&summary.sweep),
            markdown(&words::rate(&summary.rate))
        );
    }
    for (title, which) in [
        ("Run statistics", Table::Statistics),
        ("Failure breakdown", Table::Failures),
        ("Per iteration", Table::Iterations),
        ("Flaky tests identified", Table::Tests),
    ] {
        let cells = cells(which, summaries, listed);
        if !cells.rows.is_empty() {
            let _ = write!(text, "\n### {title}\n\n{}", table(&cells));
        }
    }
    text
}

/// One table.
#[must_use]
pub fn table(cells: &Cells) -> String {
    markdown_table(&cells.header, &cells.rows, &cells.figures)
}
