//! How the processes of a container are got at: programs run in it by the engine, and its processes as this machine
//! numbers them.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::engine::Engine;
use crate::backend::autopsy::Bedside;
use crate::backend::autopsy::native::{self, Seen};

/// A running container.
pub(super) struct Container {
    pub(super) engine: Arc<Engine>,
    pub(super) id: String,
    /// Its Python, as it is called.
    pub(super) python: String,
}

impl Container {
    async fn run(&self, arguments: Vec<String>, until: Instant) -> Result<Vec<u8>, String> {
        let failed = |error: bollard::errors::Error| {
            let error = self.engine.explain("run a program in the container", &error);
            format!("nothing could be looked at from inside: {error}")
        };
        let command: Vec<String> = std::iter::once(self.python.clone()).chain(arguments).collect();
        let options = CreateExecOptions {
            cmd: Some(command),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self
            .engine
            .docker
            .create_exec(&self.id, options)
            .await
            .map_err(failed)?;
        let started = self
            .engine
            .docker
            .start_exec(&exec.id, None::<StartExecOptions>)
            .await
            .map_err(failed)?;
        let StartExecResults::Attached { mut output, .. } = started else {
            return Err("nothing could be looked at from inside: the engine did not attach".to_owned());
        };
        let (mut printed, mut complaint) = (Vec::new(), Vec::new());
        while let Ok(Some(piece)) = tokio::time::timeout_at(until, output.next()).await {
            match piece {
                Ok(LogOutput::StdErr { message }) => complaint.extend_from_slice(&message),
                Ok(piece) => printed.extend_from_slice(&piece.into_bytes()),
                Err(_) => break,
            }
        }
        if printed.is_empty() && !complaint.is_empty() {
            let complaint = crate::backend::toolchain::last_line(&complaint).unwrap_or_default();
            return Err(format!("nothing could be looked at from inside: {complaint}"));
        }
        Ok(printed)
    }
}

impl Bedside for Container {
    fn python<'a>(&'a self, arguments: Vec<String>, patience: Duration) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        // A little less than the caller waits, so that what was printed until then is not lost.
        let until = Instant::now() + patience.saturating_sub(Duration::from_millis(100));
        self.run(arguments, until).boxed()
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
