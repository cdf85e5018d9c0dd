//! What a search does next, and what it comes to.

use crate::stats::Count;
use crate::stats::sign::Decision;

/// A run that is to be started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) candidate: usize,
    pub(super) attempt: u32,
    pub(super) confirms: Option<(usize, u32)>,
}

/// What comes next. Candidates are numbered as they were given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ahead {
    /// These runs; then it is asked again.
    Run(Vec<Wanted>),
    Over(End),
}

impl Ahead {
    /// Whether it is to confirm a candidate.
    pub(super) fn confirms(&self) -> bool {
        match self {
            Ahead::Run(wanted) => wanted.iter().any(|wanted| wanted.confirms.is_some()),
            Ahead::Over(_) => false,
        }
    }
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Culprit {
        candidate: usize,
        p: f64,
        /// `None` where nothing was to be confirmed.
        confirmation: Option<Decision>,
    },
    NoCulprit {
        p: f64,
    },
    TooRare {
        bad_end: Count,
    },
    Between {
        /// Candidates of which the change came with one.
        candidates: Vec<usize>,
        /// Whether there may have been no change.
        or_none: bool,
        p: f64,
    },
    NotConfirmed {
        candidate: usize,
        p: f64,
    },
    /// Fewer than two candidates can be run.
    TooFew,
}
