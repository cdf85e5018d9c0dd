//! A process group of this machine as what a session runs as, from its start to its last orphan.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::backend::autopsy::native::Seen;
use crate::backend::autopsy::{Access, Program};
use crate::backend::session::{Course, Execution};
use crate::backend::{BackendError, Ended, KILL_WAIT, Signal};
use crate::proc;
use crate::run::Scratch;

/// How long a session that is dropped may hold this process up.
const DROP: Duration = Duration::from_secs(1);
/// A pipe's worth of output.
const PIECE: usize = 64 << 10;

/// A process group.
pub(super) struct Group {
    child: Child,
    /// The group's leader, whose number is the group's.
    leader: Option<Pid>,
    /// Tells that a child of this process has ended, whichever.
    ends: tokio::signal::unix::Signal,
    /// Ends what has left the group.
    ending: Option<JoinHandle<()>>,
    /// The variable that every process of the session was started with.
    mark: String,
    python: PathBuf,
    status: Option<ExitStatus>,
    started_at: chrono::DateTime<Utc>,
    finished_at: Option<chrono::DateTime<Utc>>,
    temporary: Option<Scratch>,
}

impl Group {
    /// The group that a child leads which was just started.
    pub(super) fn of(
        child: Child,
        ends: tokio::signal::unix::Signal,
        mark: String,
        python: PathBuf,
        temporary: Scratch,
    ) -> Group {
        Group {
            leader: child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw),
            child,
            ends,
            ending: None,
            mark,
            python,
            status: None,
            started_at: Utc::now(),
            finished_at: None,
            temporary: Some(temporary),
        }
    }

    /// As in a container, what is left of a session ends with its main process; else it would hold the pipe open.
    fn reap(&mut self) -> Result<(), BackendError> {
        // Before the leader is reaped: until then the group's number is nobody else's.
        self.kill_all();
        let status = self.child.try_wait();
        let lost = |cause: String| BackendError::Lost {
            cause: format!("failed to wait for the session: {cause}"),
        };
        let status = status.map_err(|error| lost(error.to_string()))?;
        self.status = Some(status.ok_or_else(|| lost("it has ended, and yet has not".to_owned()))?);
        self.finished_at = Some(Utc::now());
        Ok(())
    }

    fn kill_all(&mut self) {
        self.kill_group();
        let mark = self.mark.clone();
        self.ending = Some(tokio::task::spawn_blocking(move || kill_marked(&mark)));
    }

    fn kill_group(&self) {
        if let Some(group) = self.leader.filter(|_| self.status.is_none()) {
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Waits until a child has ended, and leaves it to be reaped.
async fn has_ended(child: Option<Pid>, ends: &mut tokio::signal::unix::Signal) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while let Some(child) = child
        && matches!(waitid(WaitId::Pid(child), options), Ok(None))
    {
        ends.recv().await;
    }
}

impl Execution for Group {
    /// Everything of the session has been killed.
    const DRAIN: Duration = Duration::from_secs(2);

    async fn news(&mut self, _course: &Course) -> Result<(), BackendError> {
        has_ended(self.leader, &mut self.ends).await;
        self.reap()
    }

    fn has_ended(&self) -> bool {
        self.status.is_some()
    }

    async fn send(&mut self, signal: Signal) -> Result<(), BackendError> {
        // Once the leader has been waited for its number may belong to somebody else.
        if let Some(group) = self.leader.filter(|_| self.status.is_none()) {
            match signal {
                Signal::Term => {
                    let _ = kill_process_group(group, rustix::process::Signal::TERM);
                }
                Signal::Kill => self.kill_all(),
            }
        }
        Ok(())
    }

    fn access(&self) -> Box<dyn Access> {
        Box::new(GroupAccess {
            python: self.python.clone(),
            mark: self.mark.clone(),
        })
    }

    async fn facts(&mut self, _course: &Course) -> Result<Ended, BackendError> {
        if self.status.is_none()
            && tokio::time::timeout(KILL_WAIT, has_ended(self.leader, &mut self.ends))
                .await
                .is_ok()
        {
            self.reap()?;
        }
        if let Some(ending) = self.ending.take() {
            let _ = tokio::time::timeout(KILL_WAIT, ending).await;
        }
        let ended = Ended {
            started_at: Some(self.started_at),
            finished_at: self.finished_at,
            ..Ended::default()
        };
        Ok(match self.status {
            Some(status) => Ended {
                code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
                signal: status.signal(),
                has_exited: status.signal().is_none(),
                ..ended
            },
            None => Ended {
                error: Some(format!(
                    "the process could not be ended within {} s",
                    KILL_WAIT.as_secs()
                )),
                ..ended
            },
        })
    }

    async fn remove(mut self) {
        if let Some(temporary) = self.temporary.take() {
            // A large one takes a while; a file that cannot be removed is no reason to lose the answer.
            let _ = tokio::task::spawn_blocking(move || drop(temporary)).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill_group();
            // There may be no time left for a task; nor may this wait for long.
            let (done, is_done) = std::sync::mpsc::channel();
            let mark = std::mem::take(&mut self.mark);
            std::thread::spawn(move || {
                kill_marked(&mark);
                let _ = done.send(());
            });
            let _ = is_done.recv_timeout(DROP);
        }
    }
}

/// How an autopsy reaches the processes of a session on this machine.
struct GroupAccess {
    python: PathBuf,
    mark: String,
}

impl Access for GroupAccess {
    fn python(&self, arguments: Vec<String>) -> BoxFuture<'_, Result<Program, String>> {
        let started = Command::new(&self.python)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let program = started
            .map_err(|error| format!("failed to run `{}`: {error}", self.python.display()))
            .and_then(|mut child| {
                let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("it has no pipes")?;
                // The child goes with the stream, so that it ends when nobody reads it any more.
                let pieces = futures_util::stream::unfold((child, output), |(child, mut output)| async move {
                    let mut piece = BytesMut::with_capacity(PIECE);
                    let read = output.read_buf(&mut piece).await.unwrap_or(0);
                    (read > 0).then(|| (piece.freeze(), (child, output)))
                });
                Ok(Program {
                    output: Box::pin(pieces),
                    input: Box::pin(input),
                })
            });
        std::future::ready(program).boxed()
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>> {
        let mark = self.mark.clone();
        async move {
            let look = move || marked(&mark).map(|pid| Seen::new(pid, pid)).collect();
            let found = tokio::task::spawn_blocking(look).await;
            found.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn is_its_own(&self) -> bool {
        false
    }
}

fn kill_marked(mark: &str) {
    for pid in marked(mark).filter_map(Pid::from_raw) {
        let _ = kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Processes that carry the mark in their environment, wherever they have gone.
fn marked(mark: &str) -> impl Iterator<Item = i32> {
    proc::pids().into_iter().filter(move |pid| proc::was_given(*pid, mark))
}
