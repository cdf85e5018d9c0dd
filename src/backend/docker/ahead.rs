//! Containers that are held at a gate before their session runs. All are held until the tool has checked which directory
//! they see; those that are started ahead are held until their turn, so that only milliseconds pass between sessions.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::engine::Engine;
use super::gate;
use super::session::Running;
use crate::backend::{BackendError, Prepared, Session};
use crate::spec::Spec;

/// After so many failures in a row no container is held any more.
const LIMIT: u32 = 3;

/// Whether containers are held and started ahead, and by which program.
pub(super) struct Ahead {
    /// The program that holds them, or why there is none.
    program: Result<PathBuf, String>,
    is_wanted: bool,
    failures: AtomicU32,
    /// Why the first container could not be held.
    refused: std::sync::OnceLock<String>,
}

impl Ahead {
    pub(super) fn new(spec: &Spec, engine: &Arc<Engine>) -> Ahead {
        let program = if engine.is_here() {
            gate::program()
        } else {
            Err("the engine is on another machine".to_owned())
        };
        Ahead {
            program,
            is_wanted: !spec.container.no_prestart && spec.deadlines.keep_s.is_none(),
            failures: AtomicU32::new(0),
            refused: std::sync::OnceLock::new(),
        }
    }

    /// Whether containers are started ahead.
    pub(super) fn is_on(&self) -> bool {
        self.is_wanted && self.program().is_some()
    }

    /// The program that holds a container; `None` where none are held.
    pub(super) fn program(&self) -> Option<PathBuf> {
        let is_off = self.failures.load(Ordering::Relaxed) >= LIMIT || self.refused.get().is_some();
        self.program.as_ref().ok().filter(|_| !is_off).cloned()
    }

    /// Why no container is held; `None` where they are.
    pub(super) fn refusal(&self) -> Option<String> {
        match &self.program {
            Err(cause) => Some(cause.clone()),
            Ok(_) => self.refused.get().cloned(),
        }
    }

    /// Counts failures in a row.
    pub(super) fn learn<T>(&self, made: &Result<T, BackendError>) {
        match made {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(_) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The probe's container could not be held, though it could be started.
    pub(super) fn refuse(&self, cause: &BackendError) {
        let _ = self.refused.set(cause.to_string());
    }

    pub(super) fn note(&self) -> Option<String> {
        let cause = self.refusal()?;
        self.is_wanted
            .then(|| format!("containers are not started ahead of their turn here: {cause}"))
    }
}

/// A container at its gate.
pub(super) struct Waiting(pub(super) Running);

impl Prepared for Waiting {
    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Session>, BackendError>> {
        async move {
            let mut running = self.0;
            running.open_gate(SystemTime::now()).await?;
            Ok(Box::new(running) as Box<dyn Session>)
        }
        .boxed()
    }
}
