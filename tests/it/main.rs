//! One test binary: each module tests one part of the tool from outside.

mod cli;
mod engine;
mod messages;
mod place;
mod simulation;
mod stats;
mod store;
mod sweep;
mod tidy;
