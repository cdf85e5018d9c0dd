//! One binary for everything that is checked from outside.

mod docker;
mod engine;
mod local;
mod sessions;
