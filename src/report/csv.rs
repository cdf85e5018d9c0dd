//! One table of a summary as CSV, with a header; lists inside a field are separated as in the other forms.

use std::borrow::Cow;

use super::cells::Cells;
use super::shown::shown;

/// The bytes of a table.
pub fn table(cells: &Cells) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header: Vec<String> = cells
        .columns
        .iter()
        .map(|column| column.name.replace(' ', "_"))
        .collect();
    for row in std::iter::once(&header).chain(&cells.rows) {
        let row = row.iter().map(|text| cell(text).into_owned());
        writer.write_record(row).expect("rows of one length, written to memory");
    }
    writer.into_inner().expect("memory takes what is flushed to it")
}

/// A text as a cell of one line. One that a spreadsheet would take for a formula begins with an apostrophe, which
/// spreadsheets take for the sign of a text; numbers stay as they are.
///
/// Source: OWASP, "CSV Injection".
pub fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = |text: &str| {
        text.trim_start()
            .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
            && text.parse::<f64>().is_err()
    };
    match shown(text) {
        text if is_formula(&text) => Cow::Owned(format!("'{text}")),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_and_no_formula() {
        for (text, cell_of_it) in [
            ("=1+1test.py", "'=1+1test.py"),
            ("\t=HYPERLINK(\"http://x\")", "'    =HYPERLINK(\"http://x\")"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-11", "-11"),
            ("-x", "'-x"),
            ("a=1", "a=1"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(cell(text), cell_of_it);
        }
    }
}
