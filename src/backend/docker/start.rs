//! The container of a session is made and started, in the ways that this engine allows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::fresh::{Fresh, FreshMethod};
use super::net_delay;
use super::ownership::Ownership;
use super::recipe::Instance;
use super::removal::{ATTEMPT, ITERATION, SWEEP};
use super::session::{self, Running};
use super::unsupported::Unsupported;
use super::{Docker, container_name};
use crate::backend::{Attempt, BackendError};
use crate::run::{Handover, RunDir};
use crate::spec::{Recipe as Part, Workspace};

impl Docker {
    fn labels(&self, attempt: &Attempt) -> HashMap<String, String> {
        let mut labels = self.creator.labels();
        labels.insert(SWEEP.to_owned(), attempt.sweep.to_string_lossy().into_owned());
        labels.insert(ITERATION.to_owned(), attempt.iteration.to_string());
        labels.insert(ATTEMPT.to_owned(), attempt.name.clone());
        labels
    }

    /// Starts a session at once. Its container is held all the same, where that is possible, until the tool has checked
    /// which directory it sees; without an init process the engine has better words for a missing program.
    pub(super) async fn launch_now(&self, attempt: &Attempt) -> Result<Running, BackendError> {
        let has_init = self.spec().container.has(Part::Init);
        if let Some(holder) = self.ahead.program().filter(|_| has_init) {
            let made = self.launch(attempt, Some(holder)).await;
            self.ahead.learn(&made);
            match made {
                Err(BackendError::Refused { .. }) => {}
                Err(error) => return Err(error),
                Ok(mut running) => {
                    running.open_gate(SystemTime::now()).await?;
                    return Ok(running);
                }
            }
        }
        self.launch(attempt, None).await
    }

    pub(super) async fn launch(&self, attempt: &Attempt, holder: Option<PathBuf>) -> Result<Running, BackendError> {
        let mut instance = self.plan.session(attempt);
        instance.labels = self.labels(attempt);
        instance.holder = holder;
        // A session that is left running may outlive this process.
        instance.is_attached = self.spec().deadlines.keep_s.is_some();
        let name = container_name(&attempt.sweep, &attempt.name);
        let ownership = self.ownership(attempt, &instance.labels, &name);
        let mut running = if self.spec().container.workspace == Workspace::Fresh {
            self.launch_fresh(attempt, instance, &name).await?
        } else {
            self.launch_container(&mut instance, &name).await?
        };
        if self.is_delayed {
            net_delay::put(running.first_process().await).await?;
        }
        Ok(running.with_ownership(ownership).with_cores(self.plan.cores(attempt)))
    }

    /// Starts a container without what this engine turns out not to be able to do: one that itself runs in a
    /// container often may not raise limits, and its own are no reason to run nothing.
    pub(super) async fn launch_container(&self, instance: &mut Instance, name: &str) -> Result<Running, BackendError> {
        loop {
            instance.unsupported = self.unsupported();
            let launched = session::launch(&self.engine, &self.remover, &self.plan.recipe, instance, name).await;
            let error = match launched {
                Ok(running) => return Ok(running),
                Err(error) => error,
            };
            let has_learned = match &error {
                BackendError::Refused { cause, .. } => instance.unsupported.learn(cause, &self.spec().container),
                _ => false,
            };
            if !has_learned {
                return Err(self.name_image(error));
            }
            self.unsupported
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&instance.unsupported);
        }
    }

    pub(super) fn unsupported(&self) -> Unsupported {
        self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a session over a pristine tree; where the engine turns out not to be able to mount an overlay, over
    /// a copy, then and from then on.
    async fn launch_fresh(
        &self,
        attempt: &Attempt,
        mut instance: Instance,
        name: &str,
    ) -> Result<Running, BackendError> {
        let labels = instance.labels.clone();
        let fresh = Fresh {
            engine: &self.engine,
            image: &self.plan.recipe.image,
            directory: &self.spec().directory,
            without: attempt.sweep.parent().unwrap_or(&attempt.sweep),
            name,
            labels: &labels,
        };
        let mut method = self.method.get().copied().unwrap_or_else(|| fresh.method());
        loop {
            let started = match fresh.make(method).await {
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
                Err(BackendError::Refused { .. }) if method == FreshMethod::Overlay && self.method.get().is_none() => {
                    method = FreshMethod::Copy;
                }
                Err(error) => return Err(error),
                Ok(running) => {
                    let _ = self.method.set(method);
                    return Ok(running);
                }
            }
        }
    }

    /// What to hand over when a session has ended: what it wrote to its run. Files of the workspace may still be open in
    /// other sessions, and wait until [`Backend::close`].
    fn ownership(&self, attempt: &Attempt, labels: &HashMap<String, String>, name: &str) -> Option<Ownership> {
        let dirs = attempt.dirs.as_ref().filter(|_| self.engine.is_here())?;
        let ownership = Ownership {
            dir: Arc::clone(&dirs.session),
            since: None,
            image: self.plan.recipe.image.clone(),
            labels: labels.clone(),
            name: format!("{name}-owner"),
        };
        if self.spec().container.workspace == Workspace::Rw {
            self.workspace_of(&attempt.sweep, &ownership);
        }
        Some(ownership)
    }

    /// Writes down, with the first session, since when the workspace is written to.
    fn workspace_of(&self, sweep: &Path, ownership: &Ownership) {
        self.workspace.get_or_init(|| {
            let workspace = RunDir::open(&self.spec().directory).ok()?;
            let handover = Handover::begin(sweep).ok()?;
            let ownership = Ownership {
                dir: Arc::new(workspace),
                since: Some(handover.since()),
                ..ownership.clone()
            };
            Some((sweep.to_owned(), ownership, handover))
        });
    }
}
