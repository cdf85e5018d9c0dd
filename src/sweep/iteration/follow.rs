//! A session from its start to its end: its output into the log, and its end from outside where that is needed.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::facts::new_nonce;
use super::{Context, Live, Stop, stop};
use crate::backend::{AfterAutopsy, BackendError, Session, Signal};
use crate::failpoint::{self, Step};
use crate::judge::pytest::marker;
use crate::judge::{EndedBy, Kept};
use crate::run::{AttemptDir, StoreError};
use crate::spec::Deadlines;
use crate::timings;

/// How long a session is waited for after KILL before it is given up as unkillable.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// Longest time that is spent on finding out what a hung session is doing, before it is ended.
const AUTOPSY: Duration = Duration::from_secs(10);

/// How often the follower wakes up though nothing happens, and how late it may wake up without having stood still.
const HEARTBEAT: Duration = Duration::from_secs(1);
const STOOD_STILL: Duration = Duration::from_secs(1);

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
    /// The container that was left running, or why none was although that was asked for.
    pub(super) kept: Option<Result<Kept, String>>,
    /// The word by which the tool's own lines in the log are known.
    pub(super) nonce: String,
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
    iteration: u32,
    dir: &mut AttemptDir,
    live: &Live,
    stop: &mut watch::Receiver<Stop>,
) -> Result<Followed, Broken> {
    let deadlines = context.spec.deadlines;
    let nonce = new_nonce();
    let mut clock = Clock::new(live.since, deadlines.total());
    let mut has_printed = false;
    let mut stage = Stage::Running;
    let (mut trail_bytes, mut kept) = (None, None);
    let ended_by = loop {
        clock.excuse(session.stopped());
        let silence = context.quiet.limit(&deadlines);
        let (wake, reason) = match stage {
            Stage::Terminating { until, by } | Stage::Killing { until, by } => (until, by),
            Stage::Running => clock.next(silence),
        };
        // Output that has arrived ends a silence; it does not hold up any other deadline.
        let is_silence = matches!((stage, reason), (Stage::Running, EndedBy::Silence));
        let is_due = !is_silence && wake <= Instant::now();
        let heartbeat = wake.min(Instant::now() + HEARTBEAT);
        let event = tokio::select! {
            biased;
            () = std::future::ready(()), if is_due => Event::Woken,
            () = stop::now(stop), if matches!(stage, Stage::Running) => Event::Cancelled,
            piece = session.output() => Event::Output(piece.map_err(Broken::Session)?),
            () = tokio::time::sleep_until(heartbeat) => Event::Woken,
        };
        clock.check(heartbeat, deadlines.total());
        match event {
            Event::Output(Some(piece)) => {
                dir.write_log(&piece).map_err(Broken::Log)?;
                failpoint::here(Step::Output);
                live.see(&piece);
                if !has_printed {
                    has_printed = true;
                    timings::moment(iteration, "first output");
                }
                clock.heard();
            }
            Event::Output(None) => {
                clock.heard();
                break match stage {
                    Stage::Running => EndedBy::Itself,
                    Stage::Terminating { by, .. } | Stage::Killing { by, .. } => by,
                };
            }
            Event::Cancelled => {
                dir.write_log(marker::cancel(&nonce).as_bytes()).map_err(Broken::Log)?;
                send(session, Signal::Term).await?;
                stage = terminating(EndedBy::Cancel, &deadlines);
            }
            Event::Woken => match stage {
                Stage::Running if clock.next(silence).0 > Instant::now() => {}
                Stage::Running if is_silence && !session.is_heard().await => clock.silent_from_now(),
                Stage::Running => {
                    trail_bytes = context.spec.trail.then(|| dir.trail_bytes());
                    let line = match (reason, silence) {
                        (EndedBy::Silence, Some(silence)) => marker::silence(&nonce, silence),
                        (_, _) => marker::deadline(&nonce, deadlines.total()),
                    };
                    dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
                    kept = examine(session, &deadlines, dir).await?;
                    if matches!(kept, Some(Ok(_))) {
                        break reason;
                    }
                    send(session, Signal::Term).await?;
                    stage = terminating(reason, &deadlines);
                }
                Stage::Terminating { until, .. } | Stage::Killing { until, .. } if until > Instant::now() => {}
                Stage::Terminating { by, .. } => {
                    send(session, Signal::Kill).await?;
                    let until = Instant::now() + KILL_PATIENCE;
                    stage = Stage::Killing { until, by };
                }
                Stage::Killing { by, .. } => break by,
            },
        }
    };
    Ok(Followed {
        ended_by,
        longest_quiet: clock.longest_quiet,
        trail_bytes,
        kept,
        nonce,
    })
}

/// What a session's follower wakes up for.
enum Event {
    Output(Option<Bytes>),
    Cancelled,
    Woken,
}

fn terminating(by: EndedBy, deadlines: &Deadlines) -> Stage {
    let until = Instant::now() + deadlines.grace();
    Stage::Terminating { until, by }
}

/// Examines a hung session and leaves it running where that is asked for; returns its container, or why it could not be
/// left running.
async fn examine(
    session: &mut dyn Session,
    deadlines: &Deadlines,
    dir: &mut AttemptDir,
) -> Result<Option<Result<Kept, String>>, Broken> {
    let keep = deadlines.keep().filter(|_| session.can_be_kept());
    let then = if keep.is_some() {
        AfterAutopsy::Keep
    } else {
        AfterAutopsy::End
    };
    let autopsy = session.autopsy(dir.dirs(), AUTOPSY, then).await;
    if let Some(first) = autopsy.files.first() {
        dir.write_log(marker::autopsy(first).as_bytes()).map_err(Broken::Log)?;
    }
    let Some(time) = keep else { return Ok(None) };
    let kept = session.keep(time).await.map_err(|error| error.to_string());
    let line = match &kept {
        Ok(kept) => marker::kept(&kept.enter),
        Err(cause) => marker::not_kept(cause),
    };
    dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
    Ok(Some(kept))
}

/// The times that a session's deadlines are counted from. A time in which this process itself stood still, stopped by a
/// signal or with its machine, counts for none of them: what the session did meanwhile was not seen.
struct Clock {
    /// When the session's time is over.
    total: Instant,
    last_output: Instant,
    longest_quiet: Duration,
    /// For how long the sweep's own condition has had anything stopped, and how much of that was before the last output.
    stopped: Duration,
    stopped_before: Duration,
}

impl Clock {
    fn new(since: Instant, total: Duration) -> Clock {
        Clock {
            total: since + total,
            last_output: Instant::now(),
            longest_quiet: Duration::ZERO,
            stopped: Duration::ZERO,
            stopped_before: Duration::ZERO,
        }
    }

    /// The deadline that passes next, and whose it is.
    fn next(&self, silence: Option<Duration>) -> (Instant, EndedBy) {
        let total = self.total + self.stopped;
        match silence.map(|silence| self.last_output + silence + self.stopped_since()) {
            Some(quiet) if quiet < total => (quiet, EndedBy::Silence),
            Some(_) | None => (total, EndedBy::Deadline),
        }
    }

    /// The session has printed something, or ended.
    fn heard(&mut self) {
        let quiet = self.last_output.elapsed().saturating_sub(self.stopped_since());
        self.longest_quiet = self.longest_quiet.max(quiet);
        self.silent_from_now();
    }

    /// For how long anything has been stopped since the last output.
    fn stopped_since(&self) -> Duration {
        self.stopped.saturating_sub(self.stopped_before)
    }

    fn silent_from_now(&mut self) {
        self.last_output = Instant::now();
        self.stopped_before = self.stopped;
    }

    /// Takes in for how long anything of the session has been stopped by the sweep's own condition: that is no silence,
    /// and counts against no deadline.
    fn excuse(&mut self, stopped: Duration) {
        self.stopped = self.stopped.max(stopped);
    }

    /// Notices that this process stood still, by a heartbeat that comes late. The session gets a new period: of
    /// silence, and in all as much as it had left, or the whole if its time ran out meanwhile.
    fn check(&mut self, heartbeat: Instant, total: Duration) {
        let now = Instant::now();
        let late = now.saturating_duration_since(heartbeat);
        if late > STOOD_STILL {
            self.silent_from_now();
            self.total = if self.total + self.stopped <= now {
                now + total - self.stopped
            } else {
                self.total + late
            };
        }
    }
}

/// Sends a signal. That the session is gone already is no error: it has ended, as the signal asked.
async fn send(session: &mut dyn Session, signal: Signal) -> Result<(), Broken> {
    match session.signal(signal).await {
        Ok(()) | Err(BackendError::Lost { .. } | BackendError::Refused { .. }) => Ok(()),
        Err(error) => Err(Broken::Session(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_stopped_is_no_silence_and_counts_against_no_deadline() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = Clock::new(begun, 60 * second);
        assert_eq!(clock.next(Some(10 * second)), (begun + 10 * second, EndedBy::Silence));
        tokio::time::advance(4 * second).await;
        clock.excuse(3 * second);
        assert_eq!(clock.next(Some(10 * second)), (begun + 13 * second, EndedBy::Silence));
        clock.heard();
        assert_eq!(clock.longest_quiet, second);
        assert_eq!(clock.next(Some(10 * second)), (begun + 14 * second, EndedBy::Silence));
        assert_eq!(clock.next(None), (begun + 63 * second, EndedBy::Deadline));
    }
}
