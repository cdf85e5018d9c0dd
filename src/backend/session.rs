//! A session from the first byte of its output to its end: one loop for containers and for process groups.
//!
//! What the loop cannot know by itself is an [`Execution`]'s: when the session has ended, how a signal is sent to it, how
//! its processes are reached, and what is left to remove.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::autopsy::{self, Access, AfterAutopsy, Autopsy, Examination};
use super::cores::{Cores, Origin};
use super::output::Output;
use super::{BackendError, Ended, KILL_WAIT, Session, Signal};
use crate::judge::Kept;
use crate::run::AttemptDirs;

/// How long output that was printed before an engine stood still takes to arrive, once the engine goes on.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How long the output of processes that were aborted for their stacks may take to arrive.
const ABORTED: Duration = Duration::from_secs(2);

/// What a session runs as: a container or a process group.
pub(super) trait Execution: Send + 'static {
    /// How long the rest of the output may take once the session's end is known.
    const DRAIN: Duration;

    /// Waits for news about the session's end; afterwards `has_ended` says whether the end is known. May be dropped and
    /// called again.
    fn news(&mut self, course: &Course) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Whether the session is known to have ended.
    fn has_ended(&self) -> bool;

    /// Why a session that has ended is no answer, as far as output and end tell.
    fn loss(&self, course: &Course) -> Option<BackendError> {
        let cause = course.broke.clone()?;
        Some(BackendError::Lost { cause })
    }

    /// Sends a signal to the session, without waiting for its effect.
    fn send(&mut self, signal: Signal) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Has no thread of the session stopped any more by a condition that the session runs under.
    fn hold_still(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// For how long anything of the session has been stopped so far by such a condition.
    fn stopped(&self) -> Duration {
        Duration::ZERO
    }

    /// How an autopsy reaches the session's processes.
    fn access(&self) -> Box<dyn Access>;

    /// How files are reached that only the session's processes see; `None` where they are this machine's.
    fn origin(&self) -> Option<Box<dyn Origin>> {
        None
    }

    /// Whether the engine that the output comes through answers at once; `None` where the output comes through no engine.
    fn is_engine_awake(&self) -> impl Future<Output = Option<bool>> + Send {
        std::future::ready(None)
    }

    /// Whether the session can be left running when its time is over.
    fn can_be_kept(&self) -> bool {
        false
    }

    /// Leaves the session running for a time.
    fn keep(&mut self, time: Duration) -> impl Future<Output = Result<Kept, BackendError>> + Send {
        let _ = time;
        std::future::ready(Err(super::cannot_be_kept()))
    }

    /// Whether the session was left running.
    fn is_kept(&self) -> bool {
        false
    }

    /// How the session ended. Waits until a killed one has, within bounds.
    fn facts(&mut self, course: &Course) -> impl Future<Output = Result<Ended, BackendError>> + Send;

    /// Removes what the session ran in.
    fn remove(self) -> impl Future<Output = ()> + Send;
}

/// What is known about a session's course, whatever it runs as.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Whether we sent the session a signal.
    pub(super) is_signalled: bool,
    /// When we killed the session.
    pub(super) killed_at: Option<Instant>,
    /// Whether the output has ended.
    pub(super) is_drained: bool,
    /// Why the output ended before the session did.
    pub(super) broke: Option<String>,
    /// Until when the rest of the output is waited for.
    drained_by: Option<Instant>,
}

impl Course {
    /// When the output is given up, whatever happens.
    fn gives_up(&self) -> Option<Instant> {
        let killed = self.killed_at.map(|at| at + KILL_WAIT);
        self.drained_by.into_iter().chain(killed).min()
    }
}

/// A session that has been started.
pub(super) struct Running<E> {
    pub(super) execution: E,
    output: Output,
    /// Output that was read ahead of `Session::output`.
    ahead: VecDeque<Bytes>,
    course: Course,
    /// Where the session leaves cores.
    cores: Option<Cores>,
    /// Whether processes were aborted for their stacks.
    has_aborted: bool,
}

impl<E: Execution> Running<E> {
    pub(super) fn new(execution: E, output: Output) -> Running<E> {
        Running {
            execution,
            output,
            ahead: VecDeque::new(),
            course: Course::default(),
            cores: None,
            has_aborted: false,
        }
    }

    pub(super) fn with_cores(mut self, cores: Option<Cores>) -> Running<E> {
        self.cores = cores;
        self
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        if let Some(piece) = self.ahead.pop_front() {
            return Ok(Some(piece));
        }
        loop {
            let gives_up = self.course.gives_up();
            if gives_up.is_some_and(|at| at <= Instant::now()) {
                return Ok(None);
            }
            let has_ended = self.execution.has_ended();
            if has_ended && self.course.is_drained {
                return self.execution.loss(&self.course).map_or(Ok(None), Err);
            }
            tokio::select! {
                biased;
                piece = self.output.next(), if !self.course.is_drained => match piece {
                    Some(Ok(piece)) => {
                        if !piece.is_empty() {
                            return Ok(Some(piece));
                        }
                    }
                    Some(Err(cause)) => {
                        self.course.is_drained = true;
                        self.course.broke = Some(cause);
                    }
                    None => self.course.is_drained = true,
                },
                news = self.execution.news(&self.course), if !has_ended => {
                    news?;
                    if self.execution.has_ended() {
                        self.course.drained_by = Some(Instant::now() + E::DRAIN);
                    }
                }
                () = tokio::time::sleep_until(gives_up.unwrap_or_else(far_away)) => {}
            }
        }
    }

    /// Reads what aborted processes print, and keeps it for `Session::output`.
    async fn read_ahead(&mut self, patience: Duration) -> Vec<u8> {
        let (mut printed, mut pieces) = (Vec::new(), VecDeque::new());
        let _ = tokio::time::timeout(patience, async {
            while printed.len() < autopsy::PRINTED
                && let Ok(Some(piece)) = self.next().await
            {
                printed.extend_from_slice(&piece);
                pieces.push_back(piece);
            }
        })
        .await;
        self.ahead.append(&mut pieces);
        printed
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(24)
}

impl<E: Execution> Session for Running<E> {
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        self.next().boxed()
    }

    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>> {
        self.course.is_signalled = true;
        if signal == Signal::Kill {
            self.course.killed_at.get_or_insert_with(Instant::now);
        }
        async move {
            if signal == Signal::Term {
                self.execution.hold_still().await;
            }
            self.execution.send(signal).await
        }
        .boxed()
    }

    fn autopsy<'a>(
        &'a mut self,
        dirs: &'a AttemptDirs,
        budget: Duration,
        after: AfterAutopsy,
    ) -> BoxFuture<'a, Autopsy> {
        async move {
            self.execution.hold_still().await;
            let mut examination = Examination::new(dirs, budget);
            let access = self.execution.access();
            examination.examine(&*access, after).await;
            if examination.has_aborted {
                self.has_aborted = true;
                let printed = self.read_ahead(examination.left().min(ABORTED)).await;
                examination.printed(&printed).await;
            }
            examination.end()
        }
        .boxed()
    }

    fn stopped(&self) -> Duration {
        self.execution.stopped()
    }

    fn is_heard(&mut self) -> BoxFuture<'_, bool> {
        async move {
            match self.execution.is_engine_awake().await {
                None => true,
                Some(false) => false,
                Some(true) => match tokio::time::timeout(ON_ITS_WAY, self.next()).await {
                    Err(_) => true,
                    Ok(came) => {
                        self.ahead.extend(came.ok().flatten());
                        false
                    }
                },
            }
        }
        .boxed()
    }

    fn can_be_kept(&self) -> bool {
        self.execution.can_be_kept()
    }

    fn keep(&mut self, time: Duration) -> BoxFuture<'_, Result<Kept, BackendError>> {
        self.execution.keep(time).boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>> {
        async move {
            let facts = self.execution.facts(&self.course).await;
            if let Some(cores) = self.cores.take().filter(|_| !self.execution.is_kept()) {
                let origin = self.execution.origin();
                cores.collect(origin.as_deref(), self.has_aborted).await;
            }
            self.execution.remove().await;
            facts
        }
        .boxed()
    }
}
