//! `worker`: one iteration of a sweep that somebody placed here, run once and recorded by whoever comes first.
//!
//! Its exit code says whether there is an answer, never what the answer is: an engine that saw a failing test as a
//! failing task would run it again until it passes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{signatures, sweep};
use crate::backend::{self, Backend, BackendError, PodmanService, docker};
use crate::cli::worker::Args;
use crate::exit_code::ExitCode;
use crate::iteration::{self, Answer, Cancel, Context, Losses, Quiet};
use crate::judge::SignatureSet;
use crate::message::{self, hinted};
use crate::model::spec::{Placing, short_id};
use crate::model::{BackendKind, Spec, Verdict};
use crate::pytest;
use crate::store::{self, Keep, Sweep};

mod execution;

use execution::Execution;

/// The name of an image that is made from this machine's own Python, and has no id that an engine knows.
const HOST: &str = "host";

/// Longest time between TERM and KILL when a worker is cut short: batch systems give a job 30 seconds after its TERM,
/// and some of it belongs to removing the container.
const GRACE: Duration = Duration::from_secs(3);

/// Runs one iteration.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let ran = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work(args)));
    ran.unwrap_or_else(|error| {
        anstream::eprintln!("{}", message::render(&error));
        ExitCode::NoAnswer
    })
}

async fn work(args: &Args) -> anyhow::Result<ExitCode> {
    let mut signals = sweep::signals()?;
    let (cancel, cancelled) = watch::channel(Cancel::No);
    tokio::spawn(async move {
        // Whoever ends a worker has no time for iterations to end by themselves.
        if signals.recv().await.is_some() {
            let _ = cancel.send(Cancel::Now);
        }
        std::future::pending::<()>().await;
    });
    let (sweep, spec) = Sweep::existing(&args.sweep)?;
    let execution = Execution::here();
    let placing = spec.placing.clone().unwrap_or_default();
    let keep = if placing.keeps_failed_only {
        Keep::Failed
    } else {
        Keep::All
    };
    let sweep = sweep.work_as(&execution.node, &execution.stamp).keep_logs(keep);
    if sweep.is_recorded(args.iteration) {
        return Ok(ExitCode::Passed);
    }
    let worker = Worker {
        iteration: args.iteration,
        node: execution.node,
        sweep,
        signatures: Arc::new(signatures::load(placing.signatures.as_deref())?),
        spec: Spec {
            deadlines: spec.deadlines.with_grace_below(GRACE),
            ..spec
        },
    };
    let podman = match engine(&worker.spec, &placing).await {
        Ok(podman) => podman,
        Err(error) => return worker.lost(error),
    };
    let code = worker.run(podman.as_ref(), cancelled).await;
    if let Some(podman) = podman {
        podman.stop().await;
    }
    code
}

/// The engine where one had to be started: none was named, and none answers.
async fn engine(spec: &Spec, placing: &Placing) -> anyhow::Result<Option<PodmanService>> {
    let is_named = placing.docker_host.is_some() || std::env::var_os("DOCKER_HOST").is_some();
    if spec.backend != BackendKind::Docker || is_named {
        return Ok(None);
    }
    match docker::facts(None).await {
        Err(error @ (BackendError::Unreachable { .. } | BackendError::Forbidden { .. })) => {
            match PodmanService::start().await? {
                Some(podman) => Ok(Some(podman)),
                None => Err(error.into()),
            }
        }
        // Whatever else is wrong with it is told where it is used.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// One iteration, and everything that is known of it before there is an engine.
struct Worker {
    iteration: u32,
    node: String,
    sweep: Sweep,
    spec: Spec,
    signatures: Arc<SignatureSet>,
}

impl Worker {
    async fn run(
        self,
        podman: Option<&PodmanService>,
        mut cancelled: watch::Receiver<Cancel>,
    ) -> anyhow::Result<ExitCode> {
        let mut spec = self.spec.clone();
        if let Some(podman) = podman {
            spec.placing.get_or_insert_default().docker_host = Some(podman.address().to_owned());
        }
        if let (Some(id), true) = (
            &spec.image_id,
            spec.backend == BackendKind::Docker && spec.image != HOST,
        ) {
            spec.image.clone_from(id);
        }
        let opened = tokio::select! {
            opened = self.open(&spec) => opened,
            () = now(&mut cancelled) => return Ok(ExitCode::CutShort),
        };
        let backend = match opened {
            Ok(backend) => backend,
            Err(error) => return self.lost(self.named(error)),
        };
        let answered = self.answer(Arc::clone(&backend), &mut cancelled).await;
        backend.close().await;
        answered
    }

    /// Removes what an earlier execution left here, and makes the backend ready.
    async fn open(&self, spec: &Spec) -> Result<Arc<dyn Backend>, BackendError> {
        if spec.backend == BackendKind::Docker {
            let docker_host = spec.placing.as_ref().and_then(|placing| placing.docker_host.as_deref());
            docker::reap_iteration(docker_host, self.sweep.dir(), self.iteration).await?;
        }
        let plugin = sweep::plugin(spec);
        backend::open(spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await
    }

    async fn answer(
        mut self,
        backend: Arc<dyn Backend>,
        cancelled: &mut watch::Receiver<Cancel>,
    ) -> anyhow::Result<ExitCode> {
        let probed = tokio::select! {
            probed = backend.probe() => probed,
            () = now(cancelled) => return Ok(ExitCode::CutShort),
        };
        match probed {
            Ok(probe) => {
                self.spec.image_id = Some(probe.image_id);
                self.spec.versions = probe.versions;
            }
            Err(error) => return self.lost(error.into()),
        }
        if let Err(error) = self.sweep.pin(&self.spec) {
            return self.lost(error.into());
        }
        let quiet = Quiet::default();
        if self.spec.deadlines.silence_auto {
            let runs = store::scan(self.sweep.dir())?.runs.into_iter();
            let passed = runs.filter(|run| {
                let outcome = run.outcome.as_ref();
                outcome.is_some_and(|outcome| outcome.verdict == Verdict::Passed)
            });
            passed.filter_map(|run| run.exit).for_each(|exit| quiet.learn(&exit));
        }
        let (progress, _heard) = mpsc::unbounded_channel();
        let iteration = self.iteration;
        let context = Context {
            argv: pytest::argv::argv(self.spec.mode, self.spec.trail, &self.spec.pytest_args),
            node: self.node,
            sweep: self.sweep,
            spec: self.spec,
            backend,
            signatures: self.signatures,
            quiet,
            losses: Losses::Told,
        };
        match iteration::run(Arc::new(context), 0, iteration, None, progress, cancelled.clone()).await? {
            Answer::Recorded(_) | Answer::RecordedBefore => Ok(ExitCode::Passed),
            Answer::Cancelled => Ok(ExitCode::CutShort),
            Answer::Elsewhere | Answer::NotStarted => unreachable!("a worker runs what it was told to, and at once"),
            Answer::Lost(reason) => {
                anstream::eprintln!("error: {reason}");
                Ok(ExitCode::NoAnswer)
            }
        }
    }

    /// Leaves word of an execution that never got to its attempt, for whoever placed it.
    fn lost(&self, error: anyhow::Error) -> anyhow::Result<ExitCode> {
        self.sweep.lose_before(self.iteration, &format!("{error:#}"))?;
        Err(error)
    }

    /// Names the image as the user does, not by the id it was looked for by.
    fn named(&self, error: BackendError) -> anyhow::Error {
        match (&error, &self.spec.image_id) {
            (BackendError::ImageMissing { .. }, Some(id)) => hinted(
                format!(
                    "image `{}` ({}), which the sweep runs, is not on this node",
                    self.spec.image,
                    short_id(id)
                ),
                "load that very image there, or name an archive of it with --image-tar",
            ),
            (_, _) => error.into(),
        }
    }
}

/// Waits until the worker is told to end.
async fn now(cancelled: &mut watch::Receiver<Cancel>) {
    if cancelled.wait_for(|level| *level == Cancel::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}
