//! Where lists of tests run and are recorded: one backend with the configuration of the run, and a sweep for each list,
//! whose sessions read the list from their run directory.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::original::{Failure, Original};
use crate::backend::{self, Attempt, Backend, BackendError, Plugin, Prepared, Probe, Session};
use crate::judge::SignatureSet;
use crate::judge::pytest::trail::TESTS_ENV;
use crate::message::hinted;
use crate::run::{self, Keep, StoreError, Sweep};
use crate::spec::{BackendKind, Container, HOST_IMAGE, Mode, Perturbation, Spec, short_id};
use crate::sweep::argv;
use crate::sweep::iteration::Context;

/// The replays of one failure, with the backend that runs them.
pub(super) struct Replays {
    pub(super) original: Original,
    pub(super) failure: Failure,
    pub(super) signatures: Arc<SignatureSet>,
    spec: Spec,
    backend: Arc<dyn Backend>,
}

impl Replays {
    /// Opens the backend with the image of the run, told by its id, or with this machine's Python.
    pub(super) async fn open(
        original: Original,
        failure: Failure,
        signatures: Arc<SignatureSet>,
    ) -> anyhow::Result<Replays> {
        let mut spec = configuration(&original, Some(&failure));
        let plugin = Plugin::of(&spec);
        let opened = backend::open(&spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await;
        let backend = opened.map_err(|error| gone(&original, error))?;
        let probe = match backend.probe().await {
            Ok(probe) => probe,
            Err(error) => {
                backend.close().await;
                return Err(gone(&original, error));
            }
        };
        for note in &probe.notes {
            anstream::eprintln!("note: {note}");
        }
        if original.spec.image_id.as_ref().is_some_and(|id| *id != probe.image_id) {
            anstream::eprintln!(
                "warning: this machine's Python or its packages are not those that `{}` ran with",
                original.shown.display()
            );
        }
        if let Err(error) = backend.make_noise(&original.sweep).await {
            backend.close().await;
            return Err(error.into());
        }
        spec.image_id = Some(probe.image_id);
        spec.versions = probe.versions;
        Ok(Replays {
            original,
            failure,
            signatures,
            spec,
            backend,
        })
    }

    /// Closes the backend: waits until every container is removed.
    pub(super) async fn close(&self) {
        self.backend.close().await;
    }

    /// The directory of the replays, as the user would type it.
    pub(super) fn home(&self) -> PathBuf {
        let sweep = self.original.shown.parent().unwrap_or(&self.original.shown);
        run::replays_dir(sweep, self.original.iteration)
    }

    /// Tests before the one that failed.
    pub(super) fn predecessors(&self) -> usize {
        self.failure.tests.len() - 1
    }

    /// The tests of a list: the predecessors at these places, then the test that failed.
    pub(super) fn tests(&self, list: &[usize]) -> Vec<String> {
        let places = list.iter().copied().chain([self.predecessors()]);
        places.map(|place| self.failure.tests[place].clone()).collect()
    }

    /// What runs of a list need. The list's sweep is opened, with the runs that are recorded already.
    pub(super) fn context(&self, tests: Vec<String>, last: u32, keep: Keep) -> anyhow::Result<Arc<Context>> {
        let name = name(&tests, &self.spec);
        let spec = Spec {
            tag: Some(format!("{}-{name}", tests.len())),
            last,
            ..self.spec.clone()
        };
        let home = run::replays_dir(&self.original.sweep, self.original.iteration);
        let sweep = Sweep::open(&home, &spec).map_err(|error| {
            let StoreError::Differs { dir, .. } = &error else {
                return error.into();
            };
            hinted(
                format!(
                    "`{}` holds replays with another Python, image or pytest arguments",
                    dir.display()
                ),
                "remove that directory to begin anew",
            )
        })?;
        let backend = Listed {
            inner: Arc::clone(&self.backend),
            tests,
            iteration: self.original.iteration,
            sweep: self.original.sweep.clone(),
            name,
        };
        let signatures = Arc::clone(&self.signatures);
        Ok(Arc::new(Context::new(
            sweep.keep_logs(keep),
            spec,
            Arc::new(backend),
            signatures,
        )))
    }
}

/// The specification of a replay: that of the run's sweep, but in one process and with the image told by its id.
pub(super) fn configuration(original: &Original, failure: Option<&Failure>) -> Spec {
    let recorded = &original.spec;
    let is_named = recorded.backend == BackendKind::Docker && recorded.image != HOST_IMAGE;
    Spec {
        tool: crate::spec::tool(),
        created_at: Utc::now(),
        mode: Mode::Serial,
        tag: None,
        first: 1,
        image: match &recorded.image_id {
            Some(id) if is_named => id.clone(),
            Some(_) | None => recorded.image.clone(),
        },
        pytest_args: argv::in_one_process(&recorded.pytest_args, original.is_distributed(failure)),
        trail: true,
        container: Container {
            seed: Some(recorded.seed(original.iteration)),
            ..recorded.container.clone()
        },
        arm: None,
        proof: None,
        amplification: None,
        placing: None,
        ended: None,
        reasons: std::collections::BTreeSet::new(),
        ..recorded.clone()
    }
}

/// The error for an image that is no longer there, with the image named as the user named it.
pub(super) fn gone(original: &Original, error: BackendError) -> anyhow::Error {
    let (BackendError::ImageMissing { .. }, Some(id)) = (&error, &original.spec.image_id) else {
        return error.into();
    };
    hinted(
        format!(
            "image `{}` ({}), which `{}` ran in, is not on this host",
            original.spec.image,
            short_id(id),
            original.shown.display()
        ),
        "pull or load that very image; another one under its name may not fail",
    )
}

/// A short name for a list of tests: the same for the same tests in the same order, under the same conditions.
fn name(tests: &[String], spec: &Spec) -> String {
    let mut digest = Sha256::new();
    if let Some(of) = &spec.condition_of {
        digest.update(of.sweep.as_os_str().as_encoded_bytes());
        digest.update([1]);
    }
    for test in tests {
        digest.update(test.as_bytes());
        digest.update([0]);
    }
    let mut name = String::new();
    for byte in digest.finalize().iter().take(6) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Number of the iteration that a session repeats; its own number is in [`REPLAY`].
const ITERATION: &str = "REPRODUCE_FLAKY_ITERATION";
/// Number of the run of this list, from 1.
const REPLAY: &str = "REPRODUCE_FLAKY_REPLAY";

/// The backend of the replays with one list: it hands the list to every session.
pub(super) struct Listed {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) tests: Vec<String>,
    /// The iteration that is repeated.
    pub(super) iteration: u32,
    /// The sweep of that iteration, whose name the containers carry.
    pub(super) sweep: PathBuf,
    /// A name for the list, so that run 1 of two lists have different names.
    pub(super) name: String,
}

impl Listed {
    fn changed(&self, attempt: &Attempt) -> Result<Attempt, BackendError> {
        if let Some(dirs) = &attempt.dirs {
            run::write_list(&dirs.session, &self.tests).map_err(|error| BackendError::Refused {
                verb: "hand over the list of tests".to_owned(),
                cause: error.to_string(),
            })?;
        }
        let mut changed = attempt.clone();
        changed.sweep.clone_from(&self.sweep);
        changed.name = format!("replay{:03}-{}-{}", self.iteration, self.name, attempt.name);
        changed.env.retain(|(name, _)| name != ITERATION);
        changed.env.push((ITERATION.to_owned(), self.iteration.to_string()));
        changed.env.push((REPLAY.to_owned(), attempt.iteration.to_string()));
        changed
            .dir_env
            .push((TESTS_ENV.to_owned(), run::REPLAY_LIST.to_owned()));
        Ok(changed)
    }
}

/// The attempt of a shell: the session's command, run by hand in it, repeats the list.
pub(super) fn shell_attempt(
    original: &Original,
    spec: &Spec,
    argv: &[String],
    tests: &[String],
) -> anyhow::Result<Attempt> {
    let dir = run::shell_dir(&original.sweep, original.iteration)?;
    let name = run::run_name(original.iteration);
    let mut attempt =
        crate::sweep::iteration::attempt(spec, argv, &original.sweep, original.iteration, &name, dir.path());
    if !tests.is_empty() {
        run::write_list(&dir, tests)?;
        attempt
            .dir_env
            .push((TESTS_ENV.to_owned(), run::REPLAY_LIST.to_owned()));
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

    fn without_effect(&self) -> Vec<(Perturbation, String)> {
        self.inner.without_effect()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.ping()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
