//! Running a sweep: the scheduler, one iteration as a straight line, stop rules, events and what shows them.

pub mod argv;
pub mod arms;
pub mod blocks;
pub mod display;
pub mod event;
pub mod iteration;
pub mod planned;
pub mod scheduler;
pub mod status;
pub mod stop;
pub mod tally;

pub use event::{Event, EventKind};
pub use tally::Tally;
