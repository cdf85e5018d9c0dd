//! Removing containers: in the background when a session is over, and later by label when its sweep died first.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerSummary, Volume};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use chrono::{DateTime, Utc};
use tokio::task::{AbortHandle, JoinSet};

use super::engine::{Engine, is_conflict, is_not_found};
use crate::backend::{BackendError, Creator, Fate};

/// Label with the directory of the sweep; whatever carries it is ours.
pub(super) const SWEEP: &str = "reproduce-flaky.sweep";
/// Label with the number of the iteration.
pub(super) const ITERATION: &str = "reproduce-flaky.iteration";
/// Label with the name of the attempt.
pub(super) const ATTEMPT: &str = "reproduce-flaky.attempt";

/// What stands in a container's name before the time until which it is kept, in seconds since 1970.
const KEPT_UNTIL: &str = "-kept-until-";
/// Most containers that are kept at a time: each holds the memory of a whole session.
const MOST_KEPT: usize = 5;
/// Longest time that the engine gets to notice the end of a container that told us of it itself.
const ENDING: Duration = Duration::from_secs(10);

/// Longest time that the end of the process waits for removals.
const CLOSE: Duration = Duration::from_secs(30);

/// Removes containers while the sweep goes on.
#[derive(Debug)]
pub(super) struct Remover {
    engine: Arc<Engine>,
    tasks: Mutex<JoinSet<()>>,
    /// Removals that wait for their time.
    kept: Mutex<JoinSet<()>>,
}

impl Remover {
    pub(super) fn new(engine: Arc<Engine>) -> Arc<Remover> {
        Arc::new(Remover {
            engine,
            tasks: Mutex::new(JoinSet::new()),
            kept: Mutex::new(JoinSet::new()),
        })
    }

    /// Removes a container, running or not, and then its volumes, without waiting for it.
    pub(super) fn remove(&self, id: String, volumes: Vec<String>) {
        self.remove_after(std::future::ready(()), id, volumes);
    }

    /// The same, once something has happened, or has not within bounds.
    pub(super) fn remove_after(
        &self,
        before: impl Future<Output = ()> + Send + 'static,
        id: String,
        volumes: Vec<String>,
    ) {
        // Where the runtime is gone already nothing can be sent; the reaper finds the container by its labels.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let engine = Arc::clone(&self.engine);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(
            async move {
                let _ = tokio::time::timeout(ENDING, before).await;
                if !id.is_empty() {
                    // Failing is no news: it stays labelled, and the next start tries again.
                    let _ = remove_container(&engine, &id).await;
                }
                for volume in volumes {
                    let _ = remove_volume(&engine, &volume).await;
                }
            },
            &runtime,
        );
    }

    /// Removes a container and its volumes after a while, unless that is called off; `None` where too many wait already.
    pub(super) fn keep(self: &Arc<Self>, id: String, volumes: Vec<String>, time: Duration) -> Option<AbortHandle> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.try_join_next().is_some() {}
        if kept.len() >= MOST_KEPT {
            return None;
        }
        let remover = Arc::clone(self);
        Some(kept.spawn(async move {
            tokio::time::sleep(time).await;
            remover.remove(id, volumes);
        }))
    }

    /// Waits for what is under way, within bounds. What is kept stays: the next sweep, or `gc`, removes it in time.
    pub(super) async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = tokio::time::timeout(CLOSE, async { while tasks.join_next().await.is_some() {} }).await;
    }
}

async fn remove_container(engine: &Engine, id: &str) -> Result<(), BackendError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match engine.docker.remove_container(id, Some(options)).await {
            Ok(()) => return Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => return Ok(()),
            Err(error) if pause > Duration::from_secs(2) => return Err(engine.explain("remove the container", &error)),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 3;
    }
}

async fn remove_volume(engine: &Engine, name: &str) -> Result<(), BackendError> {
    let mut pause = Duration::from_millis(50);
    loop {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        match engine.docker.remove_volume(name, Some(options)).await {
            Ok(()) => return Ok(()),
            Err(error) if is_not_found(&error) => return Ok(()),
            // The container that used it may be on its way out.
            Err(error) if pause > Duration::from_secs(3) => return Err(engine.explain("remove the volume", &error)),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 3;
    }
}

/// Something on the engine that a sweep made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Id of the container, or name of the volume.
    pub id: String,
    /// Name as `docker ps` shows it.
    pub name: String,
    /// What it is.
    pub kind: LeftoverKind,
    /// Directory of the sweep that made it.
    pub sweep: String,
    /// Number of the iteration, where it belonged to one.
    pub iteration: Option<u32>,
    /// Name of the attempt, where it belonged to one.
    pub attempt: Option<String>,
    /// Whether it is still running.
    pub is_running: bool,
    /// Who made it.
    pub creator: Creator,
    /// What became of who made it.
    pub fate: Fate,
    /// Until when it is kept for somebody to look into it.
    pub kept_until: Option<DateTime<Utc>>,
}

impl Leftover {
    /// Whether nobody waits for it any more.
    pub fn is_due(&self) -> bool {
        self.fate == Fate::Gone && self.kept_until.is_none_or(|until| until <= Utc::now())
    }
}

/// A container's name that says how long it is kept.
pub(super) fn kept_name(name: &str, until: DateTime<Utc>) -> String {
    format!("{name}{KEPT_UNTIL}{}", until.timestamp())
}

/// Until when a container of this name is kept.
fn kept_until(name: &str) -> Option<DateTime<Utc>> {
    let (_, seconds) = name.rsplit_once(KEPT_UNTIL)?;
    DateTime::from_timestamp(seconds.parse().ok()?, 0)
}

/// What a sweep leaves on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A container.
    Container,
    /// A volume of a fresh workspace.
    Volume,
}

/// Everything on the engine that sweeps made, of whatever fate: [`reap`] removes only what nobody waits for.
///
/// # Errors
/// No engine answers, or not to this user.
pub async fn leftovers() -> Result<Vec<Leftover>, BackendError> {
    found(&Engine::connect().await?).await
}

/// Removes what sweeps that are gone left behind, and returns it. Nothing without our labels, nothing whose
/// creator is alive or cannot be seen from here.
///
/// # Errors
/// No engine answers, or it does not remove what it should.
pub async fn reap() -> Result<Vec<Leftover>, BackendError> {
    reap_on(&Engine::connect().await?).await
}

/// Removes what earlier executions of an iteration left on this machine: it was placed here again, so that nobody waits
/// for them. One whose creator is seen to be alive stays.
///
/// # Errors
/// No engine answers, or it does not remove what it should.
pub async fn reap_iteration(
    docker_host: Option<&str>,
    sweep: &Path,
    iteration: u32,
) -> Result<Vec<Leftover>, BackendError> {
    let engine = Engine::connect_to(docker_host).await?;
    let left = found(&engine).await?.into_iter().filter(|left| {
        Path::new(&left.sweep) == sweep
            && left.iteration == Some(iteration)
            && left.creator.is_of_this_machine()
            && left.fate != Fate::Alive
    });
    remove_all(&engine, left.collect()).await
}

pub(super) async fn reap_on(engine: &Engine) -> Result<Vec<Leftover>, BackendError> {
    let gone: Vec<Leftover> = found(engine).await?.into_iter().filter(Leftover::is_due).collect();
    remove_all(engine, gone).await
}

async fn remove_all(engine: &Engine, left: Vec<Leftover>) -> Result<Vec<Leftover>, BackendError> {
    for left in &left {
        match left.kind {
            LeftoverKind::Container => remove_container(engine, &left.id).await?,
            LeftoverKind::Volume => remove_volume(engine, &left.id).await?,
        }
    }
    Ok(left)
}

async fn found(engine: &Engine) -> Result<Vec<Leftover>, BackendError> {
    let filters = HashMap::from([("label".to_owned(), vec![SWEEP.to_owned()])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let containers = engine
        .docker
        .list_containers(Some(options))
        .await
        .map_err(|error| engine.explain("list containers", &error))?;
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let volumes = engine
        .docker
        .list_volumes(Some(options))
        .await
        .map_err(|error| engine.explain("list volumes", &error))?;
    let (volumes, is_here) = (volumes.volumes.unwrap_or_default(), engine.is_here());
    // What became of their creators is read from /proc.
    let told = tokio::task::spawn_blocking(move || of_sweeps(containers, volumes, is_here)).await;
    told.map_err(|error| BackendError::Refused {
        verb: "look for what made the containers".to_owned(),
        cause: error.to_string(),
    })
}

/// The containers and volumes that sweeps made. Containers come first, since a volume in use cannot be removed.
fn of_sweeps(containers: Vec<ContainerSummary>, volumes: Vec<Volume>, is_here: bool) -> Vec<Leftover> {
    let containers = containers.into_iter().filter_map(|container| {
        let name = container.names.iter().flatten().next();
        let name = name.map(|name| name.trim_start_matches('/').to_owned());
        let is_running = container.state.is_some_and(|state| state.to_string() == "running");
        // What runs was started since this machine was, if the engine is this machine's.
        let may_be_old = is_here && !is_running;
        let kind = LeftoverKind::Container;
        leftover(kind, container.id?, name, is_running, may_be_old, &container.labels?)
    });
    let mut found: Vec<Leftover> = containers.collect();
    // The volumes of a container are in use by it.
    let users: HashMap<String, (bool, Option<DateTime<Utc>>)> = found
        .iter()
        .filter_map(|left| Some((left.attempt.clone()?, (left.is_running, left.kept_until))))
        .collect();
    found.extend(volumes.into_iter().filter_map(|volume| {
        let user = volume.labels.get(ATTEMPT).and_then(|attempt| users.get(attempt));
        let may_be_old = is_here && !user.is_some_and(|(is_running, _)| *is_running);
        let (kind, name) = (LeftoverKind::Volume, Some(volume.name.clone()));
        let left = leftover(kind, volume.name, name, false, may_be_old, &volume.labels)?;
        Some(Leftover {
            kept_until: user.and_then(|(_, until)| *until),
            ..left
        })
    }));
    found
}

fn leftover(
    kind: LeftoverKind,
    id: String,
    name: Option<String>,
    is_running: bool,
    may_be_old: bool,
    labels: &HashMap<String, String>,
) -> Option<Leftover> {
    let creator = Creator::from_labels(labels)?;
    let name = name.unwrap_or_else(|| id.clone());
    Some(Leftover {
        kept_until: kept_until(&name),
        attempt: labels.get(ATTEMPT).cloned(),
        name,
        id,
        kind,
        sweep: labels.get(SWEEP)?.clone(),
        iteration: labels.get(ITERATION).and_then(|number| number.parse().ok()),
        is_running,
        fate: creator.fate(may_be_old),
        creator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_so_many_containers_are_kept_at_a_time() {
        let engine = Engine {
            docker: bollard::Docker::connect_with_http("127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION).unwrap(),
            address: String::new(),
            facts: super::super::Facts::default(),
        };
        let remover = Remover::new(Arc::new(engine));
        let keep = || remover.keep("none".to_owned(), Vec::new(), Duration::from_hours(1));
        let places: Vec<_> = (0..MOST_KEPT).map(|_| keep().unwrap()).collect();
        assert!(keep().is_none());
        // One that is called off makes room.
        places[0].abort();
        while keep().is_none() {
            tokio::task::yield_now().await;
        }
        // What waits for its time does not hold up the end.
        remover.close().await;
    }

    #[test]
    fn a_name_says_until_when_a_container_is_kept() {
        let until = DateTime::from_timestamp(1_795_550_000, 0).unwrap();
        let name = kept_name("reproduce-flaky-serial-run007.here-1-1", until);
        assert_eq!(kept_until(&name), Some(until));
        assert_eq!(kept_until("reproduce-flaky-serial-run007.here-1-1"), None);
        assert_eq!(kept_until("reproduce-flaky-kept-until-then-1-1"), None);
    }
}
