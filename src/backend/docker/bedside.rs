//! How the processes of a container are got at: programs run in it by the engine, and its processes as this machine
//! numbers them.

use std::path::Path;
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use super::engine::Engine;
use crate::backend::autopsy::native::{self, Seen};
use crate::backend::autopsy::{Bedside, Program};
use crate::backend::cores::Origin;

/// Largest file that is copied out of a container for a debugger.
const MOST_COPIED: usize = 512 << 20;

/// A running container.
pub(super) struct Container {
    pub(super) engine: Arc<Engine>,
    pub(super) id: String,
    /// Its Python, as it is called.
    pub(super) python: String,
}

impl Container {
    async fn run(&self, arguments: Vec<String>) -> Result<Program, String> {
        let failed = |error: bollard::errors::Error| {
            let error = self.engine.explain("run a program in the container", &error);
            format!("nothing could be looked at from inside: {error}")
        };
        let command: Vec<String> = std::iter::once(self.python.clone()).chain(arguments).collect();
        let options = CreateExecOptions {
            cmd: Some(command),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            ..CreateExecOptions::default()
        };
        let docker = &self.engine.docker;
        let exec = docker.create_exec(&self.id, options).await.map_err(failed)?;
        match docker
            .start_exec(&exec.id, None::<StartExecOptions>)
            .await
            .map_err(failed)?
        {
            StartExecResults::Attached { output, input } => Ok(Program {
                output: output
                    .filter_map(async |piece| piece.ok().map(LogOutput::into_bytes))
                    .boxed(),
                input,
            }),
            StartExecResults::Detached => Err("nothing could be looked at from inside: it was not attached".to_owned()),
        }
    }
}

impl Origin for Container {
    fn copy<'a>(&'a self, path: &'a str, to: &'a Path) -> BoxFuture<'a, bool> {
        async move {
            let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
            let mut pieces = self.engine.docker.download_from_container(&self.id, Some(options));
            let mut archive = Vec::new();
            while let Some(Ok(piece)) = pieces.next().await {
                archive.extend_from_slice(&piece);
                if archive.len() > MOST_COPIED {
                    return false;
                }
            }
            let unpacked = || -> std::io::Result<()> {
                let mut archive = tar::Archive::new(archive.as_slice());
                let mut entry = archive.entries()?.next().ok_or(std::io::ErrorKind::NotFound)??;
                std::io::copy(&mut entry, &mut std::fs::File::create(to)?)?;
                Ok(())
            };
            unpacked().is_ok()
        }
        .boxed()
    }
}

impl Bedside for Container {
    fn python(&self, arguments: Vec<String>) -> BoxFuture<'_, Result<Program, String>> {
        self.run(arguments).boxed()
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>> {
        let id = self.id.clone();
        async move {
            if !self.engine.is_here() {
                return Err("no native stacks: the engine is on another machine".to_owned());
            }
            // A process in an uninterruptible sleep can block whoever reads about it, so not on a thread of ours.
            tokio::task::spawn_blocking(move || native::of_container(&id))
                .await
                .map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn is_its_own(&self) -> bool {
        true
    }
}
