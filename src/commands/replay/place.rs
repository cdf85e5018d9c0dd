//! Where replays run and are kept: the configuration of the run, made ready once, and a sweep for each list.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use sha2::{Digest as _, Sha256};

use super::listed::Listed;
use super::source::{Failure, Source};
use crate::backend::{self, Backend, BackendError};
use crate::iteration::{Context, Losses, Quiet};
use crate::judge::SignatureSet;
use crate::message::hinted;
use crate::model::spec::short_id;
use crate::model::{BackendKind, Mode, Spec};
use crate::pytest::argv;
use crate::store::{self, Keep, StoreError, Sweep};
use crate::{cli, commands};

/// The name of an image that is made from this machine's own Python, and has no id that an engine knows.
const HOST: &str = "host";

/// A place for replays of one failure.
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) failure: Failure,
    pub(super) signatures: Arc<SignatureSet>,
    spec: Spec,
    backend: Arc<dyn Backend>,
}

impl Place {
    /// Makes it ready: the very image of the run, or this machine's Python.
    pub(super) async fn open(source: Source, failure: Failure, signatures: Arc<SignatureSet>) -> anyhow::Result<Place> {
        let mut spec = configuration(&source, Some(&failure));
        let plugin = commands::sweep::plugin(&spec);
        let opened = backend::open(&spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await;
        let backend = opened.map_err(|error| gone(&source, error))?;
        let probe = match backend.probe().await {
            Ok(probe) => probe,
            Err(error) => {
                backend.close().await;
                return Err(gone(&source, error));
            }
        };
        for note in &probe.notes {
            anstream::eprintln!("note: {note}");
        }
        if source.spec.image_id.as_ref().is_some_and(|id| *id != probe.image_id) {
            anstream::eprintln!(
                "warning: this machine's Python or its packages are not those that `{}` ran with",
                source.shown.display()
            );
        }
        if let Err(error) = backend.make_noise(&source.sweep).await {
            backend.close().await;
            return Err(error.into());
        }
        spec.image_id = Some(probe.image_id);
        spec.versions = probe.versions;
        Ok(Place {
            source,
            failure,
            signatures,
            spec,
            backend,
        })
    }

    /// Waits until nothing is left of what ran.
    pub(super) async fn close(&self) {
        self.backend.close().await;
    }

    /// Where the replays are, as the user would type it.
    pub(super) fn home(&self) -> PathBuf {
        let sweep = self.source.shown.parent().unwrap_or(&self.source.shown);
        store::replays_dir(sweep, self.source.iteration)
    }

    /// Tests before the one that failed.
    pub(super) fn predecessors(&self) -> usize {
        self.failure.tests.len() - 1
    }

    /// The tests of a list: these of the predecessors, by their places, and the one that failed.
    pub(super) fn tests(&self, list: &[usize]) -> Vec<String> {
        let places = list.iter().copied().chain([self.predecessors()]);
        places.map(|place| self.failure.tests[place].clone()).collect()
    }

    /// Everything that runs of a list need; what was run of it before is there.
    pub(super) fn context(&self, tests: Vec<String>, last: u32, keep: Keep) -> anyhow::Result<Arc<Context>> {
        let name = name(&tests);
        let spec = Spec {
            tag: Some(format!("{}-{name}", tests.len())),
            last,
            ..self.spec.clone()
        };
        let home = store::replays_dir(&self.source.sweep, self.source.iteration);
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
            iteration: self.source.iteration,
            sweep: self.source.sweep.clone(),
            name,
        };
        Ok(Arc::new(Context {
            argv: argv::argv(spec.mode, spec.trail, &spec.pytest_args),
            node: backend::host_name(),
            sweep: sweep.keep_logs(keep),
            spec,
            backend: Arc::new(backend),
            signatures: Arc::clone(&self.signatures),
            quiet: Quiet::default(),
            losses: Losses::default(),
        }))
    }
}

/// What a replay runs with: all as in the run's sweep, but in one process, and the very image that it had.
pub(super) fn configuration(source: &Source, failure: Option<&Failure>) -> Spec {
    let recorded = &source.spec;
    let is_named = recorded.backend == BackendKind::Docker && recorded.image != HOST;
    Spec {
        tool: cli::version(),
        created_at: Utc::now(),
        mode: Mode::Serial,
        tag: None,
        first: 1,
        image: match &recorded.image_id {
            Some(id) if is_named => id.clone(),
            Some(_) | None => recorded.image.clone(),
        },
        pytest_args: argv::in_one_process(&recorded.pytest_args, source.is_distributed(failure)),
        trail: true,
        arm: None,
        placing: None,
        ended: None,
        ..recorded.clone()
    }
}

/// Names the image as the user knows it, where the one that ran is not there any more.
pub(super) fn gone(source: &Source, error: BackendError) -> anyhow::Error {
    let (BackendError::ImageMissing { .. }, Some(id)) = (&error, &source.spec.image_id) else {
        return error.into();
    };
    hinted(
        format!(
            "image `{}` ({}), which `{}` ran in, is not on this host",
            source.spec.image,
            short_id(id),
            source.shown.display()
        ),
        "pull or load that very image; another one under its name may not fail",
    )
}

/// A short name for a list of tests: the same for the same tests in the same order.
fn name(tests: &[String]) -> String {
    let mut digest = Sha256::new();
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
