//! How an autopsy reaches the processes of a container: the engine runs programs in the container, and this machine
//! numbers the container's processes.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use super::engine::Engine;
use crate::backend::autopsy::native::{self, Seen};
use crate::backend::autopsy::{Access, Program};
use crate::backend::cores::Origin;

/// Largest file that is copied out of a container for a debugger.
const MOST_COPIED: u64 = 512 << 20;

/// A running container.
pub(super) struct ContainerAccess {
    pub(super) engine: Arc<Engine>,
    pub(super) id: String,
    /// Its Python, as it is called.
    pub(super) python: String,
}

impl ContainerAccess {
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

impl Origin for ContainerAccess {
    fn copy<'a>(&'a self, path: &'a str, to: File, most: u64) -> BoxFuture<'a, Option<u64>> {
        async move {
            let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
            let mut pieces = self.engine.docker.download_from_container(&self.id, Some(options));
            let (sender, receiver) = mpsc::channel(4);
            let unpacked = tokio::task::spawn_blocking(move || {
                let left = Bytes::new();
                unpack(Pieces { receiver, left }, to, most.min(MOST_COPIED))
            });
            while let Some(Ok(piece)) = pieces.next().await {
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
            unpacked.await.ok()?.ok()
        }
        .boxed()
    }
}

/// Writes the one file of an archive, which is named by whoever asked for it.
fn unpack(archive: Pieces, mut to: File, most: u64) -> io::Result<u64> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries()?.next().ok_or(io::ErrorKind::NotFound)??;
    if !entry.header().entry_type().is_file() || entry.size() > most {
        return Err(io::ErrorKind::Unsupported.into());
    }
    io::copy(&mut entry, &mut to)
}

/// What comes from an engine, read where reading may wait.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    left: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.left = piece,
                None => return Ok(0),
            }
        }
        let length = self.left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.left.split_to(length));
        Ok(length)
    }
}

impl Access for ContainerAccess {
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
