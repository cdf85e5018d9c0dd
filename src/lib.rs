//! Runs a pytest session N times, each in a fresh container, and says what failed, how often, and whether it is fixed.

// What Cargo.toml asks for and nothing uses is found here; tests ask for more.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

pub mod backend;
pub mod cli;
pub mod commands;
pub mod engine;
pub mod exit_code;
pub mod failpoint;
pub mod judge;
pub mod message;
pub mod proc;
pub mod report;
pub mod run;
pub mod spec;
pub mod stats;
pub mod sweep;
pub mod timings;
