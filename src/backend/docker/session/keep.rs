//! A container that is left running after its session hung, for somebody to look into it.
//!
//! It is not paused, so that programs can be run in it. Its name says how long it is kept: the one thing that every
//! engine lets one change of a container that runs, and that `gc` reads in whatever process.

use std::time::Duration;

use bollard::query_parameters::RenameContainerOptionsBuilder;
use chrono::Utc;

use super::{Running, is_running, state};
use crate::backend::docker::removal::kept_name;
use crate::backend::{BackendError, Ended};
use crate::model::Kept;

impl Running {
    /// Renames the container and has it removed when the time is over, if this process is still there then.
    pub(super) async fn leave(&mut self, time: Duration) -> Result<Kept, BackendError> {
        let lost = |cause: &str| BackendError::Lost {
            cause: cause.to_owned(),
        };
        if !is_running(&state(&self.engine, &self.id).await?) {
            return Err(lost("it ended while it was looked at"));
        }
        let until = Utc::now() + time;
        let name = kept_name(&self.name, until);
        let volumes = std::mem::take(&mut self.volumes);
        let Some(place) = self.remover.keep(self.id.clone(), volumes.clone(), time) else {
            self.volumes = volumes;
            return Err(lost("as many hung containers as may be are kept already"));
        };
        let options = RenameContainerOptionsBuilder::default().name(&name).build();
        if let Err(error) = self.engine.docker.rename_container(&self.id, options).await {
            place.abort();
            self.volumes = volumes;
            return Err(self.engine.explain("rename the container", &error));
        }
        self.watch.abort();
        self.is_kept = true;
        let client = self.engine.facts.name.to_lowercase();
        Ok(Kept {
            enter: format!("{client} exec -it {name} sh"),
            container: name,
            until,
        })
    }

    /// What can be said about the end of a session that has not ended.
    pub(super) async fn still_running(&mut self) -> Ended {
        let started = state(&self.engine, &self.id).await.map(|state| super::ended(&state));
        Ended {
            started_at: started.ok().and_then(|ended| ended.started_at),
            ..Ended::default()
        }
    }
}
