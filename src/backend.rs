//! Where an attempt executes: the one place a container is touched.
//!
//! A backend starts a session and hands over its output; it does not know what a test, a signature or a
//! recorded iteration is. Deadlines belong to `iteration`, files to `store`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

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

    /// Whether attempts can be started now.
    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Waits until what ended sessions ran in has been removed.
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

/// A session that has been started. Dropping it leaves no process and no container behind, as far as can be done without waiting.
pub trait Session: Send {
    /// The next piece of what it prints, stdout and stderr as they come; `None` once its process has ended and
    /// everything has been delivered. May be dropped and called again without losing output.
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>>;

    /// Sends a signal to every process of the session, without waiting for its effect.
    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Reads the facts of a session whose output has ended, and removes what it ran in.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>>;
}

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
}

/// Why a backend could not do its work. Each variant is one the runner or a message treats in its own way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No daemon answers.
    #[error("no container engine answers at `{socket}`: {cause}")]
    Unreachable {
        /// Where one was expected.
        socket: String,
        /// What happened instead.
        cause: String,
    },
    /// The socket is there, but not for this user.
    #[error("no permission to use the container engine at `{socket}`")]
    Forbidden {
        /// The socket.
        socket: String,
    },
    /// The image is not on this host.
    #[error("image `{image}` is not on this host")]
    ImageMissing {
        /// The image as named.
        image: String,
    },
    /// The command's program is not in the image.
    #[error("`{program}` is not in image `{image}`")]
    ProgramMissing {
        /// The program.
        program: String,
        /// The image.
        image: String,
    },
    /// Something the sessions need is not in the image, or not on this machine.
    #[error("{what}")]
    Unfit {
        /// What is missing where.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// No space is left for a container.
    #[error("no space left for a container: {cause}")]
    DiskFull {
        /// The engine's words.
        cause: String,
    },
    /// The container or the engine went away under the attempt.
    #[error("lost the session: {cause}")]
    Lost {
        /// What happened.
        cause: String,
    },
    /// The engine refused for another reason.
    #[error("failed to {verb}: {cause}")]
    Refused {
        /// What was asked of it.
        verb: String,
        /// The engine's words.
        cause: String,
    },
}

impl BackendError {
    /// What the user can do, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            BackendError::Unreachable { .. } => {
                Some("start the Docker service, set DOCKER_HOST, or use --backend local".to_owned())
            }
            BackendError::Forbidden { .. } => Some(
                "add yourself to the group that owns the socket (usermod -aG docker $USER), or use --backend local"
                    .to_owned(),
            ),
            BackendError::ImageMissing { image } => Some(format!("docker pull {image}, or use --image host")),
            BackendError::ProgramMissing { .. } => {
                Some("use an image with Python 3 and pytest, or --image host".to_owned())
            }
            BackendError::Unfit { hint, .. } => hint.clone(),
            BackendError::DiskFull { .. } => {
                Some("free space where the engine keeps its data (docker info, docker system df)".to_owned())
            }
            BackendError::Lost { .. } | BackendError::Refused { .. } => None,
        }
    }
}

/// stub
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Leftover { pub name: String, pub sweep: String }
#[allow(missing_docs,clippy::unused_async)] pub async fn leftovers() -> Result<Vec<Leftover>, BackendError> { todo!() }
#[allow(missing_docs,clippy::unused_async)] pub async fn remove_leftover(_: &Leftover) -> Result<(), BackendError> { todo!() }
#[allow(missing_docs,clippy::unused_async)] pub async fn ping_engine() -> Result<(), BackendError> { todo!() }
#[allow(missing_docs,clippy::unused_async)] pub async fn open(_: &crate::model::Spec) -> Result<std::sync::Arc<dyn Backend>, BackendError> { todo!() }
#[allow(missing_docs)] pub fn node() -> String { todo!() }
#[allow(missing_docs)] pub fn equivalent_docker_run(_: &crate::model::Spec, _: &[String], _:u32, _: &std::path::Path) -> Vec<String> { todo!() }
