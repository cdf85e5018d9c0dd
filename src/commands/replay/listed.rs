//! A place where sessions run the tests of a list: each finds the list beside its results.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::source::Source;
use crate::backend::{Attempt, Backend, BackendError, Prepared, Probe, Session};
use crate::model::Spec;
use crate::pytest::trail::TESTS_ENV;
use crate::store;

/// Number of the iteration that a session repeats; its own number is in [`REPLAY`].
const ITERATION: &str = "REPRODUCE_FLAKY_ITERATION";
/// Number of the run of this list, from 1.
const REPLAY: &str = "REPRODUCE_FLAKY_REPLAY";

/// Another backend, for one list.
pub(super) struct Listed {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) tests: Vec<String>,
    /// The iteration that is repeated.
    pub(super) iteration: u32,
    /// The sweep it belongs to, which is whose containers these are.
    pub(super) sweep: PathBuf,
    /// A name for the list: run 1 of each is a session of its own.
    pub(super) name: String,
}

impl Listed {
    fn changed(&self, attempt: &Attempt) -> Result<Attempt, BackendError> {
        store::write_list(&attempt.dir, &self.tests).map_err(|error| BackendError::Refused {
            verb: "hand over the list of tests".to_owned(),
            cause: error.to_string(),
        })?;
        let mut changed = attempt.clone();
        changed.sweep.clone_from(&self.sweep);
        changed.name = format!("replay{:03}-{}-{}", self.iteration, self.name, attempt.name);
        changed.env = vec![(ITERATION.to_owned(), self.iteration.to_string())];
        changed.env.push((REPLAY.to_owned(), attempt.iteration.to_string()));
        changed
            .dir_env
            .push((TESTS_ENV.to_owned(), store::REPLAY_LIST.to_owned()));
        Ok(changed)
    }
}

/// An attempt that is a shell's: what is run in it repeats the list.
pub(super) fn by_hand(source: &Source, spec: &Spec, argv: &[String], tests: &[String]) -> anyhow::Result<Attempt> {
    let dir = store::shell_dir(&source.sweep, source.iteration)?;
    let name = store::run_name(source.iteration);
    let mut attempt = crate::iteration::attempt(spec, argv, &source.sweep, source.iteration, &name, &dir);
    if !tests.is_empty() {
        store::write_list(&dir, tests)?;
        attempt
            .dir_env
            .push((TESTS_ENV.to_owned(), store::REPLAY_LIST.to_owned()));
    }
    Ok(attempt)
}

impl Backend for Listed {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        self.inner.probe()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move { self.inner.start(&self.changed(attempt)?).await }.boxed()
    }

    fn is_ahead(&self) -> bool {
        self.inner.is_ahead()
    }

    fn prepare<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Option<Box<dyn Prepared>>> {
        async move { self.inner.prepare(&self.changed(attempt).ok()?).await }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.ping()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
