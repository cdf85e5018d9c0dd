//! A session from its start to its end: its output into the log, and its end from outside where that is needed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Cancel, Context, Live};
use crate::backend::{BackendError, Session, Signal, Then};
use crate::failpoint::{self, Step};
use crate::model::{EndedBy, Kept};
use crate::pytest::marker;
use crate::store::{AttemptDir, StoreError};

/// How long a session is waited for after KILL before it is given up as unkillable.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// Longest time that is spent on finding out what a hung session is doing, before it is ended.
const AUTOPSY: Duration = Duration::from_secs(10);

/// What keeps a session from being followed to its end.
pub(super) enum Broken {
    Log(StoreError),
    Session(BackendError),
}

/// A session that was seen to its end.
pub(super) struct Followed {
    /// Who brought the end about.
    pub(super) ended_by: EndedBy,
    /// Longest time without output.
    pub(super) longest_quiet: Duration,
    /// Length of the trail when we set out to end it.
    pub(super) trail_bytes: Option<u64>,
    /// Where it was left running, or why it was not although it should.
    pub(super) kept: Option<Result<Kept, String>>,
}

/// How far the end of a session has been brought about by us.
#[derive(Clone, Copy)]
enum Stage {
    Running,
    Terminating { until: Instant, by: EndedBy },
    Killing { until: Instant, by: EndedBy },
}

/// Copies a session's output to its log until it ends, and ends it when a deadline passes or the user asks.
pub(super) async fn follow(
    session: &mut dyn Session,
    context: &Context,
    dir: &mut AttemptDir,
    live: &Live,
    cancel: &mut watch::Receiver<Cancel>,
) -> Result<Followed, Broken> {
    let deadlines = context.spec.deadlines;
    let total = live.since + deadlines.total();
    let mut last_output = Instant::now();
    let mut longest_quiet = Duration::ZERO;
    let mut stage = Stage::Running;
    let (mut trail_bytes, mut kept) = (None, None);
    loop {
        let silence = context.quiet.limit(&deadlines);
        let (wake, reason) = match (stage, silence) {
            (Stage::Terminating { until, by } | Stage::Killing { until, by }, _) => (until, by),
            (Stage::Running, Some(silence)) if last_output + silence < total => {
                (last_output + silence, EndedBy::Silence)
            }
            (Stage::Running, _) => (total, EndedBy::Deadline),
        };
        tokio::select! {
            piece = session.output() => match piece {
                Ok(Some(piece)) => {
                    dir.write_log(&piece).map_err(Broken::Log)?;
                    failpoint::here(Step::Output);
                    live.see(&piece);
                    longest_quiet = longest_quiet.max(last_output.elapsed());
                    last_output = Instant::now();
                }
                Ok(None) => return Ok(Followed { ended_by: ended_by(stage), longest_quiet: longest_quiet.max(last_output.elapsed()), trail_bytes, kept }),
                Err(error) => return Err(Broken::Session(error)),
            },
            () = tokio::time::sleep_until(wake) => match stage {
                Stage::Running => {
                    trail_bytes = context.spec.trail.then(|| dir.trail_bytes());
                    let line = match (reason, silence) {
                        (EndedBy::Silence, Some(silence)) => marker::silence(silence),
                        (_, _) => marker::deadline(deadlines.total()),
                    };
                    dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
                    let keep = deadlines.keep().filter(|_| session.can_be_kept());
                    let then = if keep.is_some() { Then::Keep } else { Then::End };
                    let autopsy = session.autopsy(dir.path(), AUTOPSY, then).await;
                    if let Some(first) = autopsy.files.first() {
                        dir.write_log(marker::autopsy(first).as_bytes()).map_err(Broken::Log)?;
                    }
                    if let Some(time) = keep {
                        let left = session.keep(time).await.map_err(|error| error.to_string());
                        let line = match &left {
                            Ok(kept) => marker::kept(&kept.enter),
                            Err(cause) => marker::not_kept(cause),
                        };
                        dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
                        let is_left = left.is_ok();
                        kept = Some(left);
                        if is_left {
                            return Ok(Followed { ended_by: reason, longest_quiet, trail_bytes, kept });
                        }
                    }
                    send(session, Signal::Term).await?;
                    stage = Stage::Terminating { until: Instant::now() + deadlines.grace(), by: reason };
                }
                Stage::Terminating { by, .. } => {
                    send(session, Signal::Kill).await?;
                    stage = Stage::Killing { until: Instant::now() + KILL_PATIENCE, by };
                }
                Stage::Killing { by, .. } => return Ok(Followed { ended_by: by, longest_quiet, trail_bytes, kept }),
            },
            () = cancelled(cancel), if matches!(stage, Stage::Running) => {
                dir.write_log(marker::cancel().as_bytes()).map_err(Broken::Log)?;
                send(session, Signal::Term).await?;
                stage = Stage::Terminating { until: Instant::now() + deadlines.grace(), by: EndedBy::Cancel };
            }
        }
    }
}

fn ended_by(stage: Stage) -> EndedBy {
    match stage {
        Stage::Running => EndedBy::Itself,
        Stage::Terminating { by, .. } | Stage::Killing { by, .. } => by,
    }
}

/// A session that is gone when the signal arrives has ended, which is what the signal was for.
async fn send(session: &mut dyn Session, signal: Signal) -> Result<(), Broken> {
    match session.signal(signal).await {
        Ok(()) | Err(BackendError::Lost { .. } | BackendError::Refused { .. }) => Ok(()),
        Err(error) => Err(Broken::Session(error)),
    }
}

/// Waits until running iterations are to be ended.
pub(super) async fn cancelled(cancel: &mut watch::Receiver<Cancel>) {
    if cancel.wait_for(|level| *level == Cancel::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}
