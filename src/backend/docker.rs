//! Sessions in containers, on any socket that speaks Docker's API. Nothing outside this folder knows bollard.
//!
//! 400 lines long because one backend ties together all that makes a container: plan, limits, workspace, noise.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use bollard::models::ImageConfig;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::toolchain::{self, Report};
use super::{Attempt, Backend, BackendError, Creator, Plugin, Prepared, Probe, Session, Tell, packages};
use crate::model::{Spec, Workspace};

mod ahead;
mod bedside;
mod engine;
mod fresh;
mod gate;
mod images;
mod lacks;
mod noise;
mod ownership;
mod plan;
mod probe;
mod recipe;
mod removal;
mod session;
mod shell;

use ahead::{Ahead, Waiting};
use engine::Engine;
use fresh::{Fresh, Means};
use images::import;
use lacks::Lacks;
use ownership::Ownership;
use plan::{Image, Plan};
use recipe::Instance;
use removal::{ATTEMPT, ITERATION, Remover, SWEEP};

pub use engine::{Facts, facts};
pub use removal::{Leftover, LeftoverKind, leftovers, reap, reap_iteration};
pub use shell::interactive_docker_run;

/// The name that asks for a container over this machine's own Python.
const HOST: &str = "host";
/// Repository that the roots of such containers are tagged in.
const HOST_REPOSITORY: &str = "reproduce-flaky-host";

/// Containers for the attempts of one sweep.
struct Docker {
    engine: Arc<Engine>,
    remover: Arc<Remover>,
    creator: Creator,
    plan: Plan,
    /// How fresh workspaces are made, once one was.
    means: OnceLock<Means>,
    lacks: Mutex<Lacks>,
    /// What keeps cores busy beside the sessions.
    noise: Mutex<Option<session::Running>>,
    ahead: Ahead,
    notes: Vec<String>,
}

/// Finds the engine and the image and resolves what the containers get.
pub(super) async fn open(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<impl Backend + use<>, BackendError> {
    make(spec, plugin, tell).await
}

async fn make(spec: &Spec, plugin: Option<&Plugin>, tell: Tell<'_>) -> Result<Docker, BackendError> {
    let placing = spec.placing.as_ref();
    let engine = Arc::new(Engine::connect_to(placing.and_then(|placing| placing.docker_host.as_deref())).await?);
    let kept = plugin.map(packages::keep_plugin).transpose()?;
    let mut notes = Vec::new();
    let plan = if spec.image == HOST {
        let (report, fetched) = host_python(spec, plugin, tell).await?;
        let rootless = engine.facts.is_rootless;
        let (mut plan, root) = Plan::host(spec, kept.as_deref(), rootless, &report, fetched.as_ref())?;
        plan.recipe.image = import(&engine, &root).await?;
        notes.extend(fetched.map(|fetched| fetched.note));
        plan
    } else {
        let archive = placing.and_then(|placing| placing.image_tar.as_deref());
        let (id, config) = images::find_or_load(&engine, &spec.image, archive).await?;
        Plan::named(spec, kept.as_deref(), engine.is_here(), &id, config)?
    };
    let lacks = match engine.socket() {
        Some(socket) => Lacks::foresee(socket, &plan.recipe.ulimits, &spec.container).await,
        None => Lacks::default(),
    };
    Ok(Docker {
        remover: Remover::new(Arc::clone(&engine)),
        ahead: Ahead::new(spec, &engine),
        engine,
        creator: Creator::current(),
        plan,
        means: OnceLock::new(),
        lacks: Mutex::new(lacks),
        noise: Mutex::default(),
        notes,
    })
}

/// The `docker run` line that runs one iteration by hand, as words. Starts nothing and asks no engine. Variables
/// that are the caller's own appear by name only.
///
/// # Errors
/// `--image host`, and there is no Python to be found; a volume or limit that cannot be read.
pub async fn equivalent_docker_run(
    spec: &Spec,
    plugin: Option<&Plugin>,
    attempt: &Attempt,
) -> Result<Vec<String>, BackendError> {
    let plugin = plugin.map(packages::keep_plugin).transpose()?;
    let (plan, image) = if spec.image == HOST {
        let report = toolchain::examine(&spec.directory, &[("PYTHONPATH".to_owned(), None)]).await?;
        let fetched = packages::plan(&report, spec.host_requirements.as_deref())?;
        let (plan, root) = Plan::host(spec, plugin.as_deref(), false, &report, fetched.as_ref())?;
        (plan, format!("{HOST_REPOSITORY}:{}", root.tag()))
    } else {
        let plan = Plan::named(spec, plugin.as_deref(), false, &spec.image, ImageConfig::default())?;
        (plan, spec.image.clone())
    };
    Ok(plan
        .recipe
        .command_line(&image, &plan.session(attempt), &plan.secrets()))
}

async fn host_python(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<(Report, Option<packages::Packages>), BackendError> {
    // The caller's search path for modules is not part of the toolchain, and most of it is not visible inside.
    let report = toolchain::examine(&spec.directory, &[("PYTHONPATH".to_owned(), None)]).await?;
    let fetched = packages::complete(&report, spec.host_requirements.as_deref(), plugin, tell).await?;
    Ok((report, fetched))
}

impl Docker {
    fn spec(&self) -> &Spec {
        &self.plan.spec
    }

    fn labels(&self, attempt: &Attempt) -> HashMap<String, String> {
        let mut labels = self.creator.labels();
        labels.insert(SWEEP.to_owned(), attempt.sweep.to_string_lossy().into_owned());
        labels.insert(ITERATION.to_owned(), attempt.iteration.to_string());
        labels.insert(ATTEMPT.to_owned(), attempt.name.clone());
        labels
    }

    async fn launch(&self, attempt: &Attempt, gate: Option<gate::Place>) -> Result<session::Running, BackendError> {
        let mut instance = self.plan.session(attempt);
        instance.labels = self.labels(attempt);
        instance.gate = gate;
        let name = container_name(&attempt.sweep, &attempt.name);
        let ownership = self.ownership(attempt, &instance.labels, &name);
        let running = if self.spec().container.workspace == Workspace::Fresh {
            self.launch_fresh(attempt, instance, &name).await?
        } else {
            self.launch_container(&mut instance, &name).await?
        };
        Ok(running.with_ownership(ownership).with_cores(self.plan.cores(attempt)))
    }

    /// Starts a container without what this engine turns out not to be able to do: one that itself runs in a
    /// container often may not raise limits, and its own are no reason to run nothing.
    async fn launch_container(&self, instance: &mut Instance, name: &str) -> Result<session::Running, BackendError> {
        loop {
            instance.lacks = self.lacks();
            let launched = session::launch(&self.engine, &self.remover, &self.plan.recipe, instance, name).await;
            let error = match launched {
                Ok(running) => return Ok(running),
                Err(error) => error,
            };
            let has_learned = match &error {
                BackendError::Refused { cause, .. } => instance.lacks.learn(cause, &self.spec().container),
                _ => false,
            };
            if !has_learned {
                return Err(self.name_image(error));
            }
            self.lacks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&instance.lacks);
        }
    }

    fn lacks(&self) -> Lacks {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a session over a pristine tree; where the engine turns out not to be able to mount an overlay, over
    /// a copy, then and from then on.
    async fn launch_fresh(
        &self,
        attempt: &Attempt,
        mut instance: Instance,
        name: &str,
    ) -> Result<session::Running, BackendError> {
        let labels = instance.labels.clone();
        let fresh = Fresh {
            engine: &self.engine,
            image: &self.plan.recipe.image,
            directory: &self.spec().directory,
            without: attempt.sweep.parent().unwrap_or(&attempt.sweep),
            name,
            labels: &labels,
        };
        let mut means = self.means.get().copied().unwrap_or_else(|| fresh.means());
        loop {
            let started = match fresh.make(means).await {
                Ok(volumes) => {
                    instance.workspace_volume = volumes.first().cloned();
                    match self.launch_container(&mut instance, name).await {
                        Ok(running) => Ok(running.with_volumes(volumes)),
                        Err(error) => {
                            self.remover.close().await;
                            fresh.discard(&volumes).await;
                            Err(error)
                        }
                    }
                }
                Err(error) => Err(error),
            };
            match started {
                Err(BackendError::Refused { .. }) if means == Means::Overlay && self.means.get().is_none() => {
                    means = Means::Copy;
                }
                Err(error) => return Err(error),
                Ok(running) => {
                    let _ = self.means.set(means);
                    return Ok(running);
                }
            }
        }
    }

    /// What to hand over afterwards; `None` where the container's user is the caller.
    fn ownership(&self, attempt: &Attempt, labels: &HashMap<String, String>, name: &str) -> Option<Ownership> {
        let caller = if self.engine.facts.is_rootless {
            0
        } else {
            rustix::process::geteuid().as_raw()
        };
        if self.plan.uid() == Some(caller) || !self.engine.is_here() {
            return None;
        }
        let spec = self.spec();
        Some(Ownership {
            run_dir: attempt.dir.clone(),
            workspace: (spec.container.workspace == Workspace::Rw).then(|| spec.directory.clone()),
            since: SystemTime::now(),
            image: self.plan.recipe.image.clone(),
            labels: labels.clone(),
            name: format!("{name}-owner"),
        })
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
        async move { Ok(Box::new(self.launch(attempt, None).await?) as Box<dyn Session>) }.boxed()
    }

    fn is_ahead(&self) -> bool {
        self.ahead.program().is_some()
    }

    fn prepare<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Option<Box<dyn Prepared>>> {
        async move {
            let gate = gate::Place {
                program: self.ahead.program()?,
                dir: attempt.dir.clone(),
            };
            let made = self.launch(attempt, Some(gate)).await;
            self.ahead.learn(&made);
            Some(Box::new(Waiting(made.ok()?)) as Box<dyn Prepared>)
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.engine.ping().boxed()
    }

    fn make_noise<'a>(&'a self, sweep: &'a Path) -> BoxFuture<'a, Result<(), BackendError>> {
        self.start_noise(sweep).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Dropping it removes it.
        drop(self.noise.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.remover.close().boxed()
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
