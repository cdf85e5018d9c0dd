//! A shell on this machine with the variables that local sessions of a sweep get.

use std::path::PathBuf;
use std::process::Command;

use super::environment::Environment;
use super::{Attempt, BackendError, Plugin, Tell, packages, toolchain};
use crate::model::Spec;

/// The user's shell, ready to be executed: in the sweep's directory, with the variables of an attempt.
///
/// # Errors
/// There is no Python to be found on this machine, or pytest cannot be fetched for it.
pub async fn local_shell(
    spec: &Spec,
    plugin: Option<&Plugin>,
    attempt: &Attempt,
    tell: Tell<'_>,
) -> Result<Command, BackendError> {
    let caller = |name: &str| std::env::var(name).ok();
    let report = toolchain::examine(&spec.directory, &[]).await?;
    let mut modules = Vec::new();
    if let Some(plugin) = plugin {
        modules.push(packages::keep_plugin(plugin)?.to_string_lossy().into_owned());
    }
    if let Some(fetched) = packages::complete(&report, spec.host_requirements.as_deref(), plugin, tell).await? {
        modules.push(fetched.dir.to_string_lossy().into_owned());
    }
    let mut environment = Environment::of(spec, caller, caller);
    environment.prepend_path("PYTHONPATH", &modules, caller("PYTHONPATH").as_deref());
    let shell = caller("SHELL").filter(|shell| !shell.is_empty());
    let mut command = Command::new(shell.unwrap_or_else(|| "sh".to_owned()));
    command.current_dir(&spec.directory);
    for (name, below) in &attempt.dir_env {
        command.env(name, attempt.dir.join(below).components().collect::<PathBuf>());
    }
    command.envs(environment.iter());
    command.envs(attempt.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}
