//! `--shell`: a shell where the run executed, in a fresh container or on this machine, takes this process's place.

use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use super::original::Original;
use super::replays::{configuration, gone, shell_attempt};
use crate::backend::{self, Plugin};
use crate::message::hinted;
use crate::spec::BackendKind;
use crate::sweep::argv;

/// The programs that understand the line, in the order in which they are tried.
const CLIENTS: [&str; 2] = ["docker", "podman"];

/// The shell, ready to be executed. Says how the failure is repeated in it.
pub(super) async fn command(original: &Original, asked: Option<&str>) -> anyhow::Result<Command> {
    let failure = match original.failure(asked) {
        Err(error) if asked.is_some() => return Err(error),
        // Without a failure the shell opens all the same, and repeats the tests of the sweep.
        found => found,
    };
    let tests = failure.as_ref().map_or(&[][..], |failure| failure.tests.as_slice());
    let spec = configuration(original, failure.as_ref().ok());
    let argv = argv::argv(&spec);
    let attempt = shell_attempt(original, &spec, &argv, tests)?;
    let plugin = Plugin::of(&spec);
    let tell = |news: &str| anstream::eprintln!("{news}");
    let command = match spec.backend {
        BackendKind::Local => backend::local_shell(&spec, plugin.as_ref(), &attempt, &tell).await?,
        BackendKind::Docker => {
            let is_terminal = io::stdin().is_terminal();
            let line = backend::docker::interactive_docker_run(&spec, plugin.as_ref(), &attempt, is_terminal, &tell);
            let line = line.await.map_err(|error| gone(original, error))?;
            let client = client()?;
            let mut command = Command::new(client);
            command.args(&line[1..]);
            command
        }
    };
    let what = match tests {
        [] => "the tests of the sweep".to_owned(),
        [test] => format!("`{test}`"),
        [before @ .., test] => format!(
            "`{test}` after {} before it",
            crate::stats::counted(before.len() as u64, "test", "tests")
        ),
    };
    anstream::eprintln!("in the shell, this runs {what}:\n  {}", shell_words::join(&argv));
    Ok(command)
}

/// Executes the shell in place of this process; returns only if that failed.
pub(super) fn become_it(mut command: Command) -> anyhow::Error {
    let name = command.get_program().to_string_lossy().into_owned();
    anyhow::Error::new(command.exec()).context(format!("failed to start `{name}`"))
}

fn client() -> anyhow::Result<&'static str> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    CLIENTS.iter().find(is_there).copied().ok_or_else(|| {
        hinted(
            "neither `docker` nor `podman` is on PATH",
            "a shell needs the engine's own client; install it",
        )
    })
}
