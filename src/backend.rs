//! Where an attempt executes: the one place a container is touched.
//!
//! A backend starts a session and hands over its output; it does not know what a test, a signature or a
//! recorded iteration is. Deadlines belong to `sweep::iteration`, files to `run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::judge::pytest::trail;
use crate::judge::starvation::{Means, Window};
use crate::judge::{Kept, Usage};
use crate::run::AttemptDirs;
use crate::spec::{BackendKind, Perturbation, Spec};

mod autopsy;
mod cores;
mod creator;
mod debugger;
mod deferred;
pub mod docker;
mod environment;
mod error;
mod host;
mod known;
pub mod leftovers;
mod local;
mod no_backend;
mod noise;
mod one_core;
mod output;
mod packages;
mod podman;
mod session;
mod toolchain;

pub use autopsy::{AfterAutopsy, Autopsy};
pub use creator::{Creator, Fate, host_name};
pub use deferred::Deferred;
pub use error::BackendError;
pub use local::local_shell;
pub use no_backend::NoBackend;
pub use podman::PodmanService;

/// A pytest plugin that is put beside whatever the sessions run in, as one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Name it is imported by.
    pub module: String,
    pub source: String,
}

impl Plugin {
    /// The plugin that writes the trail, unless the sweep runs without a trail.
    pub fn of(spec: &Spec) -> Option<Plugin> {
        spec.trail.then(|| Plugin {
            module: trail::PLUGIN_MODULE.to_owned(),
            source: trail::PLUGIN_SOURCE.to_owned(),
        })
    }
}

/// This tool's directory in the user's cache, where it can be believed.
pub fn cache() -> Option<PathBuf> {
    packages::cache().ok()
}

/// Says what is being prepared while the user waits, such as packages being fetched.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Makes the backend of a sweep ready: finds the engine and the image, or the Python of this machine, and
/// resolves what its sessions get, the caller's own variables included. Starts no session.
///
/// # Errors
/// Whatever would break every iteration and can be known without running anything in it.
pub async fn open(spec: &Spec, plugin: Option<&Plugin>, tell: Tell<'_>) -> Result<Arc<dyn Backend>, BackendError> {
    Ok(match spec.backend {
        BackendKind::Docker => Arc::new(docker::open(spec, plugin, tell).await?),
        BackendKind::Local => Arc::new(local::open(spec, plugin, tell).await?),
    })
}

/// Has the engine of a sweep fetch an image from its registry, without credentials.
///
/// # Errors
/// No engine, or the registry's own words.
pub async fn pull(spec: &Spec, image: &str) -> Result<(), BackendError> {
    docker::pull(spec, image).await
}

/// Conditions by name that have no effect, a sentence each, for the user: by what the sweep itself is, and by where it runs.
fn ineffective(spec: &Spec, here: &[(Perturbation, String)]) -> Vec<String> {
    let own = spec.without_effect().into_iter();
    let own = own.map(|(condition, cause)| (condition, cause.to_owned()));
    own.chain(here.iter().cloned())
        .map(|(condition, cause)| format!("the condition {condition} has no effect: {cause}"))
        .collect()
}

/// A place where attempts execute.
pub trait Backend: Send + Sync {
    /// Runs `python3 -m pytest --version` in the very place the attempts will run in and says what is there.
    ///
    /// # Errors
    /// Whatever would break every iteration: no daemon, no rights, no image, no pytest.
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>>;

    /// Starts one session; its output has not been read yet and none of it can be lost.
    ///
    /// # Errors
    /// The world broke before the session began.
    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>>;

    /// Keeps the cores busy that the sweep asks for, until `close`; called once, before the first attempt. `sweep` is
    /// the sweep's directory.
    ///
    /// # Errors
    /// This backend cannot keep cores busy here; the error says why.
    fn make_noise<'a>(&'a self, sweep: &'a Path) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = sweep;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Conditions that the sweep asks for and that cannot be had here, with the reason; those that follow from the
    /// specification alone are not among them.
    fn without_effect(&self) -> Vec<(Perturbation, String)> {
        Vec::new()
    }

    /// Whether attempts can be made ready ahead of their turn.
    fn is_ahead(&self) -> bool {
        false
    }

    /// Whether the probe has to start a container, and the first attempt's can be made ready beside it.
    fn is_probed_beside(&self) -> bool {
        false
    }

    /// Creates an attempt's container ahead of the attempt's turn and stops before pytest. `None` where this backend
    /// prepares nothing, or preparing failed: `start` then does all of the work, and says what is wrong.
    fn prepare<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Option<Box<dyn Prepared>>> {
        let _ = attempt;
        Box::pin(std::future::ready(None))
    }

    /// Whether attempts can be started now; asked after an attempt was lost, to tell a broken attempt from a broken
    /// engine.
    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Waits, within bounds, until the containers and volumes of ended sessions have been removed in the background.
    /// Called once, before the process ends.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Identity of what will run: the engine's image id, or a digest of the host's toolchain.
    pub image_id: String,
    /// `python`, `pytest`, and each distribution that pytest loads as a plugin (`pytest-xdist`, …), with versions.
    pub versions: BTreeMap<String, String>,
    /// What the user should know, such as that pytest was fetched into the cache.
    pub notes: Vec<String>,
}

/// One attempt, as a backend sees it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Directory of the sweep, absolute; part of a container's labels.
    pub sweep: PathBuf,
    pub iteration: u32,
    /// Name of the attempt, unique among all hosts: `run007.<host>-<pid>-<n>`.
    pub name: String,
    /// Directory that receives what the tests write, absolute.
    pub dir: PathBuf,
    /// `dir` held open, and beside it the tool's own directory; `None` where nothing is run, as for `--dry-run`. A session
    /// gets the directory that was made, and no other directory that has taken its name since.
    pub dirs: Option<AttemptDirs>,
    /// Directories of sweeps, absolute, that no session is to write to although its workspace holds them.
    pub guarded: Vec<PathBuf>,
    /// pytest's command, without a shell; `argv[0]` is `python3`.
    pub argv: Vec<String>,
    /// Variables set by us for this attempt, such as `REPRODUCE_FLAKY_ITERATION`.
    pub env: Vec<(String, String)>,
    /// Variables whose value is a path below `dir`, given relative to it (empty: `dir` itself). The backend
    /// puts the place where the session sees `dir` in front.
    pub dir_env: Vec<(String, String)>,
}

/// An attempt that was made ready. Dropping the value removes what was made, as far as can be done without waiting.
pub trait Prepared: Send {
    /// Starts the session: from here on it runs, and its time counts.
    ///
    /// # Errors
    /// The container that was made ready is gone; none of the session has run.
    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Session>, BackendError>>;
}

/// A session that has been started. Dropping the value ends the session's processes and removes its container, as far as
/// can be done without waiting.
pub trait Session: Send {
    /// The next piece of the session's output, stdout and stderr as they come; `None` once the session's process has
    /// ended and all output has been delivered. The future may be dropped without losing output.
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>>;

    /// Sends a signal, without waiting for its effect. TERM reaches the session's own process (and, in a process
    /// group, all of it); KILL every process of the session. After a KILL `output` ends within
    /// [`KILL_WAIT`], even if the kernel cannot end the process.
    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Writes what a hung session is doing below `dirs.own`, within `budget` and before any signal is sent. The session
    /// may go on afterwards, or end. Sessions without processes, as in tests, have nothing to look at.
    fn autopsy<'a>(
        &'a mut self,
        dirs: &'a AttemptDirs,
        budget: Duration,
        after: AfterAutopsy,
    ) -> BoxFuture<'a, Autopsy> {
        let _ = (dirs, budget, after);
        Box::pin(std::future::ready(Autopsy::default()))
    }

    /// For how long anything of the session has been stopped so far by a condition that it runs under. Such a time is no
    /// silence, and counts against no deadline.
    fn stopped(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether output of the session would have reached us by now. An engine that the output comes through may have stood
    /// still: then the silence is the engine's, and the session's output is on its way.
    fn is_heard(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }

    /// Whether the session can be left running when its time is over.
    fn can_be_kept(&self) -> bool {
        false
    }

    /// Leaves the session running for a time, after which it is ended; `finish` is the next call.
    ///
    /// # Errors
    /// The session cannot be left running; nothing about it has changed.
    fn keep(&mut self, time: Duration) -> BoxFuture<'_, Result<Kept, BackendError>> {
        let _ = time;
        Box::pin(std::future::ready(Err(cannot_be_kept())))
    }

    /// Reads the facts of a session whose output has ended, makes the session's files the caller's, and has the container
    /// removed in the background.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>>;
}

/// Why a session that runs in no container is not left running.
fn cannot_be_kept() -> BackendError {
    BackendError::Unfit {
        what: "a session of this machine is not kept: nothing would end it afterwards".to_owned(),
        hint: None,
    }
}

/// Longest wait for a killed session to be gone: a process in an uninterruptible sleep may never be.
pub const KILL_WAIT: Duration = Duration::from_secs(10);

/// What a session is sent from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Kill,
}

/// How a session ended, as the engine or the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// Whether the session is known to have exited with this code, and of no signal, though the code is above 128.
    pub has_exited: bool,
    /// Whether the signal is known to have come from the session itself.
    pub is_own_signal: bool,
    /// Whether the memory limit killed a process of the session.
    pub oom_killed: bool,
    /// What the engine said about the end.
    pub error: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub usage: Option<Usage>,
    /// How it was starved, and what was stopped when.
    pub starved: Means,
    pub windows: Vec<Window>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Deadlines;

    /// A sweep of an image that runs nothing in particular.
    pub(super) fn spec(image: &str) -> Spec {
        Spec {
            tool: "test".to_owned(),
            image: image.to_owned(),
            trail: false,
            directory: PathBuf::from("/"),
            deadlines: Deadlines {
                total_s: 60.0,
                ..Deadlines::default()
            },
            ..Spec::default()
        }
    }
}
