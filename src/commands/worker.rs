//! `worker`: one iteration of a sweep that somebody placed here, run once and recorded by whoever comes first.
//!
//! Its exit code says whether there is an answer, never what the answer is: an engine that saw a failing test as a
//! failing task would run it again until it passes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{signatures, sweep};
use crate::backend::{self, Backend, BackendError, Plugin, PodmanService, docker};
use crate::exit_code::ExitCode;
use crate::judge::{SignatureSet, Verdict};
use crate::message::{self, hinted};
use crate::run::{self, Keep, Sweep};
use crate::spec::{BackendKind, HOST_IMAGE, Placing, Spec, short_id};
use crate::sweep::iteration::{self, Cancel, Context, IterationEnd, Quiet, Stop, WhenLost};

mod execution;

use execution::Execution;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky worker logs/n4_fix8 --iteration 7\n\n\
    Exit code 0 for an answer, whatever it is; 75 if the world broke under the attempt; 143 if it was cut short.\n\
    Next: reproduce-flaky summary")]
pub struct Args {
    /// Directory of the sweep, on a disk that every machine sees.
    #[arg(value_name = "SWEEP")]
    pub sweep: PathBuf,
    /// Number of the iteration.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub iteration: u32,
}

/// Longest time between TERM and KILL when a worker is cut short: batch systems give a job 30 seconds after its TERM,
/// and some of it belongs to removing the container.
const GRACE: Duration = Duration::from_secs(3);

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
    let (stop, stopped) = watch::channel(Stop::default());
    tokio::spawn(async move {
        // An engine that ends a worker kills it soon after: its iteration is ended at once.
        while signals.recv().await.is_some() {
            stop.send_replace(Stop {
                cancel: Cancel::Now,
                asked_at: Some(Instant::now()),
            });
        }
        std::future::pending::<()>().await;
    });
    let (sweep, spec) = Sweep::existing(&args.sweep)?;
    if spec.imported_at.is_some() {
        return Err(hinted(
            format!(
                "`{}` came in with a bundle: what it asks for is not run here",
                args.sweep.display()
            ),
            "reproduce-flaky replay repeats one of its runs, as far as you allow it to",
        ));
    }
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
    let code = worker.run(podman.as_ref(), stopped).await;
    if let Some(podman) = podman {
        podman.stop().await;
    }
    code
}

/// Starts Podman where no engine was named and none answers.
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
        // Any other error is reported by the backend when it is opened.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// One iteration, and what is known of it before the backend is open.
struct Worker {
    iteration: u32,
    node: String,
    sweep: Sweep,
    spec: Spec,
    signatures: Arc<SignatureSet>,
}

impl Worker {
    async fn run(self, podman: Option<&PodmanService>, mut stopped: watch::Receiver<Stop>) -> anyhow::Result<ExitCode> {
        let mut spec = self.spec.clone();
        if let Some(podman) = podman {
            spec.placing.get_or_insert_default().docker_host = Some(podman.address().to_owned());
        }
        if let (Some(id), true) = (
            &spec.image_id,
            spec.backend == BackendKind::Docker && spec.image != HOST_IMAGE,
        ) {
            spec.image.clone_from(id);
        }
        let opened = tokio::select! {
            opened = self.open(&spec) => opened,
            () = now(&mut stopped) => return Ok(ExitCode::CutShort),
        };
        let backend = match opened {
            Ok(backend) => backend,
            Err(error) => return self.lost(self.named(error)),
        };
        let answered = self.answer(Arc::clone(&backend), &mut stopped).await;
        backend.close().await;
        answered
    }

    /// Removes what an earlier execution left here, and makes the backend ready.
    async fn open(&self, spec: &Spec) -> Result<Arc<dyn Backend>, BackendError> {
        if spec.backend == BackendKind::Docker {
            let docker_host = spec.placing.as_ref().and_then(|placing| placing.docker_host.as_deref());
            docker::reap_iteration(docker_host, self.sweep.dir(), self.iteration).await?;
        }
        let plugin = Plugin::of(spec);
        backend::open(spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await
    }

    async fn answer(
        mut self,
        backend: Arc<dyn Backend>,
        stopped: &mut watch::Receiver<Stop>,
    ) -> anyhow::Result<ExitCode> {
        let probed = tokio::select! {
            probed = backend.probe() => probed,
            () = now(stopped) => return Ok(ExitCode::CutShort),
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
            let runs = run::scan(self.sweep.dir())?.runs.into_iter();
            let passed = runs.filter(|run| {
                let outcome = run.outcome.as_ref();
                outcome.is_some_and(|outcome| outcome.verdict == Verdict::Passed)
            });
            passed.filter_map(|run| run.exit).for_each(|exit| quiet.learn(&exit));
        }
        let iteration = self.iteration;
        let context = Context {
            node: self.node,
            quiet,
            when_lost: WhenLost::Report,
            ..Context::new(self.sweep, self.spec, backend, self.signatures)
        };
        match iteration::run(Arc::new(context), iteration, None, |_| {}, stopped.clone()).await? {
            IterationEnd::Recorded(_) | IterationEnd::RecordedBefore(_) => Ok(ExitCode::Passed),
            IterationEnd::Cancelled | IterationEnd::NotStarted => Ok(ExitCode::CutShort),
            IterationEnd::ByAnother => unreachable!("a worker runs what it was told to, whoever has claimed it"),
            IterationEnd::Lost(reason) => {
                anstream::eprintln!("error: {reason}");
                Ok(ExitCode::NoAnswer)
            }
        }
    }

    /// Records that the execution was lost before its attempt began, for the process that placed it.
    fn lost(&self, error: anyhow::Error) -> anyhow::Result<ExitCode> {
        self.sweep.lose_before(self.iteration, &format!("{error:#}"))?;
        Err(error)
    }

    /// The error with the image named as the user named it: it was looked for by its id.
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
async fn now(stopped: &mut watch::Receiver<Stop>) {
    if stopped.wait_for(|stop| stop.cancel == Cancel::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}
