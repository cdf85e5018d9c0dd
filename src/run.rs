//! Sweeps on disk: the only place that knows file names.
//!
//! The truth is the `runNNN` directories. One appears by a single rename, complete or not at all, and the first
//! publisher of an iteration wins with or without locks; claims only keep two processes from doing the same work.
//! Everything else in a sweep's directory is rebuilt from them. What tests wrote beside our files is neither followed
//! nor believed.

pub mod manifest;
pub mod merge_plan;

mod attempt;
mod beneath;
mod bounded;
mod bundle;
mod cached;
mod claim;
mod dir;
mod durable;
mod entry;
mod error;
mod files;
mod find;
mod founded;
mod handover;
mod index;
mod layout;
mod merge;
mod publish;
mod replaced;
mod replays;
mod rows;
mod scan;
mod scratch;
mod search;
mod sweep;
mod tickets;
mod track;
pub mod tree;
mod watch;
mod worker;

pub use attempt::{AttemptDir, AttemptDirs};
pub use bundle::{Bundle, ImportedSweep, Unpacked, is_imported, place, unpack};
pub use cached::{Cached, PROBES, Stamp, cached_in, forget_cached};
pub use claim::{Claim, Claimed};
pub use dir::{LARGEST, RunDir, tail};
pub use entry::{Entry, Identity, Kind};
pub use error::StoreError;
pub use files::{Files, run_files};
pub use find::{find_runs, find_sweeps};
pub use founded::Founded;
pub use handover::Handover;
pub use index::{Brief, look, scan_known};
pub use layout::{AUTOPSY, STACKS, TRAIL, iteration_of, run_name};
pub use merge::{Provenance, answers};
pub use publish::{Published, write_outcome};
pub use replaced::{place_in_sweep, replaced};
pub use replays::{REPLAY_LIST, recorded_run, replays_dir, shell_dir, spec, write_list};
pub use rows::{Rebuilt, rebuild};
pub use scan::{Reached, Scan, ScannedRun, read_run, recorded, scan};
pub use scratch::{Scratch, left_in, remove_left_in};
pub use search::{SearchDir, SearchLock, read_list};
pub use sweep::{Keep, Sweep};
pub use tickets::Submitting;
pub use track::{read_track, write_track};
pub use watch::{InFlight, in_flight, log_of, sweeps_of_this_machine};
pub use worker::answer;
