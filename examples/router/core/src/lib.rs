//! A router that sends each request to the worker whose KV cache holds most of it.
//!
//! Mock workers ([`worker`]) report the blocks they cache as events ([`event`]) through a broker or files ([`plane`]);
//! an indexer ([`indexer`]) applies them to a prefix tree ([`tree`]); the router ([`router`]) weighs what the tree says
//! against load and breaks ties ([`selector`]), optionally with a memory of its own decisions ([`prefix_cache`]).
//! [`runtime`] holds what a process shares, and with it most of this example's faults.

pub mod block;
pub mod discovery;
pub mod event;
pub mod hub;
pub mod indexer;
pub mod lease;
pub mod plane;
pub mod prefix_cache;
pub mod publisher;
pub mod request;
pub mod router;
pub mod runtime;
pub mod selector;
pub mod tree;
pub mod worker;

/// Why something could not be done, as one line for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Shorthand of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was being done when something failed.
pub(crate) fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> Error + '_ {
    move |cause| Error(format!("failed to {what}: {cause}"))
}
