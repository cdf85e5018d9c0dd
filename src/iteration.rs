//! One iteration, a straight line: claim it, start it, keep what it prints, end it if it must be ended, judge it, publish it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::backend::{Attempt, Backend, BackendError, Ended, Session, Signal};
use crate::judge::{self, SignatureSet};
use crate::model::{EndedBy, Exit, Outcome, OutcomeKind, Spec};
use crate::pytest::marker;
use crate::pytest::trail::TRAIL_ENV;
use crate::store::{self, AttemptDir, Claimed, Published, StoreError, Sweep};

/// How long a session is waited for after KILL before it is given up as unkillable.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// How long an engine that went away is waited for before the next attempt.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// Everything an iteration needs, the same for all of a sweep.
pub struct Context {
    /// The sweep on disk.
    pub sweep: Sweep,
    /// What runs.
    pub spec: Spec,
    /// pytest's command.
    pub argv: Vec<String>,
    /// Where it runs.
    pub backend: Arc<dyn Backend>,
    /// What failures are called.
    pub signatures: Arc<SignatureSet>,
    /// Name of this machine.
    pub node: String,
}

/// How far the user wants the sweep to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cancel {
    /// Not at all.
    No,
    /// Nothing new is started.
    Drain,
    /// What runs is ended.
    Now,
}

/// What an iteration reports while it runs.
pub enum Progress {
    /// An attempt has started.
    Started {
        /// Number of the arm, from 0.
        arm: usize,
        /// Number of the iteration.
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// What can be seen of it.
        live: Arc<Live>,
    },
    /// The world broke under an attempt.
    Lost {
        /// Number of the arm, from 0.
        arm: usize,
        /// Number of the iteration.
        iteration: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// What broke.
        reason: String,
    },
}

/// How an iteration came out of this process.
#[derive(Debug)]
pub enum Answer {
    /// It is recorded, by us.
    Recorded(Box<Record>),
    /// It had been recorded before we got to it.
    RecordedBefore,
    /// Another process is running it.
    Elsewhere,
    /// It was ended because the user asked; there is no result.
    Cancelled,
}

/// A recorded iteration.
#[derive(Debug)]
pub struct Record {
    /// The facts.
    pub exit: Exit,
    /// The judgement.
    pub outcome: Outcome,
    /// Directory below the logs directory that holds both.
    pub dir: std::path::PathBuf,
    /// Reason of the last lost attempt, when no attempt gave an answer.
    pub lost: Option<String>,
}

/// What can be seen of a running attempt.
#[derive(Debug)]
pub struct Live {
    /// When it started.
    pub since: Instant,
    last_line: Mutex<Vec<u8>>,
}

impl Live {
    fn new() -> Live {
        Live {
            since: Instant::now(),
            last_line: Mutex::default(),
        }
    }

    /// The last line it printed, as printed; control characters are the display's to remove.
    pub fn last_line(&self) -> String {
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Takes in a piece of output; only its last line that is not blank is kept.
    fn see(&self, piece: &[u8]) {
        const LONGEST: usize = 400;
        let mut kept = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if kept.last() == Some(&b'\n') && !line.trim_ascii().is_empty() {
                kept.clear();
            }
            let room = LONGEST.saturating_sub(kept.len());
            kept.extend_from_slice(&line[..line.len().min(room)]);
            if line.ends_with(b"\n") && kept.last() != Some(&b'\n') {
                kept.push(b'\n');
            }
        }
    }
}

/// Runs one iteration to its end.
///
/// # Errors
/// Only when the result could not be recorded; a broken engine is an answer or a cancelled sweep.
pub async fn run(
    context: Arc<Context>,
    arm: usize,
    iteration: u32,
    progress: mpsc::UnboundedSender<Progress>,
    mut cancel: watch::Receiver<Cancel>,
) -> Result<Answer, StoreError> {
    let claim = match context.sweep.claim(iteration)? {
        Claimed::Ours(claim) => claim,
        Claimed::Recorded => return Ok(Answer::RecordedBefore),
        Claimed::Elsewhere => return Ok(Answer::Elsewhere),
    };
    for number in 1.. {
        let mut dir = context.sweep.new_attempt(&claim)?;
        let live = Arc::new(Live::new());
        let _ = progress.send(Progress::Started {
            arm,
            iteration,
            attempt: number,
            live: Arc::clone(&live),
        });
        let executed = execute(&context, iteration, &mut dir, &live, &mut cancel).await;
        let (mut exit, lost) = match executed {
            Executed::Ended(exit) => (*exit, None),
            Executed::Cancelled => {
                context.sweep.lose(dir, "ended by the user")?;
                return Ok(Answer::Cancelled);
            }
            Executed::Unrecorded(error) => return Err(error),
            Executed::Lost(error) => {
                let reason = error.to_string();
                let _ = progress.send(Progress::Lost {
                    arm,
                    iteration,
                    attempt: number,
                    reason: reason.clone(),
                });
                if number < context.spec.max_attempts {
                    context.sweep.lose(dir, &reason)?;
                    if wait_for_engine(&*context.backend, &mut cancel).await == Waited::Cancelled {
                        return Ok(Answer::Cancelled);
                    }
                    continue;
                }
                let exit = Exit {
                    error: Some(reason.clone()),
                    ..facts(&context, None, EndedBy::Itself)
                };
                (exit, Some(reason))
            }
        };
        exit.attempts = number;
        let context = Arc::clone(&context);
        let judged = tokio::task::spawn_blocking(move || {
            let mut outcome = match &lost {
                Some(reason) => errored(reason),
                None => judge_attempt(&mut dir, &exit, &context.signatures)?,
            };
            outcome.iteration = Some(iteration);
            Ok(match context.sweep.publish(claim, dir, &exit, &outcome)? {
                Published::Ours(dir) => Answer::Recorded(Box::new(Record {
                    exit,
                    outcome,
                    dir,
                    lost,
                })),
                Published::Superseded => Answer::RecordedBefore,
            })
        });
        return judged.await.expect("judging and publishing never panic");
    }
    unreachable!("the loop only ends by returning")
}

fn judge_attempt(dir: &mut AttemptDir, exit: &Exit, signatures: &SignatureSet) -> Result<Outcome, StoreError> {
    let files = dir.files()?;
    judge::judge(&files, Some(exit), signatures).map_err(|cause| StoreError::io("read", dir.path(), cause))
}

/// The judgement of an iteration that never got a fair attempt.
fn errored(reason: &str) -> Outcome {
    let mut outcome = Outcome::new(OutcomeKind::Infra);
    outcome.notes.push(format!("no attempt could run: {reason}"));
    outcome
}

/// Exit facts, from what the session tells and what we know.
fn facts(context: &Context, ended: Option<&Ended>, ended_by: EndedBy) -> Exit {
    let mut exit = Exit {
        ended_by,
        backend: Some(context.spec.backend.as_str().to_owned()),
        node: Some(context.node.clone()),
        image: Some(context.spec.image.clone()).filter(|image| !image.is_empty()),
        image_id: context.spec.image_id.clone(),
        argv: context.argv.clone(),
        ..Exit::default()
    };
    if let Some(ended) = ended {
        exit.code = ended.code;
        exit.signal = ended.signal;
        exit.oom_killed = ended.oom_killed;
        exit.error.clone_from(&ended.error);
    }
    exit
}

/// How an attempt ended.
enum Executed {
    Ended(Box<Exit>),
    Cancelled,
    Lost(BackendError),
    Unrecorded(StoreError),
}

/// Starts one session and sees it to its end.
async fn execute(
    context: &Context,
    iteration: u32,
    dir: &mut AttemptDir,
    live: &Live,
    cancel: &mut watch::Receiver<Cancel>,
) -> Executed {
    let sweep = context.sweep.dir();
    let attempt = attempt(&context.spec, &context.argv, sweep, iteration, dir.name(), dir.path());
    let began = Utc::now();
    let mut session = match context.backend.start(&attempt).await {
        Ok(session) => session,
        Err(error) => return Executed::Lost(error),
    };
    let started = Instant::now();
    let followed = follow(&mut *session, context, dir, live, cancel).await;
    let duration = started.elapsed();
    let ended = match (session.finish().await, &followed) {
        (Ok(ended), _) => ended,
        // A session that we ended is an answer even if the engine cannot say how it went down.
        (Err(error), Ok(by)) if *by != EndedBy::Itself => Ended {
            error: Some(error.to_string()),
            ..Ended::default()
        },
        (Err(error), _) => return Executed::Lost(error),
    };
    let ended_by = match followed {
        Ok(EndedBy::Cancel) => return Executed::Cancelled,
        Ok(ended_by) => ended_by,
        Err(Broken::Log(error)) => return Executed::Unrecorded(error),
        Err(Broken::Session(error)) => return Executed::Lost(error),
    };
    let mut exit = facts(context, Some(&ended), ended_by);
    exit.started_at = Some(ended.started_at.unwrap_or(began));
    // The engine's own stamps leave out what it took to set the container up and to tell us of its end.
    let measured = ended
        .started_at
        .zip(ended.finished_at)
        .and_then(|(from, to)| (to - from).to_std().ok());
    exit.duration_s = Some((measured.unwrap_or(duration).as_secs_f64() * 1000.0).round() / 1000.0);
    Executed::Ended(Box::new(exit))
}

/// An attempt at an iteration, as a backend sees it.
pub(crate) fn attempt(spec: &Spec, argv: &[String], sweep: &Path, iteration: u32, name: &str, dir: &Path) -> Attempt {
    let mut dir_env = vec![(spec.output_env.clone(), String::new())];
    if spec.trail {
        dir_env.push((TRAIL_ENV.to_owned(), store::TRAIL.to_owned()));
    }
    Attempt {
        sweep: sweep.to_owned(),
        iteration,
        name: name.to_owned(),
        dir: dir.to_owned(),
        argv: argv.to_vec(),
        env: vec![("REPRODUCE_FLAKY_ITERATION".to_owned(), iteration.to_string())],
        dir_env,
    }
}

/// What keeps a session from being followed to its end.
enum Broken {
    Log(StoreError),
    Session(BackendError),
}

/// How far the end of a session has been brought about by us.
#[derive(Clone, Copy)]
enum Stage {
    Running,
    Terminating { until: Instant, by: EndedBy },
    Killing { until: Instant, by: EndedBy },
}

/// Copies a session's output to its log until it ends, and ends it when a deadline passes or the user asks.
async fn follow(
    session: &mut dyn Session,
    context: &Context,
    dir: &mut AttemptDir,
    live: &Live,
    cancel: &mut watch::Receiver<Cancel>,
) -> Result<EndedBy, Broken> {
    let deadlines = context.spec.deadlines;
    let total = live.since + deadlines.total();
    let mut last_output = Instant::now();
    let mut stage = Stage::Running;
    loop {
        let (wake, reason) = match (stage, deadlines.silence()) {
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
                    live.see(&piece);
                    last_output = Instant::now();
                }
                Ok(None) => return Ok(ended_by(stage)),
                Err(error) => return Err(Broken::Session(error)),
            },
            () = tokio::time::sleep_until(wake) => match stage {
                Stage::Running => {
                    let line = match (reason, deadlines.silence()) {
                        (EndedBy::Silence, Some(silence)) => marker::silence(silence),
                        (_, _) => marker::deadline(deadlines.total()),
                    };
                    dir.write_log(line.as_bytes()).map_err(Broken::Log)?;
                    send(session, Signal::Term).await?;
                    stage = Stage::Terminating { until: Instant::now() + deadlines.grace(), by: reason };
                }
                Stage::Terminating { by, .. } => {
                    send(session, Signal::Kill).await?;
                    stage = Stage::Killing { until: Instant::now() + KILL_PATIENCE, by };
                }
                Stage::Killing { by, .. } => return Ok(by),
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
async fn cancelled(cancel: &mut watch::Receiver<Cancel>) {
    if cancel.wait_for(|level| *level == Cancel::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How waiting for the engine came out.
#[derive(PartialEq, Eq)]
enum Waited {
    Enough,
    Cancelled,
}

/// Gives an engine that went away, as one does that is restarted, time to come back.
async fn wait_for_engine(backend: &dyn Backend, cancel: &mut watch::Receiver<Cancel>) -> Waited {
    let until = Instant::now() + ENGINE_PATIENCE;
    loop {
        // Even where the engine answers at once, what broke the attempt may need a moment to pass.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = cancelled(cancel) => return Waited::Cancelled,
        }
        if backend.ping().await.is_ok() || Instant::now() >= until {
            return Waited::Enough;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_survives_pieces_cut_anywhere_and_blank_lines() {
        let live = Live::new();
        for piece in ["tests/a.py::x PAS", "SED\ntests/a.py::y ", "FAILED\n", "\n  \n"] {
            live.see(piece.as_bytes());
        }
        assert_eq!(live.last_line().trim(), "tests/a.py::y FAILED");
        live.see(&[b'x'; 100_000]);
        assert!(live.last_line().len() <= 401);
    }
}
