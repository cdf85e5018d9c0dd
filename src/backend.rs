//! Where an attempt executes: the one place a container is touched.
//!
//! A backend starts a session and hands over its output; it does not know what a test, a signature or a
//! recorded iteration is. Deadlines belong to `iteration`, files to `store`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::model::{BackendKind, Kept, Spec, Usage};

mod autopsy;
mod cores;
mod creator;
pub mod docker;
mod elsewhere;
mod environment;
mod error;
mod host;
mod local;
mod noise;
mod packages;
mod podman;
mod shell;
mod toolchain;

pub use autopsy::{Autopsy, Then};
pub use creator::{Creator, Fate, host_name};
pub use elsewhere::Elsewhere;
pub use error::BackendError;
pub use podman::PodmanService;
pub use shell::local_shell;

/// A pytest plugin that is put beside whatever the sessions run in, as one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Name it is imported by.
    pub module: String,
    /// Its source.
    pub source: String,
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
    /// They cannot be.
    fn make_noise<'a>(&'a self, sweep: &'a Path) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = sweep;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether attempts can be made ready ahead of their turn.
    fn is_ahead(&self) -> bool {
        false
    }

    /// Makes everything of an attempt ready that can be without running any of it, ahead of its turn. `None` where
    /// that is nothing, or fails: the attempt is then to be started as ever, which also says what is wrong.
    fn prepare<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Option<Box<dyn Prepared>>> {
        let _ = attempt;
        Box::pin(std::future::ready(None))
    }

    /// Whether attempts can be started now; asked after one was lost, to tell a broken attempt from a broken world.
    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Waits, within bounds, until everything that ended sessions left behind has been removed. Called once,
    /// before the process ends: removal goes on in the background until then.
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
    /// Directory of the sweep, absolute; goes into a label.
    pub sweep: PathBuf,
    /// Number of the iteration.
    pub iteration: u32,
    /// Name of the attempt, unique among all hosts: `run007.<host>-<pid>-<n>`.
    pub name: String,
    /// Directory that receives what the tests write, absolute; it exists and is ours.
    pub dir: PathBuf,
    /// pytest's command, without a shell; `argv[0]` is `python3`.
    pub argv: Vec<String>,
    /// Variables set by us for this attempt, such as `REPRODUCE_FLAKY_ITERATION`.
    pub env: Vec<(String, String)>,
    /// Variables whose value is a path below `dir`, given relative to it (empty: `dir` itself). The backend
    /// puts the place where the session sees `dir` in front.
    pub dir_env: Vec<(String, String)>,
}

/// An attempt that was made ready. Dropping it leaves nothing behind, as far as can be done without waiting.
pub trait Prepared: Send {
    /// Starts the session: from here on it runs, and its time counts.
    ///
    /// # Errors
    /// What was made ready is not there any more; none of the session has run.
    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Session>, BackendError>>;
}

/// A session that has been started. Dropping it leaves no process and no container behind, as far as can be done without waiting.
pub trait Session: Send {
    /// The next piece of what it prints, stdout and stderr as they come; `None` once its process has ended and
    /// everything has been delivered. May be dropped and called again without losing output.
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>>;

    /// Sends a signal, without waiting for its effect. TERM reaches the session's own process (and, in a process
    /// group, all of it); KILL every process of the session. After a KILL `output` ends within
    /// [`KILL_WAIT`], even if the kernel cannot end the process.
    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Looks at what a hung session is doing and writes it below `run_dir`, within `budget` and before anything is
    /// sent to end it. The session may go on afterwards, or end. A session that runs nowhere leaves nothing to see.
    fn autopsy<'a>(&'a mut self, run_dir: &'a Path, budget: Duration, then: Then) -> BoxFuture<'a, Autopsy> {
        let _ = (run_dir, budget, then);
        Box::pin(std::future::ready(Autopsy::default()))
    }

    /// Whether it can be left running when its time is over.
    fn can_be_kept(&self) -> bool {
        false
    }

    /// Leaves the session as it is for so long, with somebody in place to end it then; `finish` is the next call.
    ///
    /// # Errors
    /// It cannot be left, and is as it was.
    fn keep(&mut self, time: Duration) -> BoxFuture<'_, Result<Kept, BackendError>> {
        let _ = time;
        let what = "a session of this machine is not kept: nothing would end it afterwards".to_owned();
        Box::pin(std::future::ready(Err(BackendError::Unfit { what, hint: None })))
    }

    /// Reads the facts of a session whose output has ended, hands the files it wrote to the caller, and removes
    /// what it ran in, the last in the background.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>>;
}

/// Longest wait for a killed session to be gone: a process in an uninterruptible sleep may never be.
pub const KILL_WAIT: Duration = Duration::from_secs(10);

/// What a session is sent from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end.
    Term,
    /// Ends it.
    Kill,
}

/// How a session ended, as the engine or the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Whether the memory limit killed a process of it.
    pub oom_killed: bool,
    /// What the engine said about its end.
    pub error: Option<String>,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it used.
    pub usage: Option<Usage>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Deadlines, Mode};

    /// A sweep of an image that runs nothing in particular.
    pub(super) fn spec(image: &str) -> Spec {
        Spec {
            format: 1,
            tool: "test".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            mode: Mode::Serial,
            tag: None,
            first: 1,
            last: 1,
            jobs: 1,
            backend: BackendKind::Docker,
            image: image.to_owned(),
            image_id: None,
            versions: BTreeMap::new(),
            pytest_args: Vec::new(),
            trail: false,
            directory: PathBuf::from("/"),
            env: Vec::new(),
            pass_env: Vec::new(),
            output_env: "DYN_TEST_OUTPUT_PATH".to_owned(),
            host_requirements: None,
            container: crate::model::spec::Container::default(),
            deadlines: Deadlines {
                total_s: 60.0,
                silence_s: None,
                silence_auto: false,
                keep_s: None,
                grace_s: 10.0,
            },
            max_attempts: 3,
            arm: None,
            placing: None,
            ended: None,
        }
    }
}
