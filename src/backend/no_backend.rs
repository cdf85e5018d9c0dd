//! No backend in this process: workers on other machines run the iterations that an engine places.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Attempt, Backend, BackendError, Probe, Session};

/// Stands where a backend belongs in a process that runs no session.
#[derive(Clone, Copy, Debug)]
pub struct NoBackend;

impl NoBackend {
    fn refuse<T>() -> Result<T, BackendError> {
        Err(BackendError::Refused {
            verb: "run a session here".to_owned(),
            cause: "the iterations of this sweep are placed on other machines".to_owned(),
        })
    }
}

impl Backend for NoBackend {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async { NoBackend::refuse() }.boxed()
    }

    fn start<'a>(&'a self, _attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async { NoBackend::refuse() }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async { NoBackend::refuse() }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
