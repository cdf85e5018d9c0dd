//! One iteration, a straight line: claim it, start it, keep what it prints, end it if it must be ended, judge it, publish it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::argv::argv;
use crate::backend::{self, Backend, BackendError, Ended, Prepared};
use crate::failpoint::{self, Step};
use crate::judge::{self, EndedBy, Exit, Kept, Outcome, OutcomeKind, SignatureSet, Verdict};
use crate::run::{AttemptDir, Claimed, Published, StoreError, Sweep};
use crate::spec::{BackendKind, Spec};
use crate::timings;

mod facts;
mod follow;
mod live;
mod parts;
mod quiet;
mod ready;
mod stop;

use facts::{facts, machine_load, rounded};
use follow::{Broken, Followed, follow};
pub use live::Live;
pub use parts::Parts;
pub use quiet::Quiet;
pub(crate) use ready::attempt;
pub use ready::{Early, Turn};
use ready::{Ready, attempt_in, make_ready};
pub use stop::{Cancel, Stop};

/// How long an engine that went away is waited for before the next attempt.
const ENGINE_PATIENCE: Duration = Duration::from_mins(1);

/// Everything an iteration needs, the same for all of a sweep.
pub struct Context {
    pub sweep: Sweep,
    pub spec: Spec,
    pub argv: Vec<String>,
    pub backend: Arc<dyn Backend>,
    pub signatures: Arc<SignatureSet>,
    pub node: String,
    pub quiet: Quiet,
    pub when_lost: WhenLost,
    /// What iterations are part of, by number, where a search runs them.
    pub parts: Parts,
    pub early: Early,
}

impl Context {
    /// Iterations that are run here, and tried again where the world breaks under them.
    pub fn new(sweep: Sweep, spec: Spec, backend: Arc<dyn Backend>, signatures: Arc<SignatureSet>) -> Context {
        Context {
            argv: argv(&spec),
            sweep,
            spec,
            backend,
            signatures,
            node: backend::host_name(),
            quiet: Quiet::default(),
            when_lost: WhenLost::TryAgain,
            parts: Parts::default(),
            early: Early::default(),
        }
    }
}

/// What follows when the world broke under an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenLost {
    /// The iteration is tried again here, and the last attempt is recorded as errored.
    #[default]
    TryAgain,
    /// Nothing is recorded: whoever placed the iteration here places it again.
    Report,
}

/// What an iteration tells while it runs.
pub enum News {
    Started {
        /// Number of the attempt, from 1.
        attempt: u32,
        live: Arc<Live>,
    },
    /// The session hung and was to be left running: its container, or why the session was ended all the same.
    Kept(Result<Kept, String>),
    /// The world broke under an attempt.
    Lost { attempt: u32, error: BackendError },
}

/// How an iteration ended in this process.
#[derive(Debug)]
pub enum IterationEnd {
    /// Recorded by this process.
    Recorded(Box<Record>),
    /// Recorded before this process got to it; `None` where the judgement cannot be read.
    RecordedBefore(Option<Box<Outcome>>),
    /// Claimed by another process.
    ByAnother,
    /// The iteration's turn never came; nothing of it ran.
    NotStarted,
    /// Ended on request; there is no result.
    Cancelled,
    /// All attempts were lost, which is not recorded here ([`WhenLost::Report`]).
    Lost(String),
}

impl IterationEnd {
    /// The judgement, where there is an answer.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            IterationEnd::Recorded(record) => Some(&record.outcome),
            IterationEnd::RecordedBefore(outcome) => outcome.as_deref(),
            IterationEnd::ByAnother | IterationEnd::NotStarted | IterationEnd::Cancelled | IterationEnd::Lost(_) => {
                None
            }
        }
    }
}

/// An iteration that we recorded.
#[derive(Debug)]
pub struct Record {
    pub exit: Exit,
    pub outcome: Outcome,
    /// Directory below the logs directory that holds both.
    pub dir: PathBuf,
    /// Reason of the last lost attempt, when no attempt gave an answer.
    pub lost: Option<String>,
}

/// Runs one iteration to its end: at once, or made ready first and then at its turn.
///
/// # Errors
/// Only when the result could not be recorded; a broken engine is a [`IterationEnd`] like any other.
pub async fn run(
    context: Arc<Context>,
    iteration: u32,
    turn: Option<Turn>,
    tell: impl Fn(News),
    mut stop: watch::Receiver<Stop>,
) -> Result<IterationEnd, StoreError> {
    let claim = match context.sweep.claim(iteration)? {
        Claimed::Ours(claim) => claim,
        Claimed::Recorded => return Ok(recorded_before(&context.sweep, iteration)),
        Claimed::ByAnother => return Ok(IterationEnd::ByAnother),
    };
    failpoint::here(Step::Claimed);
    let mut ready = match turn {
        Some(turn) => match make_ready(&context, &claim, turn).await? {
            Some(ready) => Some(ready),
            None => return Ok(IterationEnd::NotStarted),
        },
        None => None,
    };
    for attempt in 1.. {
        if stop.borrow().is_asked() {
            if let Some(ready) = ready {
                context.sweep.discard(&ready.dir);
            }
            return Ok(if attempt == 1 {
                IterationEnd::NotStarted
            } else {
                IterationEnd::Cancelled
            });
        }
        let Ready { mut dir, prepared } = match ready.take() {
            Some(ready) => ready,
            None => Ready {
                dir: context.sweep.new_attempt(&claim)?,
                prepared: None,
            },
        };
        failpoint::here(Step::Attempt);
        let live = Arc::new(Live::new());
        tell(News::Started {
            attempt,
            live: Arc::clone(&live),
        });
        let executed = execute(&context, iteration, prepared, &mut dir, &live, &mut stop).await;
        let (mut exit, lost) = match executed {
            Executed::Ended { exit, kept } => {
                if let Some(kept) = kept {
                    tell(News::Kept(kept));
                }
                (*exit, None)
            }
            Executed::Cancelled => {
                context.sweep.lose(dir, "ended by the user")?;
                return Ok(IterationEnd::Cancelled);
            }
            Executed::Unrecorded(error) => return Err(error),
            Executed::Lost(error) => {
                let reason = error.to_string();
                tell(News::Lost { attempt, error });
                if context.when_lost == WhenLost::Report {
                    context.sweep.lose(dir, &reason)?;
                    return Ok(IterationEnd::Lost(reason));
                }
                if attempt < context.spec.max_attempts {
                    context.sweep.lose(dir, &reason)?;
                    wait_for_engine(&*context.backend, &mut stop).await;
                    continue;
                }
                let exit = Exit {
                    error: Some(reason.clone()),
                    ..facts(&context, iteration, None, EndedBy::Itself)
                };
                (exit, Some(reason))
            }
        };
        exit.attempts = attempt;
        exit.attempt = Some(dir.name().to_owned());
        let context = Arc::clone(&context);
        let judged = tokio::task::spawn_blocking(move || {
            let mut outcome = match &lost {
                Some(reason) => errored(reason),
                None => judge_attempt(&mut dir, &exit, &context.signatures)?,
            };
            outcome.iteration = Some(iteration);
            failpoint::here(Step::Judged);
            timings::moment(iteration, "judged");
            if outcome.verdict == Verdict::Passed {
                context.quiet.learn(&exit);
            }
            Ok(match context.sweep.publish(claim, dir, &exit, &outcome)? {
                Published::Ours(dir) => IterationEnd::Recorded(Box::new(Record {
                    exit,
                    outcome,
                    dir,
                    lost,
                })),
                Published::Superseded => recorded_before(&context.sweep, iteration),
            })
        });
        return judged.await.expect("judging and publishing never panic");
    }
    unreachable!("the loop only ends by returning")
}

fn recorded_before(sweep: &Sweep, iteration: u32) -> IterationEnd {
    IterationEnd::RecordedBefore(sweep.answer(iteration).map(|(_, outcome, _)| Box::new(outcome)))
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
    stop: &mut watch::Receiver<Stop>,
) -> Executed {
    let attempt = attempt_in(context, iteration, dir);
    let co_runners = context.sweep.co_runners(iteration).ok();
    let load = machine_load();
    let (began, began_at) = (Utc::now(), Instant::now());
    // A prepared container that is gone, as after a restart of the engine, is no lost attempt: nothing of it ran.
    let ready = match prepared {
        Some(prepared) => prepared.start().await.ok(),
        None => None,
    };
    let is_ahead = ready.is_some();
    let mut session = match ready {
        Some(session) => session,
        None => match context.backend.start(&attempt).await {
            Ok(session) => session,
            Err(error) => return Executed::Lost(error),
        },
    };
    failpoint::here(Step::Started);
    timings::moment(iteration, "started");
    let started = Instant::now();
    let followed = follow(&mut *session, context, iteration, dir, live, stop).await;
    let ended_at = Instant::now();
    timings::moment(iteration, "ended");
    let ended = match (session.finish().await, &followed) {
        (Ok(ended), _) => ended,
        // A session that we ended is an answer even if the engine cannot say how it ended.
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
    if ended.starved.is_had()
        && let Err(error) = dir.write_windows(&ended.windows)
    {
        return Executed::Unrecorded(error);
    }
    let mut exit = facts(context, iteration, Some(&ended), followed.ended_by);
    if exit.ended_by == EndedBy::Itself && stop::died_of_it(&exit, live, died_at(&ended, ended_at), stop).await {
        return Executed::Cancelled;
    }
    if context.spec.backend == BackendKind::Docker {
        exit.conditions.get_or_insert_default().started_ahead = Some(is_ahead);
    }
    exit.nonce = Some(followed.nonce);
    exit.co_runners = co_runners;
    exit.log_cut = (cut > 0).then_some(cut);
    exit.load = Some(load);
    exit.quiet_s = Some(rounded(followed.longest_quiet));
    exit.trail_bytes = followed.trail_bytes;
    exit.started_at = Some(ended.started_at.unwrap_or(began));
    // The engine's stamps leave out what it took to set the container up and to tell us of its end. They are read from
    // a clock that can be set, so that they count only within the span that we have measured.
    let stamped = (ended.started_at.zip(ended.finished_at)).and_then(|(from, to)| (to - from).to_std().ok());
    let duration = stamped.map_or(ended_at - started, |stamped| stamped.min(began_at.elapsed()));
    exit.duration_s = Some(rounded(duration));
    exit.kept = followed.kept.as_ref().and_then(|kept| kept.clone().ok());
    Executed::Ended {
        exit: Box::new(exit),
        kept: followed.kept,
    }
}

/// When a session's process died: processes that it leaves behind may hold the output open for a while.
fn died_at(ended: &Ended, ended_at: Instant) -> Instant {
    let ago = ended.finished_at.and_then(|at| (Utc::now() - at).to_std().ok());
    ago.and_then(|ago| Instant::now().checked_sub(ago))
        .map_or(ended_at, |at| at.min(ended_at))
}

/// Waits for an engine that went away, as during a restart, to come back; less long once a stop is asked for.
async fn wait_for_engine(backend: &dyn Backend, stop: &mut watch::Receiver<Stop>) {
    let until = Instant::now() + ENGINE_PATIENCE;
    loop {
        // Even where the engine answers at once, what broke the attempt may need a moment to pass.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop::asked(stop) => return,
        }
        if backend.ping().await.is_ok() || Instant::now() >= until {
            return;
        }
    }
}
