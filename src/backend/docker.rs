//! Sessions in containers, on any socket that speaks Docker's API. Nothing outside this folder knows bollard.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bollard::models::ImageConfig;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::toolchain::Toolchain;
use super::{Attempt, Backend, BackendError, Creator, Plugin, Prepared, Probe, Session, Tell, known, packages};
use crate::run::{self, Handover};
use crate::spec::{HOST_IMAGE, Perturbation, Recipe as Part, Spec};
use crate::timings;

mod access;
mod address;
mod ahead;
mod engine;
mod fresh;
mod gate;
mod images;
mod net_delay;
mod noise;
mod ownership;
mod plan;
mod probe;
mod recipe;
mod removal;
mod session;
mod shell;
mod ssh;
mod start;
mod tls;
mod transport;
mod unsupported;

use ahead::{Ahead, Waiting};
use engine::Engine;
use fresh::FreshMethod;
use images::import;
use ownership::Ownership;
use plan::{Image, Plan};
use removal::Remover;
use unsupported::Unsupported;

pub use address::{Place, place};
pub use engine::{Facts, NO_LIMITS, facts};
pub use removal::{Leftover, LeftoverKind, leftovers, reap, reap_iteration};
pub use shell::interactive_docker_run;

/// Repository that the roots of such containers are tagged in.
const HOST_REPOSITORY: &str = "reproduce-flaky-host";

/// Containers for the attempts of one sweep.
struct Docker {
    engine: Arc<Engine>,
    remover: Arc<Remover>,
    creator: Creator,
    plan: Plan,
    /// What this machine's Python says about itself, where it is what runs; a probe in a container depends on it.
    python: String,
    /// How fresh workspaces are made here; known after the first.
    method: OnceLock<FreshMethod>,
    unsupported: Mutex<Unsupported>,
    /// What keeps cores busy beside the sessions.
    noise: Mutex<Option<session::Running>>,
    ahead: Ahead,
    /// The sweep, and the workspace whose files become the caller's when no session of it runs any more; set by the first
    /// session.
    workspace: OnceLock<Option<(PathBuf, Ownership, Handover)>>,
    /// Whether packets of the containers come late.
    is_delayed: bool,
    /// Conditions that cannot be had on this engine, with the reason.
    without_effect: Vec<(Perturbation, String)>,
    notes: Vec<String>,
}

/// Finds the engine and the image and resolves what the containers get.
pub(super) async fn open(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<impl Backend + use<>, BackendError> {
    Box::pin(make(spec, plugin, tell)).await
}

/// Has the engine of a sweep fetch an image.
pub(super) async fn pull(spec: &Spec, image: &str) -> Result<(), BackendError> {
    images::pull(&connect(spec).await?, image).await
}

async fn connect(spec: &Spec) -> Result<Engine, BackendError> {
    let placing = spec.placing.as_ref();
    Engine::connect_to(placing.and_then(|placing| placing.docker_host.as_deref())).await
}

async fn make(spec: &Spec, plugin: Option<&Plugin>, tell: Tell<'_>) -> Result<Docker, BackendError> {
    let placing = spec.placing.as_ref();
    // On the heap, as everything that is large in a future.
    let connected = timings::of("engine: connect", Box::pin(connect(spec)));
    let kept = plugin.map(packages::keep_plugin).transpose()?;
    let mut notes = Vec::new();
    let (engine, plan, python) = if spec.image == HOST_IMAGE {
        // An engine that is not there is what is told first.
        let (engine, python) = tokio::join!(
            connected,
            timings::of("python", Box::pin(host_python(spec, plugin, tell)))
        );
        let (engine, (report, fetched)) = (engine?, python?);
        let rootless = engine.facts.is_rootless;
        let (mut plan, root) = Plan::host(spec, kept.as_deref(), rootless, &report, fetched.as_ref())?;
        plan.recipe.image = timings::of("engine: image", Box::pin(import(&engine, &root))).await?;
        notes.extend(fetched.map(|fetched| fetched.note));
        (engine, plan, serde_json::to_string(&report).unwrap_or_default())
    } else {
        let archive = placing.and_then(|placing| placing.image_tar.as_deref());
        let engine = connected.await?;
        let (id, config) = timings::of(
            "engine: image",
            Box::pin(images::find_or_load(&engine, &spec.image, archive)),
        )
        .await?;
        let plan = Plan::named(spec, kept.as_deref(), engine.is_here(), &id, config)?;
        (engine, plan, String::new())
    };
    engine.can_limit(&spec.container)?;
    let engine = Arc::new(engine);
    let unsupported = match engine.socket() {
        Some(socket) => {
            let foreseen = Unsupported::foresee(socket, &plan.recipe.ulimits, &spec.container);
            timings::of("engine: limits", foreseen).await
        }
        None => Unsupported::default(),
    };
    let mut without_effect = Vec::new();
    let mut is_delayed = spec.is_under(Perturbation::NetDelay);
    if is_delayed && let Some(cause) = net_delay::refusal(spec, engine.is_here()).await {
        is_delayed = false;
        without_effect.push((Perturbation::NetDelay, cause));
    }
    Ok(Docker {
        remover: Remover::new(Arc::clone(&engine)),
        ahead: Ahead::new(spec, &engine),
        engine,
        creator: Creator::current(),
        plan,
        python,
        method: OnceLock::new(),
        unsupported: Mutex::new(unsupported),
        noise: Mutex::default(),
        workspace: OnceLock::new(),
        is_delayed,
        without_effect,
        notes,
    })
}

/// The `docker run` line that runs one iteration by hand, as words, with the limits that the engine here can set.
/// Starts nothing, and needs no engine. Variables that are the caller's own appear by name only.
///
/// # Errors
/// No Python is found for `--image host`; a volume or a limit cannot be read.
pub async fn equivalent_docker_run(
    spec: &Spec,
    plugin: Option<&Plugin>,
    attempt: &Attempt,
) -> Result<Vec<String>, BackendError> {
    let plugin = plugin.map(packages::keep_plugin).transpose()?;
    let (plan, image) = if spec.image == HOST_IMAGE {
        let report = known::examine(&spec.directory).await?;
        let fetched = packages::plan(&report, spec.host_requirements.as_deref())?;
        let (plan, root) = Plan::host(spec, plugin.as_deref(), false, &report, fetched.as_ref())?;
        (plan, format!("{HOST_REPOSITORY}:{}", root.tag()))
    } else {
        let plan = Plan::named(spec, plugin.as_deref(), false, &spec.image, ImageConfig::default())?;
        (plan, spec.image.clone())
    };
    let mut session = plan.session(attempt);
    let engine = connect(spec).await;
    if let Some(socket) = engine.as_ref().ok().and_then(Engine::socket) {
        session.unsupported = Unsupported::foresee(socket, &plan.recipe.ulimits, &spec.container).await;
    }
    Ok(plan.recipe.command_line(&image, &session, &plan.secrets()))
}

async fn host_python(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<(Toolchain, Option<packages::Packages>), BackendError> {
    let report = known::examine(&spec.directory).await?;
    let fetched = packages::complete(&report, spec.host_requirements.as_deref(), plugin, tell).await?;
    Ok((report, fetched))
}

impl Docker {
    fn spec(&self) -> &Spec {
        &self.plan.spec
    }

    /// Makes the files the caller's that sessions of this process made in the workspace, unless sessions still run there.
    async fn restore_workspace(&self) {
        let Some(Some((sweep, ownership, handover))) = self.workspace.get() else {
            return;
        };
        let beside = sweep
            .parent()
            .and_then(|logs| run::find_sweeps(logs).ok())
            .unwrap_or_default();
        let is_running = |sweep: &PathBuf| run::in_flight(sweep).is_ok_and(|running| !running.is_empty());
        if !beside.iter().any(is_running) {
            ownership.clone().restore(&self.engine, &self.remover).await;
            handover.done();
        }
    }

    /// Errors name the image as the user does, not by its id.
    fn name_image(&self, error: BackendError) -> BackendError {
        let image = self.spec().image.clone();
        match error {
            BackendError::ImageMissing { .. } => BackendError::ImageMissing { image },
            BackendError::ProgramMissing { program, .. } => BackendError::ProgramMissing { program, image },
            other => other,
        }
    }
}

impl Backend for Docker {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async move {
            let report = self.examine().await?;
            let (place, hint) = self.plan.place();
            report.fit(self.spec().mode, &place, hint)?;
            let _ = self.plan.home.set(report.home.clone());
            Ok(Probe {
                image_id: match &self.plan.image {
                    Image::Named { id, .. } => id.clone(),
                    Image::Host { .. } => report.identity(&self.spec().directory),
                },
                versions: report.versions(),
                notes: self.notes(),
            })
        }
        .boxed()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move { Ok(Box::new(self.launch_now(attempt).await?) as Box<dyn Session>) }.boxed()
    }

    fn is_ahead(&self) -> bool {
        self.ahead.is_on()
    }

    fn is_probed_beside(&self) -> bool {
        self.ahead.is_on() && self.recalled().is_none() && !self.plan.depends_on_home()
    }

    fn prepare<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Option<Box<dyn Prepared>>> {
        async move {
            let holder = self.ahead.program().filter(|_| self.ahead.is_on())?;
            let made = self.launch(attempt, Some(holder)).await;
            self.ahead.learn(&made);
            Some(Box::new(Waiting(made.ok()?)) as Box<dyn Prepared>)
        }
        .boxed()
    }

    fn without_effect(&self) -> Vec<(Perturbation, String)> {
        let mut found = self.without_effect.clone();
        if self.spec().is_under(Perturbation::Starve) {
            let cause = if self.spec().container.has(Part::Init) {
                self.ahead.refusal()
            } else {
                Some("the session itself is process 1 (--without init)".to_owned())
            };
            found.extend(cause.map(|cause| (Perturbation::Starve, cause)));
        }
        found
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.engine.ping().boxed()
    }

    fn make_noise<'a>(&'a self, sweep: &'a Path) -> BoxFuture<'a, Result<(), BackendError>> {
        self.start_noise(sweep).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Dropping the session removes its container.
        drop(self.noise.lock().unwrap_or_else(PoisonError::into_inner).take());
        async move {
            self.restore_workspace().await;
            self.remover.close().await;
        }
        .boxed()
    }
}

/// A name for the reader of `docker ps`, of the characters that engines allow.
fn container_name(sweep: &Path, attempt: &str) -> String {
    let sweep = sweep.file_name().unwrap_or_default().to_string_lossy();
    format!("reproduce-flaky-{sweep}-{attempt}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
                c
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_only_what_engines_allow() {
        assert_eq!(
            container_name(Path::new("/logs/n4_fix 8"), "run007.häst-1-2"),
            "reproduce-flaky-n4_fix-8-run007.h-st-1-2"
        );
    }
}
