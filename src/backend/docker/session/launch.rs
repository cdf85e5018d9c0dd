//! A container is created, watched, and started: attached to, or as far as its gate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder};
use tokio::task::JoinHandle;

use super::{Disposal, End, Output, Running, watch};
use crate::backend::BackendError;
use crate::backend::docker::engine::{Engine, is_conflict, is_not_found};
use crate::backend::docker::gate::{Account, Gate, Held};
use crate::backend::docker::recipe::{Instance, Recipe};
use crate::backend::docker::removal::Remover;
use crate::model::spec::Recipe as Part;

/// Creates a container and starts it, attached and waited for beforehand: after the start of a program that ends
/// at once it would be too late for either. One with a gate is started as far as that, and prints past the engine.
pub(in crate::backend::docker) async fn launch(
    engine: &Arc<Engine>,
    remover: &Arc<Remover>,
    recipe: &Recipe,
    instance: &Instance,
    name: &str,
) -> Result<Running, BackendError> {
    let gate = instance.gate.as_ref().map(|place| Gate::make(&place.dir));
    let gate = gate.transpose().map_err(|error| at_gate(error.to_string()))?;
    let (id, name) = create(engine, recipe, instance, name).await?;
    let mut watch = tokio::spawn(watch(Arc::clone(engine), id.clone()));
    let started = match gate {
        None => start_attached(engine, &id).await.map(|output| (output, None)),
        Some(gate) => match start_held(engine, &id, gate, &mut watch).await {
            Err(Stuck::AtGate(cause)) => {
                watch.abort();
                remover.remove(id, Vec::new());
                return Err(at_gate(cause));
            }
            Err(Stuck::Before(error)) => Err(error),
            Ok(mut held) => Ok((held.output(), Some(held))),
        },
    };
    match started.map_err(|error| start_error(engine, recipe, instance, &error)) {
        Ok((output, held)) => Ok(Running {
            engine: Arc::clone(engine),
            remover: Arc::clone(remover),
            id,
            name,
            python: recipe.python.clone(),
            volumes: Vec::new(),
            ownership: None,
            cores: None,
            has_aborted: false,
            output,
            watch,
            end: None,
            held,
            account: Account::of(instance.gate.is_some(), recipe.container.has(Part::Init)),
            memory_limit: recipe.container.memory,
            opened_at: None,
            ahead: VecDeque::new(),
            is_drained: false,
            broke: None,
            recheck: Duration::from_millis(50),
            is_signalled: false,
            killed_at: None,
            drained_by: None,
            disposal: Disposal::Removal,
        }),
        Err(error) => {
            watch.abort();
            remover.remove(id, Vec::new());
            Err(error)
        }
    }
}

fn at_gate(cause: String) -> BackendError {
    BackendError::Refused {
        verb: "hold a container at its gate".to_owned(),
        cause,
    }
}

async fn start_attached(engine: &Engine, id: &str) -> Result<Output, Error> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .build();
    // Podman prepares the container, and finds that there is no such program, when it is attached to.
    let attached = engine.docker.attach_container(id, Some(options)).await?;
    engine.docker.start_container(id, None).await?;
    Ok(attached.output)
}

/// How far a container did not come.
enum Stuck {
    /// It was not started.
    Before(Error),
    /// It did not reach its gate.
    AtGate(String),
}

async fn start_held(engine: &Engine, id: &str, gate: Gate, watch: &mut JoinHandle<End>) -> Result<Held, Stuck> {
    engine.docker.start_container(id, None).await.map_err(Stuck::Before)?;
    let held = tokio::select! {
        held = gate.arrival() => held,
        _ = watch => Err("it ended at once".to_owned()),
    };
    held.map_err(Stuck::AtGate)
}

async fn create(
    engine: &Engine,
    recipe: &Recipe,
    instance: &Instance,
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
        match engine
            .docker
            .create_container(Some(options), recipe.body(instance))
            .await
        {
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

/// The engine has only words for a program that is not there, and runtimes word it in their own ways.
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
