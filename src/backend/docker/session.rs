//! A container from its start to its removal: nothing of its output is lost, and how it ended is read from the
//! engine's own account.
//!
//! 400 lines long because one state follows a container through output, signals, its end and its removal; how it is started is `launch`'s.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerState;
use bollard::query_parameters::{KillContainerOptionsBuilder, WaitContainerOptionsBuilder};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bedside::Container;
use super::engine::{Engine, is_conflict, is_not_found, is_transport};
use super::gate::{Account, Held, Report};
use super::ownership::Ownership;
use super::removal::Remover;
use crate::backend::autopsy::{Autopsy, Examination, Then};
use crate::backend::cores::{Cores, Origin};
use crate::backend::{BackendError, Ended, KILL_WAIT, Session, Signal};
use crate::model::Kept;

mod keep;
mod launch;

pub(super) use launch::launch;

/// How long the rest of the output may take once the process has ended: what is on its way arrives at once.
const DRAIN: Duration = Duration::from_secs(5);
/// How long an engine that went away in the middle of a session may take to come back.
const RETURN: Duration = Duration::from_secs(10);

/// A container that has been started.
pub(super) struct Running {
    engine: Arc<Engine>,
    remover: Arc<Remover>,
    id: String,
    name: String,
    /// The Python in the container, as it is called.
    python: String,
    volumes: Vec<String>,
    ownership: Option<Ownership>,
    cores: Option<(Cores, bool)>,
    /// Whether processes were aborted for their stacks.
    has_aborted: bool,
    output: Output,
    watch: JoinHandle<End>,
    end: Option<End>,
    /// The gate it was held at, which tells of its end before the engine does.
    held: Option<Held>,
    account: Account,
    memory_limit: Option<u64>,
    /// When its gate was opened.
    opened_at: Option<DateTime<Utc>>,
    /// Output that was read ahead.
    ahead: VecDeque<Bytes>,
    /// Whether the stream of output has ended, and how if badly.
    is_drained: bool,
    broke: Option<String>,
    recheck: Duration,
    is_signalled: bool,
    killed_at: Option<Instant>,
    drained_by: Option<Instant>,
    /// What is to become of it.
    disposal: Disposal,
}

/// What is to become of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposal {
    /// It is removed with the session.
    Removal,
    /// Somebody has been told to remove it.
    Removed,
    /// It is left running.
    Kept,
}

/// What a session prints.
type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// How the wait for a container's end came out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// It ended. `is_interrupted`: the connection to the engine broke in between.
    Exited { is_interrupted: bool },
    /// It ended, as its own process 1 says, and nothing is left to ask the engine.
    Reported,
    /// It is not there any more.
    Removed,
    /// The engine went away with it.
    EngineLost(String),
}

/// Waits for the end, over the engine's answer if it comes and by asking again and again if that connection breaks.
async fn watch(engine: Arc<Engine>, id: String) -> End {
    let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
    let mut answers = engine.docker.wait_container(&id, Some(options));
    let is_interrupted = match answers.next().await {
        // bollard makes an error of every exit code but 0; here it is only the news that there is one.
        Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => return End::Exited { is_interrupted: false },
        Some(Err(error)) if is_not_found(&error) => return End::Removed,
        // An engine that answers only at the end is too late for the client's limit on answers.
        Some(Err(Error::RequestTimeoutError)) => false,
        Some(Err(_)) | None => true,
    };
    let mut unreachable_since: Option<Instant> = None;
    let mut pause = Duration::from_millis(50);
    let mut is_first = true;
    loop {
        match engine.docker.inspect_container(&id, None).await {
            Ok(found) if found.state.as_ref().is_some_and(is_running) => unreachable_since = None,
            // It ended while nobody answered: with the engine, or because of it.
            Ok(_) if is_interrupted && is_first => {
                return End::EngineLost("the engine went away during the session".to_owned());
            }
            Ok(_) => return End::Exited { is_interrupted },
            Err(error) if is_not_found(&error) => return End::Removed,
            Err(error) => {
                let since = *unreachable_since.get_or_insert_with(Instant::now);
                if since.elapsed() > RETURN {
                    return End::EngineLost(engine.explain("ask for the container", &error).to_string());
                }
                // What ends from here on has ended out of sight.
                is_first = true;
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        is_first = false;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn is_running(state: &ContainerState) -> bool {
    state.running == Some(true) || state.paused == Some(true) || state.restarting == Some(true)
}

impl Running {
    /// The engine's volumes that go with it.
    pub(super) fn with_volumes(mut self, volumes: Vec<String>) -> Running {
        self.volumes = volumes;
        self
    }

    /// Whose the files it leaves are to be.
    pub(super) fn with_ownership(mut self, ownership: Option<Ownership>) -> Running {
        self.ownership = ownership;
        self
    }

    /// Where it leaves cores, and whether the files that its processes map are this machine's.
    pub(super) fn with_cores(mut self, cores: Option<(Cores, bool)>) -> Running {
        self.cores = cores;
        self
    }

    fn container(&self) -> Container {
        Container {
            engine: Arc::clone(&self.engine),
            id: self.id.clone(),
            python: self.python.clone(),
        }
    }

    /// Lets a held session run.
    pub(super) async fn open_gate(&mut self, now: SystemTime) -> Result<(), BackendError> {
        if let Some(ownership) = &mut self.ownership {
            ownership.since = now;
        }
        self.opened_at = Some(now.into());
        let is_open = match &mut self.held {
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

    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        if let Some(piece) = self.ahead.pop_front() {
            return Ok(Some(piece));
        }
        loop {
            let gives_up = self.gives_up();
            if gives_up.is_some_and(|at| at <= Instant::now()) {
                return Ok(None);
            }
            if let Some(end) = self.end.as_ref().filter(|_| self.is_drained) {
                let is_known = self
                    .account
                    .report()
                    .is_some_and(|report| report.is_own_end(self.is_signalled));
                return self.lost(end).filter(|_| !is_known).map_or(Ok(None), Err);
            }
            tokio::select! {
                biased;
                piece = self.output.next(), if !self.is_drained => match piece {
                    Some(Ok(piece)) => {
                        let piece = piece.into_bytes();
                        if !piece.is_empty() {
                            return Ok(Some(piece));
                        }
                    }
                    Some(Err(error)) => {
                        self.is_drained = true;
                        self.broke = Some(self.engine.explain("read the output", &error).to_string());
                    }
                    None => self.is_drained = true,
                },
                report = report(&mut self.held), if self.end.is_none() => {
                    self.held = None;
                    if self.account == Account::Awaited && report.as_ref().is_some_and(|report| report.is_whole(self.memory_limit.is_some())) {
                        self.end = Some(End::Reported);
                        self.drained_by = Some(Instant::now() + DRAIN);
                    }
                    self.account.take(report);
                }
                end = &mut self.watch, if self.end.is_none() => {
                    self.end = Some(end.unwrap_or_else(|error| End::EngineLost(error.to_string())));
                    self.drained_by = Some(Instant::now() + DRAIN);
                }
                () = tokio::time::sleep(self.recheck), if self.is_drained && self.end.is_none() => self.look().await,
                () = tokio::time::sleep_until(gives_up.unwrap_or_else(far_away)) => {}
            }
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

    /// When `output` ends whatever happens.
    fn gives_up(&self) -> Option<Instant> {
        let killed = self.killed_at.map(|at| at + KILL_WAIT);
        self.drained_by.into_iter().chain(killed).min()
    }

    /// Why the attempt is no answer, if its end, or its output, happened out of sight.
    fn lost(&self, end: &End) -> Option<BackendError> {
        let cause = match end {
            End::Removed => "the container was removed by somebody else".to_owned(),
            End::EngineLost(cause) => cause.clone(),
            End::Exited { is_interrupted: true } => {
                "the connection to the engine broke, and with it the session's output".to_owned()
            }
            End::Exited { is_interrupted: false } | End::Reported => self.broke.clone()?,
        };
        Some(BackendError::Lost { cause })
    }

    async fn facts(&mut self) -> Result<Ended, BackendError> {
        if self.end.is_none() {
            let patience = self.killed_at.map_or(KILL_WAIT, |at| {
                (at + KILL_WAIT).saturating_duration_since(Instant::now())
            });
            if let Ok(end) = tokio::time::timeout(patience.max(Duration::from_millis(200)), &mut self.watch).await {
                self.end = Some(end.unwrap_or_else(|error| End::EngineLost(error.to_string())));
            }
        }
        let Some(end) = self.end.clone() else {
            return Ok(Ended {
                error: Some(format!(
                    "the engine could not end the container {} within {} s; `reproduce-flaky gc` removes it when it can",
                    &self.id[..self.id.len().min(12)],
                    KILL_WAIT.as_secs()
                )),
                ..Ended::default()
            });
        };
        let lost = self.lost(&end);
        if let Some(report) = self.account.report()
            && (end == End::Reported || (lost.is_some() && report.is_own_end(self.is_signalled)))
            && self.broke.is_none()
        {
            return Ok(Ended {
                code: Some(report.code),
                signal: signal_of(report.code),
                oom_killed: report.oom_kills > 0,
                started_at: report.started_at,
                finished_at: report.finished_at,
                usage: report.usage,
                ..Ended::default()
            });
        }
        if let Some(lost) = lost {
            return Err(lost);
        }
        let state = state(&self.engine, &self.id).await?;
        let mut ended = ended(&state);
        if let Some(report) = self.account.report() {
            // The engine counts from the container's start, which was ahead of the session's.
            ended.started_at = report.started_at;
            ended.finished_at = report.finished_at;
            ended.usage = report.usage;
        } else if let Some(opened) = self.opened_at {
            ended.started_at = Some(opened);
        }
        // Also where a restarted engine has forgotten that it was the one.
        if !self.is_signalled && !ended.oom_killed && self.account.is_interfered_with() {
            return Err(BackendError::Lost {
                cause: "somebody else ended the container from outside".to_owned(),
            });
        }
        if !self.is_signalled
            && !ended.oom_killed
            && matches!(ended.signal, Some(1 | 2 | 9 | 15))
            && let Some(cause) = killed_by_others(&self.engine, &self.id, &ended).await
        {
            return Err(BackendError::Lost { cause });
        }
        Ok(ended)
    }
}

/// The account that a held session gives of its end; never, for one that was not held.
async fn report(held: &mut Option<Held>) -> Option<Report> {
    match held {
        Some(held) => held.report().await,
        None => std::future::pending().await,
    }
}

async fn state(engine: &Engine, id: &str) -> Result<ContainerState, BackendError> {
    let since = Instant::now();
    loop {
        match engine.docker.inspect_container(id, None).await {
            Ok(found) => return Ok(found.state.unwrap_or_default()),
            Err(error) if is_not_found(&error) => {
                return Err(BackendError::Lost {
                    cause: "the container was removed by somebody else".to_owned(),
                });
            }
            // An answer that cannot be read is Podman's, in a state between the end and its account of it.
            Err(error)
                if (is_transport(&error) || matches!(error, Error::JsonDataError { .. }))
                    && since.elapsed() < RETURN =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(BackendError::Lost {
                    cause: engine.explain("ask how the container ended", &error).to_string(),
                });
            }
        }
    }
}

/// A signal that came through the engine, but not from us: `docker kill`, `docker stop`, or the engine's own
/// shutdown. A process of the session that kills another leaves no such trace.
async fn killed_by_others(engine: &Engine, id: &str, ended: &Ended) -> Option<String> {
    use bollard::query_parameters::EventsOptionsBuilder;
    let since = ended.started_at?.timestamp();
    // By the engine's clock, and a little later: the event may be noted after the end that it brought about.
    let until = ended.finished_at?.timestamp() + 2;
    let filters = std::collections::HashMap::from([
        ("container".to_owned(), vec![id.to_owned()]),
        ("event".to_owned(), vec!["kill".to_owned()]),
    ]);
    let options = EventsOptionsBuilder::default()
        .since(&since.to_string())
        .until(&until.to_string())
        .filters(&filters)
        .build();
    let mut events = Box::pin(engine.docker.events(Some(options)));
    match tokio::time::timeout(Duration::from_secs(3), events.next()).await {
        Ok(Some(Ok(_))) => Some("somebody else sent the container a signal through the engine".to_owned()),
        Ok(Some(Err(error))) if is_transport(&error) => Some("the engine is shutting down".to_owned()),
        Ok(Some(Err(_)) | None) | Err(_) => None,
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(24)
}

/// The runtime, and an init process, report the end by a signal as 128 plus its number.
fn signal_of(code: i32) -> Option<i32> {
    (129..=192).contains(&code).then(|| code - 128)
}

/// The engine's account of an end.
fn ended(state: &ContainerState) -> Ended {
    let time = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.with_timezone(&Utc))
            // The engine says year 1 for "never".
            .filter(|time| time.timestamp() > 0)
    };
    let (started_at, finished_at) = (time(&state.started_at), time(&state.finished_at));
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    Ended {
        code,
        signal: code.and_then(signal_of),
        oom_killed: state.oom_killed == Some(true),
        error: state.error.clone().filter(|error| !error.is_empty()),
        // The engine notes the start when the runtime has told it of one; a program that ends at once can have
        // ended before that.
        started_at: finished_at.map_or(started_at, |finished| started_at.map(|started| started.min(finished))),
        finished_at,
        usage: None,
    }
}

impl Session for Running {
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        self.next().boxed()
    }

    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            self.is_signalled = true;
            let name = match signal {
                Signal::Term => "SIGTERM",
                Signal::Kill => {
                    self.killed_at.get_or_insert_with(Instant::now);
                    "SIGKILL"
                }
            };
            let options = KillContainerOptionsBuilder::default().signal(name).build();
            // An engine that cannot end a process may not answer either; the deadline after the kill must hold.
            let sent = self.engine.docker.kill_container(&self.id, Some(options));
            match tokio::time::timeout(KILL_WAIT, sent).await {
                Ok(Ok(())) | Err(_) => Ok(()),
                // It has ended, or is gone, in the meantime.
                Ok(Err(error)) if is_conflict(&error) || is_not_found(&error) => Ok(()),
                Ok(Err(error)) => match self.engine.explain("signal the container", &error) {
                    BackendError::Refused { cause, .. } if cause.contains("is not running") => Ok(()),
                    other => Err(other),
                },
            }
        }
        .boxed()
    }

    fn autopsy<'a>(&'a mut self, run_dir: &'a Path, budget: Duration, then: Then) -> BoxFuture<'a, Autopsy> {
        async move {
            let bedside = self.container();
            let mut examination = Examination::new(run_dir, budget);
            examination.examine(&bedside, then).await;
            if examination.has_aborted {
                self.has_aborted = true;
                let (mut printed, mut pieces) = (Vec::new(), VecDeque::new());
                let patience = examination.left().min(Duration::from_secs(2));
                let _ = tokio::time::timeout(patience, async {
                    while let Ok(Some(piece)) = self.next().await {
                        printed.extend_from_slice(&piece);
                        pieces.push_back(piece);
                    }
                })
                .await;
                self.ahead.append(&mut pieces);
                examination.printed(&printed);
            }
            examination.end()
        }
        .boxed()
    }

    fn can_be_kept(&self) -> bool {
        true
    }

    fn keep(&mut self, time: Duration) -> BoxFuture<'_, Result<Kept, BackendError>> {
        self.leave(time).boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>> {
        async move {
            let facts = if self.disposal == Disposal::Kept {
                Ok(self.still_running().await)
            } else {
                self.facts().await
            };
            if let (Ok(_), Some(ownership)) = (&facts, self.ownership.take()) {
                ownership.restore(&self.engine, &self.remover).await;
            }
            if let Some((cores, is_host)) = self.cores.take().filter(|_| self.disposal != Disposal::Kept) {
                let container = self.container();
                let origin = (!is_host).then_some(&container as &dyn Origin);
                cores.collect(origin, self.has_aborted).await;
            }
            if self.disposal == Disposal::Removal {
                self.disposal = Disposal::Removed;
                let (id, volumes) = (self.id.clone(), std::mem::take(&mut self.volumes));
                let remover = Arc::clone(&self.remover);
                if self.end == Some(End::Reported) {
                    // To remove what the engine still takes for running it would kill first, and wait.
                    let noticed = async move {
                        let _ = (&mut self.watch).await;
                    };
                    remover.remove_after(noticed, id, volumes);
                } else {
                    remover.remove(id, volumes);
                }
            }
            facts
        }
        .boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.abort();
        if self.disposal == Disposal::Removal {
            self.remover.remove(self.id.clone(), std::mem::take(&mut self.volumes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_above_128_is_a_signal() {
        let state = |code| ContainerState {
            exit_code: Some(code),
            ..ContainerState::default()
        };
        assert_eq!(ended(&state(134)).signal, Some(6));
        assert_eq!(ended(&state(255)).signal, None);
        assert_eq!(ended(&state(1)).signal, None);
    }
}
