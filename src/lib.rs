//! Runs a pytest session N times, each in a fresh container, and says what failed, how often, and whether it is fixed.

pub mod backend;
pub mod cli;
pub mod commands;
pub mod engine;
pub mod exit_code;
pub mod failpoint;
pub mod iteration;
pub mod judge;
pub mod message;
pub mod model;
pub mod pytest;
pub mod render;
pub mod reporter;
pub mod runner;
pub mod stats;
pub mod store;
