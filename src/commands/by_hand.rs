//! The `docker run` line of one iteration, for whoever wants to run it without this tool.

use std::path::Path;

use anyhow::Context as _;

use super::sweep::plugin;
use crate::model::Spec;
use crate::{backend, iteration, pytest, store};

/// The line, quoted for a shell; variables that are the caller's own are in it by name. `sweep` is the sweep's
/// directory, `writes_to` the one that takes the place of the run's.
///
/// # Errors
/// `--image host`, and there is no Python to be found; a volume or limit that cannot be read.
pub(super) fn line(spec: &Spec, sweep: &Path, iteration: u32, writes_to: &Path) -> anyhow::Result<String> {
    let argv = pytest::argv::argv(spec.mode, spec.trail, &spec.pytest_args);
    let name = store::run_name(iteration);
    let attempt = iteration::attempt(spec, &argv, sweep, iteration, &name, writes_to);
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let plugin = plugin(spec);
    let words = runtime.block_on(backend::docker::equivalent_docker_run(spec, plugin.as_ref(), &attempt))?;
    Ok(shell_words::join(words))
}
