//! One recorded iteration with everything that is concluded about it.

use std::path::PathBuf;

use super::{Exit, Outcome};

/// A recorded iteration: where it is, how it ended, what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub iteration: u32,
    /// Its directory, as the user would type it.
    pub dir: PathBuf,
    /// The facts; `None` in trees that kept none.
    pub exit: Option<Exit>,
    /// The judgement.
    pub outcome: Outcome,
    /// What of it could not be read, in words.
    pub problem: Option<String>,
}
