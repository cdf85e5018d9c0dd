//! Values in, text out: one file a report and format. Nothing in here reads a file or knows a terminal.

pub mod annotations;
pub mod bundle;
pub mod compare;
pub mod csv;
pub mod figures;
pub mod history;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod paint;
pub mod plan;
pub mod replay;
pub mod run;
pub mod status;
pub mod svg;
pub mod tables;
pub mod text;
pub mod visible;
pub mod words;
