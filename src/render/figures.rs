//! How figures are written, the same in every report.

use comfy_table::{CellAlignment, Table, presets};

use crate::model::comparison::Rate;
pub use crate::stats::p_value;
use crate::stats::{self, Count};

/// A rate as a percentage with two or three digits; never rounded to 0 % or 100 % unless it is that.
#[must_use]
pub fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    // Close to 100 % it is the distance from it that has to be told.
    let distance = percent.min(100.0 - percent);
    let decimals = [9.95, 0.995, 0.0995, 0.009_95, 0.000_995]
        .iter()
        .take_while(|least| distance < **least)
        .count();
    if decimals == 5 && distance > 0.0 && percent < 1.0 {
        return format!("{percent:.0e} %");
    }
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} %")
}

/// A rate with its interval: `2.7 % (0.73 % to 9.2 %)`; for no failures what it is below, since zero is no estimate.
#[must_use]
pub fn rate(rate: &Rate, confidence: f64) -> String {
    let Some(value) = rate.count.rate() else {
        return "unknown".to_owned();
    };
    if rate.count.failed() == 0 {
        return if rate.is_watched {
            format!("below {}", percent(rate.high))
        } else {
            below(rate.count, confidence)
        };
    }
    format!("{} ({} to {})", percent(value), percent(rate.low), percent(rate.high))
}

/// What the rate of a count without a failure is below, exact and one-sided.
#[must_use]
pub fn below(count: Count, confidence: f64) -> String {
    format!(
        "below {}",
        percent(stats::upper_bound(count.failed(), count.of(), confidence))
    )
}

/// A number of things in words.
#[must_use]
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A table in plain text: a header, a rule, and rows; columns of figures to the right. No line has trailing blanks.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>], figures: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if figures.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A table in Markdown, as GitHub and GitLab show it.
#[must_use]
pub fn markdown_table(header: &[&str], rows: &[Vec<String>], figures: &[usize]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header.iter().map(|cell| markdown(cell)).collect());
    let rule = |index: usize| (if figures.contains(&index) { "---:" } else { "---" }).to_owned();
    text += &line((0..header.len()).map(rule).collect());
    for row in rows {
        text += &line(row.iter().map(|cell| markdown(cell)).collect());
    }
    text
}

/// Text that Markdown shows as it is, also inside a table; what stands between backticks stays code.
#[must_use]
pub fn markdown(text: &str) -> String {
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
    fn percentages_are_zero_or_all_only_where_they_are() {
        let shown = [0.0, 0.000_004, 0.0073, 0.0267, 0.26, 0.92, 0.986, 0.9996, 1.0].map(percent);
        assert_eq!(
            shown,
            [
                "0 %", "4e-4 %", "0.73 %", "2.7 %", "26 %", "92 %", "98.6 %", "99.96 %", "100 %"
            ]
        );
    }

    #[test]
    fn markdown_shows_text_as_it_is_and_keeps_code() {
        for (text, shown) in [
            ("a_b *c* <d>", "a\\_b \\*c\\* &lt;d&gt;"),
            ("`a_b`: see", "`a_b`: see"),
            ("one ` only_", "one \\` only\\_"),
            ("`a|b`", "\\`a\\|b\\`"),
        ] {
            assert_eq!(markdown(text), shown);
        }
    }

    #[test]
    fn a_table_has_aligned_columns_and_no_trailing_blanks() {
        let rows = [
            vec!["A1".to_owned(), "2".to_owned()],
            vec!["UNKNOWN".to_owned(), "10".to_owned()],
        ];
        assert_eq!(
            table(&["class", "n"], &rows, &[1]),
            "class     n\nA1        2\nUNKNOWN  10\n"
        );
        assert_eq!(
            markdown_table(&["class", "n"], &[vec!["a|b".to_owned(), "2".to_owned()]], &[1]),
            "| class | n |\n| --- | ---: |\n| a\\|b | 2 |\n"
        );
    }
}
