//! A container that is left running after its session hung, for somebody to look into it.
//!
//! The container is not paused, so that programs can be run in it. Its name says how long it is kept: the name is what
//! every engine lets one change while a container runs, and `gc` of any process reads it.

use std::time::Duration;

use bollard::query_parameters::RenameContainerOptionsBuilder;
use chrono::Utc;

use super::end::{ended, is_running, state};
use super::{Container, Disposal};
use crate::backend::docker::removal::kept_name;
use crate::backend::{BackendError, Ended};
use crate::judge::Kept;

impl Container {
    /// Renames the container and has it removed when the time is over, if this process is still there then.
    pub(super) async fn leave(&mut self, time: Duration) -> Result<Kept, BackendError> {
        let lost = |cause: &str| BackendError::Lost {
            cause: cause.to_owned(),
        };
        // Process 1 tells of the end of its session before the engine knows of it.
        if self.end.is_some() || !is_running(&state(&self.engine, &self.id).await?) {
            return Err(lost("it ended while it was looked at"));
        }
        let until = Utc::now() + time;
        let name = kept_name(&self.name, until);
        let volumes = std::mem::take(&mut self.volumes);
        let Some(removal) = self.remover.keep(self.id.clone(), volumes.clone(), time) else {
            self.volumes = volumes;
            return Err(lost("as many hung containers as may be are kept already"));
        };
        let options = RenameContainerOptionsBuilder::default().name(&name).build();
        if let Err(error) = self.engine.docker.rename_container(&self.id, options).await {
            removal.abort();
            self.volumes = volumes;
            return Err(self.engine.explain("rename the container", &error));
        }
        self.watch.abort();
        self.disposal = Disposal::Kept;
        let client = self.engine.facts.name.to_lowercase();
        Ok(Kept {
            enter: format!("{client} exec -it {name} sh"),
            container: name,
            until,
        })
    }

    /// What can be said about the end of a session that has not ended.
    pub(super) async fn still_running(&mut self) -> Ended {
        let started = state(&self.engine, &self.id).await.map(|state| ended(&state));
        Ended {
            started_at: started.ok().and_then(|ended| ended.started_at),
            ..Ended::default()
        }
    }
}
