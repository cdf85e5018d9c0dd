//! What several commands share of the command line: the settings file and the values of flags.

pub mod settings;
pub mod values;
