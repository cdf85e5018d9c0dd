//! The `docker run -it` line that opens a shell where the sessions of a sweep run.

use super::recipe::WORKSPACE;
use crate::backend::host::Bind;
use crate::backend::{Attempt, Backend as _, BackendError, Plugin, Tell};
use crate::spec::{Spec, Workspace};

/// Finds the better of two shells, inside, where only the image knows which there are.
const SHELL: [&str; 3] = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"];

/// The words of a `docker run` that is the container of an attempt, with a shell in place of pytest; on a terminal if
/// `is_terminal`. The image is there afterwards, also that of `--image host`. A pristine workspace is mounted
/// read-only: nothing would remove a copy of it afterwards.
///
/// # Errors
/// No engine answers, the image is not there, or there is no Python to be found.
pub async fn interactive_docker_run(
    spec: &Spec,
    plugin: Option<&Plugin>,
    attempt: &Attempt,
    is_terminal: bool,
    tell: Tell<'_>,
) -> Result<Vec<String>, BackendError> {
    let docker = Box::pin(super::make(spec, plugin, tell)).await?;
    // A container like it shows what home its user has, and which limits this engine may not set.
    let report = docker.examine().await;
    docker.close().await;
    let _ = docker.plan.home.set(report?.home);
    let attempt = Attempt {
        argv: SHELL.map(str::to_owned).to_vec(),
        ..attempt.clone()
    };
    let plan = &docker.plan;
    let mut instance = plan.session(&attempt);
    if spec.container.workspace == Workspace::Fresh {
        instance.binds.push(Bind::read_only(&spec.directory, WORKSPACE));
    }
    instance.unsupported = docker.unsupported();
    let recipe = &plan.recipe;
    let mut line = recipe.command_line(&recipe.image, &instance, &plan.secrets());
    // After `docker run`.
    line.insert(2, if is_terminal { "-it" } else { "-i" }.to_owned());
    Ok(line)
}
