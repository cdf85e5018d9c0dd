//! One iteration, a straight line: claim it, start it, keep what it prints, end it if it must be ended, judge it, publish it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::backend::{Attempt, Backend, BackendError, Ended, Prepared};
use crate::failpoint::{self, Step};
use crate::judge::{self, SignatureSet};
use crate::model::{EndedBy, Exit, Kept, Outcome, OutcomeKind, Spec, Verdict};
use crate::pytest::trail::TRAIL_ENV;
use crate::store::{self, AttemptDir, Claimed, Published, StoreError, Sweep};

mod facts;
mod follow;
mod live;
mod quiet;
mod ready;

use facts::{facts, machine_load, rounded};
use follow::{Broken, Followed, cancelled, follow};
pub use live::Live;
pub use quiet::Quiet;
use ready::{Ready, make_ready};

/// The signal by which a session is asked to end.
const TERM: i32 = 15;

/// How long an engine that went away is waited for before the next attempt.
const ENGINE_PATIENCE: Duration = Duration::from_mins(1);

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
    /// How quiet iterations that pass may be.
    pub quiet: Quiet,
    /// What becomes of an iteration whose attempts the world broke.
    pub losses: Losses,
}

/// What becomes of an iteration whose attempts the world broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Losses {
    /// It is tried again here, and the last attempt is recorded as errored.
    #[default]
    Recorded,
    /// Nothing is recorded after the first one: whoever placed the iteration here places it again.
    Told,
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
    /// It hung, and was to be left running.
    Kept {
        /// Number of the arm, from 0.
        arm: usize,
        /// Number of the iteration.
        iteration: u32,
        /// Where it is, or why it was ended all the same.
        kept: Result<Kept, String>,
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
    /// The world broke under it, and that is not recorded here.
    Lost(String),
    /// Its turn never came: it was made ready, and nothing of it ran.
    NotStarted,
}

/// When an iteration that is made ready ahead may start: once something arrives. It never may if the sender is dropped.
pub type Turn = tokio::sync::oneshot::Receiver<()>;

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

/// Runs one iteration to its end: at once, or made ready first and then at its turn.
///
/// # Errors
/// Only when the result could not be recorded; a broken engine is an answer or a cancelled sweep.
///
/// # Panics
/// When judging or publishing panicked, which would be a mistake in them.
pub async fn run(
    context: Arc<Context>,
    arm: usize,
    iteration: u32,
    turn: Option<Turn>,
    progress: mpsc::UnboundedSender<Progress>,
    mut cancel: watch::Receiver<Cancel>,
) -> Result<Answer, StoreError> {
    let claim = match context.sweep.claim(iteration)? {
        Claimed::Ours(claim) => claim,
        Claimed::Recorded => return Ok(Answer::RecordedBefore),
        Claimed::Elsewhere => return Ok(Answer::Elsewhere),
    };
    failpoint::here(Step::Claimed);
    let mut ready = match turn {
        Some(turn) => match make_ready(&context, &claim, turn).await? {
            Some(ready) => Some(ready),
            None => return Ok(Answer::NotStarted),
        },
        None => None,
    };
    for number in 1.. {
        let Ready { mut dir, prepared } = match ready.take() {
            Some(ready) => ready,
            None => Ready {
                dir: context.sweep.new_attempt(&claim)?,
                prepared: None,
            },
        };
        failpoint::here(Step::Attempt);
        let live = Arc::new(Live::new());
        let _ = progress.send(Progress::Started {
            arm,
            iteration,
            attempt: number,
            live: Arc::clone(&live),
        });
        let executed = execute(&context, iteration, prepared, &mut dir, &live, &mut cancel).await;
        let (mut exit, lost) = match executed {
            Executed::Ended { exit, kept } => {
                if let Some(kept) = kept {
                    let _ = progress.send(Progress::Kept { arm, iteration, kept });
                }
                (*exit, None)
            }
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
                if context.losses == Losses::Told {
                    context.sweep.lose(dir, &reason)?;
                    return Ok(Answer::Lost(reason));
                }
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
        exit.attempt = Some(dir.name().to_owned());
        let context = Arc::clone(&context);
        let judged = tokio::task::spawn_blocking(move || {
            let mut outcome = match &lost {
                Some(reason) => errored(reason),
                None => judge_attempt(&mut dir, &exit, &context.signatures)?,
            };
            outcome.iteration = Some(iteration);
            failpoint::here(Step::Judged);
            if outcome.verdict == Verdict::Passed {
                context.quiet.learn(&exit);
            }
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

/// How an attempt ended.
enum Executed {
    Ended {
        exit: Box<Exit>,
        kept: Option<Result<Kept, String>>,
    },
    Cancelled,
    Lost(BackendError),
    Unrecorded(StoreError),
}

/// Starts one session and sees it to its end.
async fn execute(
    context: &Context,
    iteration: u32,
    prepared: Option<Box<dyn Prepared>>,
    dir: &mut AttemptDir,
    live: &Live,
    cancel: &mut watch::Receiver<Cancel>,
) -> Executed {
    let sweep = context.sweep.dir();
    let attempt = attempt(&context.spec, &context.argv, sweep, iteration, dir.name(), dir.path());
    let co_runners = context.sweep.co_runners(iteration).ok();
    let load = machine_load();
    let began = Utc::now();
    // What was made ready and is gone, as after a restart of the engine, is no lost attempt: nothing of it ran.
    let ready = match prepared {
        Some(prepared) => prepared.start().await.ok(),
        None => None,
    };
    let mut session = match ready {
        Some(session) => session,
        None => match context.backend.start(&attempt).await {
            Ok(session) => session,
            Err(error) => return Executed::Lost(error),
        },
    };
    failpoint::here(Step::Started);
    let started = Instant::now();
    let followed = follow(&mut *session, context, dir, live, cancel).await;
    let duration = started.elapsed();
    let ended = match (session.finish().await, &followed) {
        (Ok(ended), _) => ended,
        // A session that we ended is an answer even if the engine cannot say how it went down.
        (Err(error), Ok(followed)) if followed.ended_by != EndedBy::Itself => Ended {
            error: Some(error.to_string()),
            ..Ended::default()
        },
        (Err(error), _) => return Executed::Lost(error),
    };
    let followed = match followed {
        Ok(Followed {
            ended_by: EndedBy::Cancel,
            ..
        }) => return Executed::Cancelled,
        Ok(followed) => followed,
        Err(Broken::Log(error)) => return Executed::Unrecorded(error),
        Err(Broken::Session(error)) => return Executed::Lost(error),
    };
    failpoint::here(Step::Ended);
    let cut = match dir.end_log() {
        Ok(cut) => cut,
        Err(error) => return Executed::Unrecorded(error),
    };
    let mut exit = facts(context, Some(&ended), followed.ended_by);
    if exit.ended_by == EndedBy::Itself && exit.signal == Some(TERM) && is_cut_short(cancel).await {
        return Executed::Cancelled;
    }
    exit.co_runners = co_runners;
    exit.log_cut = (cut > 0).then_some(cut);
    exit.load = Some(load);
    exit.quiet_s = Some(rounded(followed.longest_quiet));
    exit.trail_bytes = followed.trail_bytes;
    exit.started_at = Some(ended.started_at.unwrap_or(began));
    // The engine's own stamps leave out what it took to set the container up and to tell us of its end.
    let measured = ended
        .started_at
        .zip(ended.finished_at)
        .and_then(|(from, to)| (to - from).to_std().ok());
    exit.duration_s = Some(rounded(measured.unwrap_or(duration)));
    exit.kept = followed.kept.as_ref().and_then(|kept| kept.clone().ok());
    Executed::Ended {
        exit: Box::new(exit),
        kept: followed.kept,
    }
}

/// Whether a session that ended by TERM had it from whoever ends us too: a terminal or a batch system signals every
/// process of a job, and the session may be gone before we have heard of it.
async fn is_cut_short(cancel: &mut watch::Receiver<Cancel>) -> bool {
    tokio::time::timeout(Duration::from_millis(300), cancelled(cancel))
        .await
        .is_ok()
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
