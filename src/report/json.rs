//! Summaries as JSON, one object a line: the first line of one sweep is the whole document.

use crate::report::summary::Summary;

/// The bytes, a line for each sweep.
pub fn lines(summaries: &[Summary]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for summary in summaries {
        bytes.extend(serde_json::to_vec(summary).expect("a summary has string keys"));
        bytes.push(b'\n');
    }
    bytes
}
