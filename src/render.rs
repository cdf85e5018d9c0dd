//! Values in, text out: one file a report and format. Nothing in here reads a file or knows a terminal.

pub mod compare;
pub mod figures;
pub mod plan;
