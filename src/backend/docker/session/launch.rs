//! A container is created, watched, and started: as far as its gate, or attached to.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::end::{End, state, watch};
use super::{Container, Disposal, Running};
use crate::backend::BackendError;
use crate::backend::docker::engine::{Engine, is_conflict, is_not_found};
use crate::backend::docker::gate::{Account, Gate, GateMount, Held, Starvation};
use crate::backend::docker::recipe::{Instance, RUN_DIR, Recipe};
use crate::backend::docker::removal::Remover;
use crate::backend::output::Output;
use crate::proc;
use crate::run::Identity;
use crate::spec::Recipe as Part;
use crate::timings;

/// Creates and starts a container. Attaching to it and waiting for its end begin before the start: after the start of a
/// program that ends at once either would be too late. A container with a gate is started as far as the gate, and prints
/// to a pipe instead of through the engine.
pub(in crate::backend::docker) async fn launch(
    engine: &Arc<Engine>,
    remover: &Arc<Remover>,
    recipe: &Recipe,
    instance: &Instance,
    name: &str,
) -> Result<Running, BackendError> {
    let inode = instance.run.as_ref().and_then(|run| run.identity);
    let gate = instance.holder.clone().map(|program| Gate::make(program, inode));
    let gate = gate.transpose().map_err(|error| at_gate(error.to_string()))?;
    let created = create(engine, recipe, instance, gate.as_ref().map(Gate::mount), name);
    let (id, name) = timings::of("engine: create", created).await?;
    let mut watch = tokio::spawn(watch(Arc::clone(engine), id.clone()));
    let started = match gate {
        None => start_attached(engine, &id, instance).await.map(|output| (output, None)),
        Some(gate) => start_held(engine, &id, gate, instance, &mut watch)
            .await
            .map(|(output, held)| (output, Some(held))),
    };
    let (output, held) = match started {
        Ok(started) => started,
        Err(stuck) => {
            watch.abort();
            remover.remove(id, Vec::new());
            return Err(match stuck {
                Stuck::Before(error) => start_error(engine, recipe, instance, &error),
                Stuck::AtGate(cause) => at_gate(cause),
                Stuck::Exchanged => BackendError::Lost {
                    cause: "another directory stands in the place of the attempt's".to_owned(),
                },
            });
        }
    };
    let container = Container {
        engine: Arc::clone(engine),
        remover: Arc::clone(remover),
        id,
        name,
        python: recipe.python.clone(),
        volumes: Vec::new(),
        ownership: None,
        is_attached: held.is_none() || instance.is_attached,
        watch,
        end: None,
        account: Account::of(held.is_some(), recipe.container.has(Part::Init)),
        held,
        starvation: Starvation::default(),
        memory_limit: recipe.container.memory,
        opened_at: None,
        recheck: Duration::from_millis(50),
        disposal: Disposal::Removal,
    };
    Ok(Running::new(container, output))
}

/// Why a container did not start a session.
enum Stuck {
    /// The container was not started.
    Before(Error),
    /// The container did not reach its gate.
    AtGate(String),
    /// The container had another directory than the one that was made for it.
    Exchanged,
}

fn at_gate(cause: String) -> BackendError {
    BackendError::Refused {
        verb: "hold a container at its gate".to_owned(),
        cause,
    }
}

async fn attach(engine: &Engine, id: &str) -> Result<Output, Error> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .build();
    // Podman prepares the container, and finds that there is no such program, when it is attached to.
    let attached = engine.docker.attach_container(id, Some(options)).await?;
    let engine = engine.clone();
    let pieces = attached.output.map(move |piece| {
        piece
            .map(LogOutput::into_bytes)
            .map_err(|error| engine.explain("read the output", &error).to_string())
    });
    Ok(pieces.boxed())
}

/// Starts a session that is not held: its directory can be compared with the one that was made only before and after.
async fn start_attached(engine: &Engine, id: &str, instance: &Instance) -> Result<Output, Stuck> {
    let run = instance.run.as_ref().filter(|_| engine.is_here());
    let expected = run.and_then(|run| Some((run.dir.as_path(), run.identity?)));
    let is_in_place =
        || expected.is_none_or(|(dir, inode)| dir.symlink_metadata().is_ok_and(|found| Identity::of(&found) == inode));
    if !is_in_place() {
        return Err(Stuck::Exchanged);
    }
    let output = attach(engine, id).await.map_err(Stuck::Before)?;
    engine.docker.start_container(id, None).await.map_err(Stuck::Before)?;
    let is_mounted = match expected {
        None => true,
        Some((_, inode)) => is_mounted(first_process(engine, id).await, inode).await,
    };
    if is_mounted && is_in_place() {
        Ok(output)
    } else {
        Err(Stuck::Exchanged)
    }
}

/// Whether the container sees the directory that was made for it, as far as this process may look.
async fn is_mounted(first: Option<i32>, inode: Identity) -> bool {
    let Some(first) = first else { return true };
    let found = tokio::task::spawn_blocking(move || proc::seen_by(first, RUN_DIR).metadata()).await;
    !matches!(found, Ok(Ok(found)) if Identity::of(&found) != inode)
}

async fn start_held(
    engine: &Engine,
    id: &str,
    gate: Gate,
    instance: &Instance,
    watch: &mut JoinHandle<End>,
) -> Result<(Output, Held), Stuck> {
    let attached = if instance.is_attached {
        Some(attach(engine, id).await.map_err(Stuck::Before)?)
    } else {
        None
    };
    let start = timings::of("engine: start", engine.docker.start_container(id, None));
    start.await.map_err(Stuck::Before)?;
    let first = timings::of("engine: process 1", first_process(engine, id)).await;
    let arrived = tokio::select! {
        held = gate.arrival(first) => held,
        _ = watch => Err("it ended at once".to_owned()),
    };
    let mut held = arrived.map_err(Stuck::AtGate)?;
    let output = match attached {
        Some(output) => output,
        None => held.pipe().map_err(|error| Stuck::AtGate(error.to_string()))?,
    };
    Ok((output, held))
}

/// Process 1 of a container, as the engine counts; `None` where it does not run, or the engine does not say.
pub(super) async fn first_process(engine: &Engine, id: &str) -> Option<i32> {
    let pid = state(engine, id).await.ok()?.pid?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

async fn create(
    engine: &Engine,
    recipe: &Recipe,
    instance: &Instance,
    gate: Option<&GateMount>,
    name: &str,
) -> Result<(String, String), BackendError> {
    let mut tries = 0;
    loop {
        // The name is for the reader of `docker ps`; what finds a container again is its labels.
        let unique = if tries == 0 {
            name.to_owned()
        } else {
            format!("{name}-{tries}")
        };
        let options = CreateContainerOptionsBuilder::default().name(&unique).build();
        let body = recipe.body(instance, gate);
        match engine.docker.create_container(Some(options), body).await {
            Ok(created) => return Ok((created.id, unique)),
            Err(error) if is_conflict(&error) && tries < 20 => tries += 1,
            Err(error) if is_not_found(&error) => {
                return Err(BackendError::ImageMissing {
                    image: recipe.image.clone(),
                });
            }
            Err(error) => return Err(engine.explain("create the container", &error)),
        }
    }
}

/// Tells a missing program from other errors of the start by the engine's words, which differ from runtime to runtime.
fn start_error(engine: &Engine, recipe: &Recipe, instance: &Instance, error: &Error) -> BackendError {
    let program = instance.argv.first().map_or("", String::as_str);
    match engine.explain("start the container", error) {
        BackendError::Refused { cause, .. }
            if cause.contains(program)
                && [
                    "executable file not found",
                    "no such file or directory",
                    "not found in $PATH",
                ]
                .iter()
                .any(|words| cause.contains(words)) =>
        {
            BackendError::ProgramMissing {
                program: program.to_owned(),
                image: recipe.image.clone(),
            }
        }
        other => other,
    }
}
