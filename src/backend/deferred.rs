//! A backend that is opened when its first attempt starts: of the many sets of conditions that a search may try, few are.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{Attempt, Backend, BackendError, Plugin, Probe, Session, open};
use crate::spec::{Perturbation, Spec};

/// The backend of a specification, opened at its first use.
pub struct Deferred {
    spec: Spec,
    opened: OnceCell<Arc<dyn Backend>>,
}

impl Deferred {
    /// Opens nothing yet.
    pub fn new(spec: Spec) -> Deferred {
        Deferred {
            spec,
            opened: OnceCell::new(),
        }
    }

    async fn get(&self) -> Result<&Arc<dyn Backend>, BackendError> {
        let opened = self.opened.get_or_try_init(|| async {
            let plugin = Plugin::of(&self.spec);
            let backend = open(&self.spec, plugin.as_ref(), &|_| {}).await?;
            match backend.probe().await {
                Ok(_) => Ok(backend),
                Err(error) => {
                    backend.close().await;
                    Err(error)
                }
            }
        });
        opened.await
    }
}

impl Backend for Deferred {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async move { self.get().await?.probe().await }.boxed()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move { self.get().await?.start(attempt).await }.boxed()
    }

    fn without_effect(&self) -> Vec<(Perturbation, String)> {
        self.opened
            .get()
            .map_or_else(Vec::new, |backend| backend.without_effect())
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        match self.opened.get() {
            Some(backend) => backend.ping(),
            None => std::future::ready(Ok(())).boxed(),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        match self.opened.get() {
            Some(backend) => backend.close(),
            None => std::future::ready(()).boxed(),
        }
    }
}
