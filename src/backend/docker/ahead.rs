//! Containers that are started ahead of their turn, so that between two sessions only milliseconds pass.

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
use crate::model::Spec;

/// So many failures in a row, and no more are started ahead.
const LIMIT: u32 = 3;

/// Whether containers are started ahead, and with what.
pub(super) struct Ahead {
    program: Result<PathBuf, Off>,
    failures: AtomicU32,
    /// What the first try came to, where that was nothing.
    refused: std::sync::OnceLock<String>,
}

/// Why none are.
enum Off {
    /// Nobody wants it.
    Asked,
    /// It cannot be.
    Cannot(String),
}

impl Ahead {
    pub(super) fn new(spec: &Spec, engine: &Arc<Engine>) -> Ahead {
        // What a held session prints goes to this process, which one that is left running may outlive.
        let program = if spec.container.no_prestart || spec.deadlines.keep_s.is_some() {
            Err(Off::Asked)
        } else if engine.is_here() {
            gate::program().map_err(Off::Cannot)
        } else {
            Err(Off::Cannot("the engine is on another machine".to_owned()))
        };
        Ahead {
            program,
            failures: AtomicU32::new(0),
            refused: std::sync::OnceLock::new(),
        }
    }

    /// The program that holds a container; `None` where none are started ahead.
    pub(super) fn program(&self) -> Option<PathBuf> {
        let is_off = self.failures.load(Ordering::Relaxed) >= LIMIT || self.refused.get().is_some();
        self.program.as_ref().ok().filter(|_| !is_off).cloned()
    }

    /// Takes in how one came out.
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

    /// What the user should know.
    pub(super) fn note(&self) -> Option<String> {
        let cause = match &self.program {
            Err(Off::Asked) => return None,
            Err(Off::Cannot(cause)) => cause,
            Ok(_) => self.refused.get()?,
        };
        Some(format!("containers are not started ahead of their turn here: {cause}"))
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
