//! A session from its start to its end: its output into the log, and its end from outside where that is needed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Cancel, Context, Live};
use crate::backend::{BackendError, Session, Signal};
use crate::failpoint::{self, Step};
use crate::model::EndedBy;
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
                Ok(None) => return Ok(Followed { ended_by: ended_by(stage), longest_quiet: longest_quiet.max(last_output.elapsed()) }),
                Err(error) => return Err(Broken::Session(error)),
            },
            () = tokio::time::sleep_until(wake) => match stage {
                Stage::Running => {
                    let line = match (reason, silence) {
                        (EndedBy::Silence, Some(silence)) => marker::silence(silence),
                        (_, _) => marker::deadline(deadlines.total()),
                    };
                    dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
                    let autopsy = session.autopsy(dir.path(), AUTOPSY).await;
                    if let Some(first) = autopsy.files.first() {
                        dir.write_log(marker::autopsy(first).as_bytes()).map_err(Broken::Log)?;
                    }
                    send(session, Signal::Term).await?;
                    stage = Stage::Terminating { until: Instant::now() + deadlines.grace(), by: reason };
                }
                Stage::Terminating { by, .. } => {
                    send(session, Signal::Kill).await?;
                    stage = Stage::Killing { until: Instant::now() + KILL_PATIENCE, by };
                }
                Stage::Killing { by, .. } => return Ok(Followed { ended_by: by, longest_quiet }),
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
