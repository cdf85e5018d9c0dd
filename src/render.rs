//! Values in, text out: one file a report and format. Nothing in here reads a file or knows a terminal.

pub mod annotations;
pub mod compare;
pub mod figures;
pub mod history;
pub mod junit;
pub mod plan;
