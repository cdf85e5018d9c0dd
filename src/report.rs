//! Values in, text out: one file a report and format. Nothing in here reads a file or knows a terminal.

pub mod redact;
pub mod suite;
pub mod summary;

pub mod cells;
pub mod cost;
pub mod csv;
pub mod ctrf;
pub mod html;
pub mod issue;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod paint;
pub mod search;
pub mod shown;
pub mod signs;
pub mod svg;
pub mod tables;
pub mod test_names;
pub mod text;
pub mod time;
pub mod trace;
pub mod wrap;
