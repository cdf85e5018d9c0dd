//! One test binary: each module tests one part of the tool from outside.

mod cli;
mod engine;
mod messages;
mod sweep;
mod tidy;
