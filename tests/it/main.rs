//! One test binary: each module tests one part of the tool from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ahead;
mod autopsy;
mod browser;
mod bundle;
mod ci;
mod cli;
mod compare;
mod console_fuzz;
mod cores;
mod debian;
mod disk;
mod docker;
mod engine;
mod engines;
mod faults;
mod follow;
mod hang;
mod judging;
mod load;
mod local;
mod logs;
mod merge;
mod messages;
mod output;
mod place;
mod readers_fuzz;
mod replay;
mod report;
mod report_sweeps;
mod router;
mod secrets;
mod sessions;
mod signatures;
mod simulation;
mod slurm;
mod stats;
mod status;
mod store;
mod summary;
mod sweep;
mod tidy;
mod worker;
