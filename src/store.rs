//! Sweeps on disk: the only place that knows file names.
//!
//! The truth is the `runNNN` directories. One appears by a single rename, complete or not at all, and the first
//! publisher of an iteration wins with or without locks; claims only keep two processes from doing the same work.
//! Everything else in a sweep's directory is rebuilt from them. What tests wrote beside our files is neither followed
//! nor believed.

mod attempt;
mod bounded;
mod bundle;
mod claim;
mod durable;
mod error;
mod files;
mod find;
mod layout;
mod merge;
mod publish;
mod replays;
mod rows;
mod scan;
mod sweep;
mod tickets;
mod watch;
mod worker;

pub use attempt::AttemptDir;
pub use bundle::{Bundle, Placed, Unpacked, place, unpack};
pub use claim::{Claim, Claimed};
pub use error::StoreError;
pub use files::{RunDir, run_files};
pub use find::{find_runs, find_sweeps};
pub use layout::{TRAIL, iteration_of, natural_order, run_name};
pub use merge::{Provenance, identities};
pub use publish::{Published, write_outcome};
pub use replays::{REPLAY_LIST, recorded_run, replays_dir, shell_dir, spec, write_list};
pub use rows::{Rebuilt, rebuild};
pub use scan::{Scan, ScannedRun, read_run, recorded, scan};
pub use sweep::{Keep, Sweep};
pub use tickets::Submitting;
pub use watch::{InFlight, RunStamp, in_flight, log_of, stamps, sweeps_of_this_machine};
