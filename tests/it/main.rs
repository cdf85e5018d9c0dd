//! One test binary: each module tests one part of the tool from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod autopsy;
mod bundle;
mod ci;
mod cli;
mod compare;
mod console_fuzz;
mod cores;
mod docker;
mod engine;
mod engines;
mod follow;
mod hang;
mod judging;
mod load;
mod local;
mod logs;
mod merge;
mod messages;
mod place;
mod replay;
mod report;
mod report_sweeps;
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
