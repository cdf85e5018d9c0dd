//! One test binary: each module tests one part of the tool from outside.

mod cli;
mod engine;
mod messages;
mod report_sweeps;
mod simulation;
mod stats;
mod sweep;
mod tidy;
