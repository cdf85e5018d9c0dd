//! The integration tests, one binary.

mod simulation;
mod stats;
