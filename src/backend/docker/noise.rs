//! A sibling container that keeps cores busy while a sweep runs, and is no iteration.

use std::path::Path;
use std::sync::PoisonError;

use super::recipe::{Instance, Recipe};
use super::removal::SWEEP;
use super::session::{self, Running};
use super::{Docker, container_name};
use crate::backend::{BackendError, noise};
use crate::spec::{Container, Recipe as Part};

/// Label with the number of cores that are kept busy.
const NOISE: &str = "reproduce-flaky.noise";

impl Docker {
    /// Starts the noise by the image's Python, or else by its shell, on the CPUs of the sessions and without their other
    /// limits.
    pub(super) async fn start_noise(&self, sweep: &Path) -> Result<(), BackendError> {
        let Some(cores) = self.spec().container.noise else {
            return Ok(());
        };
        let cores = cores.to_string();
        let python = [self.plan.program().as_str(), "-c", noise::PYTHON, &cores].map(str::to_owned);
        let shell = ["sh", "-c", noise::SHELL, "noise", &cores].map(str::to_owned);
        let running = match self.noise(sweep, &cores, &python).await {
            Err(BackendError::ProgramMissing { .. }) => self.noise(sweep, &cores, &shell).await?,
            started => started?,
        };
        *self.noise.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    async fn noise(&self, sweep: &Path, cores: &str, argv: &[String]) -> Result<Running, BackendError> {
        let mut instance = Instance {
            labels: self.creator.labels(),
            ..self.plan.instance(argv)
        };
        instance
            .labels
            .insert(SWEEP.to_owned(), sweep.to_string_lossy().into_owned());
        instance.labels.insert(NOISE.to_owned(), cores.to_owned());
        let recipe = Recipe {
            container: Container {
                cpuset: self.spec().container.cpuset.clone(),
                network: Some("none".to_owned()),
                // An init process would hide that the image has no such program.
                without: vec![Part::Init, Part::ShmSize],
                ..Container::default()
            },
            ulimits: Vec::new(),
            volumes: Vec::new(),
            ..self.plan.recipe.clone()
        };
        let name = container_name(sweep, &format!("noise-{}-{}", self.creator.pid, self.creator.started));
        session::launch(&self.engine, &self.remover, &recipe, &instance, &name)
            .await
            .map_err(|error| self.name_image(error))
    }
}
