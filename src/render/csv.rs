//! One table of a summary as CSV, with a header; lists inside a field are separated as in the other forms.

use super::tables::Cells;

/// The bytes of a table.
#[must_use]
pub fn table(cells: &Cells) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header: Vec<String> = cells.header.iter().map(|name| name.replace(' ', "_")).collect();
    for row in std::iter::once(&header).chain(&cells.rows) {
        writer.write_record(row).expect("rows of one length, written to memory");
    }
    writer.into_inner().expect("memory takes what is flushed to it")
}
