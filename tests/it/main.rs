//! One binary for everything that is checked from outside.

mod docker;
mod local;
mod sessions;
