//! A shell on this machine with the variables that local sessions of a sweep get.

use std::process::Command;

use super::{caller, give, prepare};
use crate::backend::{Attempt, BackendError, Plugin, Tell};
use crate::spec::Spec;

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
    let python = prepare(spec, plugin, tell).await?;
    let shell = caller("SHELL").filter(|shell| !shell.is_empty());
    let mut command = Command::new(shell.unwrap_or_else(|| "sh".to_owned()));
    command.current_dir(&spec.directory);
    give(&mut command, &python.environment, attempt);
    Ok(command)
}
