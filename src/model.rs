//! The values everything else passes around: what is run, how it ended, what we conclude.
//!
//! Nothing in here touches a file, a clock, a terminal or the network, and so nothing in here can fail
//! for a reason outside its arguments.

pub mod arms;
pub mod bundle;
pub mod comparison;
pub mod conditions;
pub mod drift;
pub mod durations;
pub mod event;
pub mod excerpt;
pub mod exit;
pub mod gate;
pub mod history;
mod limits;
pub mod merge;
pub mod mode;
pub mod nodes;
pub mod outcome;
pub mod plan;
pub mod record;
pub mod redact;
pub mod replay;
pub mod shrink;
pub mod side;
pub mod spec;
pub mod status;
pub mod stop;
pub mod suite;
pub mod summary;
pub mod tally;
pub mod test_rate;
pub mod ticket;

pub use event::{Event, EventKind};
pub use exit::{EndedBy, Exit, Kept, Usage};
pub use limits::Limits;
pub use mode::Mode;
pub use outcome::{Counts, Crash, CrashKind, Evidence, Outcome, OutcomeKind, Verdict};
pub use record::Record;
pub use spec::{BackendKind, Deadlines, EnvVar, Spec, Workspace};
pub use tally::Tally;
