//! A summary for a page that shows Markdown, such as a job's summary: the four tables.

use std::fmt::Write as _;

use super::cells::{Cells, Column, Kind};
use super::paint::Paint;
use super::shown::shown;
use super::tables::{Listed, Table, cells};
use crate::report::summary::Summary;

pub fn report(summaries: &[Summary], listed: Listed) -> String {
    let summaries = &*Summary::shown(summaries);
    let mut text = String::new();
    for summary in summaries {
        let _ = writeln!(
            text,
            "- {}: {}",
            escaped(&summary.sweep),
            escaped(&summary.rate.sentence())
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
    text + &reran(summaries)
}

/// Tests that passed only after a rerun.
fn reran(summaries: &[Summary]) -> String {
    let rows = summaries.iter().flat_map(|summary| {
        summary.reran.iter().map(|test| {
            let count = format!("{}/{}", test.iterations, test.of);
            vec![summary.sweep.clone(), test.nodeid.clone(), count]
        })
    });
    let columns = [
        Column::names("directory"),
        Column::names("test"),
        Column::figures("iterations"),
    ];
    let cells = Cells::new(columns, rows);
    if cells.rows.is_empty() {
        return String::new();
    }
    format!("\n### Needed a rerun, and passed\n\n{}", table(&cells))
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
        let _ = write!(text, "\n{}\n\n```text\n{signs}```\n", escaped(&summary.sweep));
    }
    text
}

/// One table, as GitHub and GitLab show it.
pub fn table(cells: &Cells) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let rule = |column: &Column| match column.kind {
        Kind::Figures => "---:".to_owned(),
        Kind::Text | Kind::Names => "---".to_owned(),
    };
    let mut text = line(&mut cells.columns.iter().map(|column| escaped(&column.name)));
    text += &line(&mut cells.columns.iter().map(rule));
    for row in &cells.rows {
        text += &line(&mut row.iter().map(|cell| escaped(cell)));
    }
    text
}

/// Text that Markdown shows as it is, also inside a table; what stands between backticks stays code.
pub fn escaped(text: &str) -> String {
    let text = &*shown(text);
    // An odd backtick opens nothing; all of them are then shown as they are.
    let has_code = text.matches('`').count().is_multiple_of(2) && !text.contains('|');
    let mut escaped = String::with_capacity(text.len());
    let mut is_code = false;
    for character in text.chars() {
        match character {
            '`' if has_code => {
                is_code = !is_code;
                escaped.push('`');
            }
            '\n' | '\r' => escaped.push(' '),
            other if is_code => escaped.push(other),
            '\\' | '|' | '*' | '_' | '[' | ']' | '~' | '#' | '`' => escaped.extend(['\\', character]),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is_and_code_stays_code() {
        for (text, shown) in [
            ("a_b *c* <d>", "a\\_b \\*c\\* &lt;d&gt;"),
            ("`a_b`: see", "`a_b`: see"),
            ("one ` only_", "one \\` only\\_"),
            ("`a|b`", "\\`a\\|b\\`"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn figures_of_a_table_are_aligned_to_the_right() {
        let row = vec!["a|b".to_owned(), "2".to_owned()];
        let cells = Cells::new([Column::names("class"), Column::figures("n")], [row]);
        assert_eq!(table(&cells), "| class | n |\n| --- | ---: |\n| a\\|b | 2 |\n");
    }
}
