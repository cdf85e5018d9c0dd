//! A summary for a page that shows Markdown, such as a job's summary: the four tables.

use std::fmt::Write as _;

use super::figures::{markdown, markdown_table};
use super::paint::Paint;
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
    text += &outcomes(summaries);
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

/// The outcomes in order, a sign each, in blocks that keep their columns.
fn outcomes(summaries: &[Summary]) -> String {
    let mut text = String::new();
    for summary in summaries {
        let signs = super::text::outcomes(summary, Paint::Plain);
        if signs.is_empty() {
            continue;
        }
        if text.is_empty() {
            text += "\n### Outcomes in order\n\n`.` passed, `F` failed, `C` crashed, `H` hung, `T` timed out, `E` errored.\n";
        }
        // Apart from the tables, so that no name of a sweep can end the block.
        let _ = write!(text, "\n{}\n\n```text\n{signs}```\n", markdown(&summary.sweep));
    }
    text
}

/// One table.
#[must_use]
pub fn table(cells: &Cells) -> String {
    markdown_table(&cells.header, &cells.rows, &cells.figures)
}
