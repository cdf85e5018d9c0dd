//! A table as cells under columns: the one model from which text, Markdown, CSV and pages write their tables.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

use super::shown::shown;

/// Blanks between two columns of a text.
const GAP: usize = 2;

/// What the cells of a column are, which decides where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, to the left.
    Text,
    /// Figures, to the right.
    Figures,
    /// Names of the rows, to the left; a page marks them as headings.
    Names,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// Style of its cells on a page.
    pub class: Option<&'static str>,
}

impl Column {
    pub fn text(name: impl Into<String>) -> Column {
        Column {
            name: name.into(),
            kind: Kind::Text,
            class: None,
        }
    }

    pub fn figures(name: impl Into<String>) -> Column {
        Column {
            kind: Kind::Figures,
            class: Some("n"),
            ..Column::text(name)
        }
    }

    pub fn names(name: impl Into<String>) -> Column {
        Column {
            kind: Kind::Names,
            ..Column::text(name)
        }
    }

    /// The same column with a style for its cells on a page.
    #[must_use]
    pub fn class(self, class: &'static str) -> Column {
        Column {
            class: Some(class),
            ..self
        }
    }
}

/// Rows of cells, each row with one cell for each column. A cell is text, or a part of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells<C = String> {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<C>>,
}

impl<C> Cells<C> {
    pub fn new(columns: impl Into<Vec<Column>>, rows: impl IntoIterator<Item = Vec<C>>) -> Cells<C> {
        Cells {
            columns: columns.into(),
            rows: rows.into_iter().collect(),
        }
    }
}

impl Cells {
    /// The table for a terminal: a line for the names of the columns, then one for each row. No line has blanks at its
    /// end.
    pub fn text(&self) -> String {
        let header = self.columns.iter().map(|column| Cow::Borrowed(column.name.as_str()));
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect());
        let lines: Vec<Vec<Cow<'_, str>>> = std::iter::once(header.collect()).chain(rows).collect();
        let width = |at: usize| lines.iter().map(|line| line[at].width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let mut written = String::new();
            for ((cell, column), width) in line.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width - cell.width());
                let (before, after) = match column.kind {
                    Kind::Figures => (&*blanks, ""),
                    Kind::Text | Kind::Names => ("", &*blanks),
                };
                for part in [before, cell, after, &" ".repeat(GAP)] {
                    written += part;
                }
            }
            text += written.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_aligned_columns_and_no_blanks_at_the_end_of_a_line() {
        let rows = [["A1", "2", ""], ["UNKNOWN", "10", "x"], ["表", "1", ""]];
        let columns = [Column::names("class"), Column::figures("n"), Column::text("note")];
        let cells = Cells::new(columns, rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(
            cells.text(),
            "class     n  note\nA1        2\nUNKNOWN  10  x\n表        1\n"
        );
    }
}
