//! The `docker run` line of one iteration, for whoever wants to run it without this tool.

use std::path::Path;

use anyhow::Context as _;

use crate::backend::{self, Plugin};
use crate::run;
use crate::spec::Spec;
use crate::sweep::argv::argv;
use crate::sweep::iteration;

/// The line, quoted for a shell, with the caller's own variables by name only. `sweep` is the sweep's directory,
/// `writes_to` the directory that takes the place of the run's.
pub(super) fn line(spec: &Spec, sweep: &Path, iteration: u32, writes_to: &Path) -> anyhow::Result<String> {
    let argv = argv(spec);
    let name = run::run_name(iteration);
    let attempt = iteration::attempt(spec, &argv, sweep, iteration, &name, writes_to);
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let plugin = Plugin::of(spec);
    let words = runtime.block_on(backend::docker::equivalent_docker_run(spec, plugin.as_ref(), &attempt))?;
    Ok(shell_words::join(words))
}
