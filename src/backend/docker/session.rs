//! A container from its start to its removal, as what a session runs as: how it ended is read from the engine's own
//! account, and from that of the container's process 1 where the tool's own program is process 1.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::query_parameters::KillContainerOptionsBuilder;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::access::ContainerAccess;
use super::engine::{Engine, is_conflict, is_not_found};
use super::gate::{Account, EndReport, Held, Starvation};
use super::ownership::Ownership;
use super::removal::Remover;
use crate::backend::autopsy::Access;
use crate::backend::cores::Origin;
use crate::backend::session::{self, Course, Execution};
use crate::backend::{BackendError, Ended, KILL_WAIT, Signal};
use crate::judge::Kept;

mod end;
mod keep;
mod launch;

use end::{End, ended, is_running, killed_by_others, state, told};

use launch::first_process;
pub(super) use launch::launch;

/// A session in a container.
pub(super) type Running = session::Running<Container>;

/// An engine that takes longer to say that it is there has stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// A container that has been started.
pub(super) struct Container {
    engine: Arc<Engine>,
    remover: Arc<Remover>,
    id: String,
    name: String,
    /// The Python in the container, as it is called.
    python: String,
    volumes: Vec<String>,
    ownership: Option<Ownership>,
    /// Whether the output comes through the engine.
    is_attached: bool,
    watch: JoinHandle<End>,
    end: Option<End>,
    /// The gate that the container was held at, which tells of the session's end before the engine does.
    held: Option<Held>,
    account: Account,
    /// What process 1 told of threads that it stopped, once there is no more to be told.
    starvation: Starvation,
    memory_limit: Option<u64>,
    /// When the gate was opened.
    opened_at: Option<DateTime<Utc>>,
    /// Pause before the engine is asked again for a container that prints nothing any more.
    recheck: Duration,
    disposal: Disposal,
}

/// What is to become of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposal {
    /// The container is removed with the session.
    Removal,
    /// Somebody has been told to remove the container.
    Removed,
    /// The container is left running.
    Kept,
}

impl Running {
    /// The engine's volumes that go with the container.
    pub(super) fn with_volumes(mut self, volumes: Vec<String>) -> Running {
        self.execution.volumes = volumes;
        self
    }

    /// Whose the files are to be that the session leaves.
    pub(super) fn with_ownership(mut self, ownership: Option<Ownership>) -> Running {
        self.execution.ownership = ownership;
        self
    }

    /// Lets a held session run.
    pub(super) async fn open_gate(&mut self, now: SystemTime) -> Result<(), BackendError> {
        let container = &mut self.execution;
        container.opened_at = Some(now.into());
        let is_open = match &mut container.held {
            Some(held) => held.open().await,
            None => true,
        };
        if is_open {
            return Ok(());
        }
        Err(BackendError::Lost {
            cause: "the container that was started ahead is gone".to_owned(),
        })
    }
}

impl Running {
    /// Process 1 of the container, as the engine counts; `None` where the engine does not say.
    pub(super) async fn first_process(&mut self) -> Option<i32> {
        first_process(&self.execution.engine, &self.execution.id).await
    }
}

impl Container {
    fn inside(&self) -> ContainerAccess {
        ContainerAccess {
            engine: Arc::clone(&self.engine),
            id: self.id.clone(),
            python: self.python.clone(),
        }
    }

    /// Looks whether the container has ended, now that nothing prints any more. The wait asks for the next exit, and
    /// if a busy engine takes it up only after the exit of a program that ends at once, there is no next one.
    async fn look(&mut self) {
        self.recheck = (self.recheck * 2).min(Duration::from_secs(2));
        match self.engine.docker.inspect_container(&self.id, None).await {
            Ok(found) if found.state.as_ref().is_some_and(|state| !is_running(state)) => {
                self.watch.abort();
                self.end = Some(End::Exited { is_interrupted: false });
            }
            Err(error) if is_not_found(&error) => {
                self.watch.abort();
                self.end = Some(End::Removed);
            }
            // A process may close its output and go on; an engine that does not answer is the watch's business.
            Ok(_) | Err(_) => {}
        }
    }

    /// Takes in what the container's process 1 tells of the session's end.
    fn take(&mut self, report: Option<EndReport>) {
        if let Some(held) = self.held.take() {
            self.starvation = held.starvation().clone();
        }
        let has_limit = self.memory_limit.is_some();
        if self.account == Account::Awaited && report.as_ref().is_some_and(|report| report.is_whole(has_limit)) {
            self.end = Some(End::Reported);
        }
        self.account.take(report);
    }

    /// Waits for the end of a container that was killed, or is about to end.
    async fn wait(&mut self, course: &Course) -> Option<End> {
        if self.end.is_none() {
            let patience = course.killed_at.map_or(KILL_WAIT, |at| {
                (at + KILL_WAIT).saturating_duration_since(Instant::now())
            });
            if let Ok(end) = tokio::time::timeout(patience.max(Duration::from_millis(200)), &mut self.watch).await {
                self.end = Some(end.unwrap_or_else(|error| End::EngineLost(error.to_string())));
            }
        }
        self.end.clone()
    }

    async fn account(&mut self, course: &Course) -> Result<Ended, BackendError> {
        let Some(end) = self.wait(course).await else {
            return Ok(Ended {
                error: Some(format!(
                    "the engine could not end the container {} within {} s; `reproduce-flaky gc` removes it when it can",
                    &self.id[..self.id.len().min(12)],
                    KILL_WAIT.as_secs()
                )),
                ..Ended::default()
            });
        };
        let lost = out_of_sight(&end, course);
        if let Some(report) = self.account.report()
            && (end == End::Reported || (lost.is_some() && report.is_own_end(course.is_signalled)))
            && course.broke.is_none()
        {
            return Ok(Ended {
                code: Some(report.code),
                ..told(report, course.is_signalled, Ended::default())
            });
        }
        if let Some(lost) = lost {
            return Err(lost);
        }
        let state = state(&self.engine, &self.id).await?;
        let mut ended = ended(&state);
        if let Some(report) = self.account.report() {
            // The engine counts from the container's start, which was ahead of the session's.
            ended = told(report, course.is_signalled, ended);
        } else if let Some(opened) = self.opened_at {
            ended.started_at = Some(opened);
        }
        // Also where a restarted engine has forgotten that the engine ended the container.
        if !course.is_signalled && !ended.oom_killed && self.account.is_interfered_with() {
            return Err(BackendError::Lost {
                cause: "somebody else ended the container from outside".to_owned(),
            });
        }
        // The tool's own process 1 knows better than the engine's events who sent a signal.
        if !course.is_signalled
            && !ended.oom_killed
            && self.account == Account::NotKept
            && matches!(ended.signal, Some(1 | 2 | 9 | 15))
            && let Some(cause) = killed_by_others(&self.engine, &self.id, &ended).await
        {
            return Err(BackendError::Lost { cause });
        }
        Ok(ended)
    }
}

/// Why the attempt is no answer, if its end, or its output, happened out of sight.
fn out_of_sight(end: &End, course: &Course) -> Option<BackendError> {
    let cause = match end {
        End::Removed => "the container was removed by somebody else".to_owned(),
        End::EngineLost(cause) => cause.clone(),
        End::Exited { is_interrupted: true } => {
            "the connection to the engine broke, and with it the session's output".to_owned()
        }
        End::Exited { is_interrupted: false } | End::Reported => course.broke.clone()?,
    };
    Some(BackendError::Lost { cause })
}

/// The report that a held session gives of its end; never, for one that was not held.
async fn report(held: &mut Option<Held>) -> Option<EndReport> {
    match held {
        Some(held) => held.report().await,
        None => std::future::pending().await,
    }
}

impl Execution for Container {
    /// The process has ended, and what is on its way arrives at once.
    const DRAIN: Duration = Duration::from_secs(5);

    async fn news(&mut self, course: &Course) -> Result<(), BackendError> {
        tokio::select! {
            biased;
            report = report(&mut self.held) => self.take(report),
            end = &mut self.watch => {
                self.end = Some(end.unwrap_or_else(|error| End::EngineLost(error.to_string())));
            }
            () = tokio::time::sleep(self.recheck), if course.is_drained => self.look().await,
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    fn loss(&self, course: &Course) -> Option<BackendError> {
        let end = self.end.as_ref()?;
        let report = self.account.report();
        let is_known = report.is_some_and(|report| report.is_own_end(course.is_signalled));
        out_of_sight(end, course).filter(|_| !is_known)
    }

    async fn send(&mut self, signal: Signal) -> Result<(), BackendError> {
        let name = match signal {
            Signal::Term => "SIGTERM",
            Signal::Kill => "SIGKILL",
        };
        let options = KillContainerOptionsBuilder::default().signal(name).build();
        // An engine that cannot end a process may not answer either; the deadline after the kill must hold.
        let sent = self.engine.docker.kill_container(&self.id, Some(options));
        match tokio::time::timeout(KILL_WAIT, sent).await {
            Ok(Ok(())) | Err(_) => Ok(()),
            // The container has ended, or is gone, in the meantime.
            Ok(Err(error)) if is_conflict(&error) || is_not_found(&error) => Ok(()),
            Ok(Err(error)) => match self.engine.explain("signal the container", &error) {
                BackendError::Refused { cause, .. } if cause.contains("is not running") => Ok(()),
                other => Err(other),
            },
        }
    }

    async fn hold_still(&mut self) {
        if let Some(held) = &mut self.held
            && let Some(report) = held.hold_still().await
        {
            self.take(Some(report));
        }
    }

    fn stopped(&self) -> Duration {
        let told = self.held.as_ref().map_or(&self.starvation, Held::starvation);
        told.stopped()
    }

    fn access(&self) -> Box<dyn Access> {
        Box::new(self.inside())
    }

    fn origin(&self) -> Option<Box<dyn Origin>> {
        Some(Box::new(self.inside()))
    }

    async fn is_engine_awake(&self) -> Option<bool> {
        if !self.is_attached {
            return None;
        }
        let asked = Instant::now();
        let answers = self.engine.ping().await.is_ok();
        Some(answers && asked.elapsed() <= STOOD_STILL)
    }

    fn can_be_kept(&self) -> bool {
        true
    }

    async fn keep(&mut self, time: Duration) -> Result<Kept, BackendError> {
        self.leave(time).await
    }

    fn is_kept(&self) -> bool {
        self.disposal == Disposal::Kept
    }

    async fn facts(&mut self, course: &Course) -> Result<Ended, BackendError> {
        let mut facts = if self.is_kept() {
            Ok(self.still_running().await)
        } else {
            self.account(course).await
        };
        if let Ok(ended) = &mut facts {
            let told = self
                .held
                .take()
                .map_or(std::mem::take(&mut self.starvation), |held| held.starvation().clone());
            ended.starved = told.means;
            ended.windows = told.windows;
        }
        if let (Ok(_), Some(ownership)) = (&facts, self.ownership.take()) {
            ownership.restore(&self.engine, &self.remover).await;
        }
        facts
    }

    async fn remove(mut self) {
        if self.disposal != Disposal::Removal {
            return;
        }
        self.disposal = Disposal::Removed;
        let (id, volumes) = (self.id.clone(), std::mem::take(&mut self.volumes));
        let remover = Arc::clone(&self.remover);
        if self.end == Some(End::Reported) {
            // To remove what the engine still takes for running the engine would kill first, and wait.
            let noticed = async move {
                let _ = (&mut self.watch).await;
            };
            remover.remove_after(noticed, id, volumes);
        } else {
            remover.remove(id, volumes);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.watch.abort();
        if self.disposal == Disposal::Removal {
            self.remover.remove(self.id.clone(), std::mem::take(&mut self.volumes));
        }
    }
}
