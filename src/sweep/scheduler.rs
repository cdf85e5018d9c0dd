//! The only scheduler: it runs iterations that it is handed, several at a time, and tells what they came to.
//!
//! What is run is up to a [`Work`]: sweeps and arms ([`super::blocks`]), a replay and its search, and whatever else
//! looks for something by running iterations. A work is asked for the next iteration, each with the sweep it belongs to
//! and so with the conditions it runs under, whenever there is room for one. It is told what each of them came to
//! before it is asked again, so that it can decide by all that is known. A work starts nothing, waits for nothing and
//! hears of no signal.
//!
//! ```text
//! let mut work = Blocks::new(..);                       // or any other impl Work
//! let end = scheduler::run(&mut work, pace, displays, signals).await?;
//! // End says why it ended; what was found out stands in `work`.
//! ```
//!
//! The scheduler owns the rest: iterations in flight and those made ready ahead of their turn, requests to stop,
//! attempts that break the same way again and again, and the [`board`]: tally, events and displays. One task owns all
//! of it and hears of everything that happens. An iteration is published before it is announced. A store that cannot
//! record stops the sweep; a display that fails is switched off.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::judge::Outcome;
use crate::run::StoreError;
use crate::sweep::display::Reporter;
use crate::sweep::iteration::{self, Cancel, Context, IterationEnd, News};
use crate::sweep::stop::StopReason;
use crate::sweep::{EventKind, Tally};

mod board;
mod breakage;
mod follow;
mod seats;

use board::Board;
pub use follow::{Placement, follow};
use seats::Seats;

/// How often displays are refreshed, and a work that waits is asked again.
const TICK: Duration = Duration::from_millis(250);

/// Where iterations come from.
pub trait Work: Send {
    /// The sweeps that are known before the first iteration is asked for. Another one is announced with its first
    /// iteration.
    fn arms(&self) -> Vec<Arc<Arm>> {
        Vec::new()
    }

    /// The next iteration to run. Until it has come to something it must not be handed out again.
    ///
    /// # Errors
    /// Whatever makes it pointless to go on. What runs is ended.
    fn next(&mut self) -> anyhow::Result<Next>;

    /// Takes in the result of an iteration that was handed out.
    fn ended(&mut self, task: &Task, end: &IterationEnd);

    /// Whether an iteration that was handed out is still of use. Of those that are not, one that runs is ended, and
    /// one that was made ready ahead never begins; both come to no answer.
    fn is_wanted(&mut self, task: &Task, has_begun: bool) -> bool {
        let _ = (task, has_begun);
        true
    }

    /// How many iterations are still to be handed out, as far as that is known.
    fn left(&self) -> usize;

    /// A line for the displays about the evidence so far.
    fn standing(&self) -> String {
        String::new()
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Run this iteration.
    Run(Task),
    /// Nothing to run now. The work is asked again after the next result, and a few times a second.
    Wait,
    /// Nothing more to run. Running iterations go on to their end.
    Done(Reason),
}

#[derive(Clone, Debug)]
pub struct Task {
    pub arm: Arc<Arm>,
    pub iteration: u32,
}

impl Task {
    fn context(&self) -> &Arc<Context> {
        &self.arm.context
    }
}

/// One sweep, as far as this process works on it: the only one, one of several arms, the runs of one list.
pub struct Arm {
    /// `None` where there is only one.
    pub name: Option<String>,
    pub context: Arc<Context>,
    /// First and last iteration asked for.
    pub range: (u32, u32),
    /// Those that this process sets out to run, as far as it knows them beforehand.
    pub missing: Vec<u32>,
    /// What those of the range that were recorded before came to.
    pub recorded: Vec<(u32, Outcome)>,
    /// Answers of the range that `--retry` replaced, in the order they were given.
    pub replaced: Vec<(u32, Outcome)>,
}

impl Arm {
    /// An arm of which nothing is recorded, and whose missing iterations are not known beforehand.
    pub fn new(context: Arc<Context>, range: (u32, u32)) -> Arm {
        Arm {
            name: None,
            context,
            range,
            missing: Vec::new(),
            recorded: Vec::new(),
            replaced: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arm").field(&self.context.sweep.shown()).finish()
    }
}

/// How fast a process goes, and how it stops.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Iterations in flight, of all arms together.
    pub jobs: u32,
    /// How long running iterations may go on after the first signal.
    pub cancel_grace: Duration,
}

/// How a process's part ended.
#[derive(Debug)]
pub struct End {
    pub reason: Reason,
    /// Counts as this process knows them, all arms together.
    pub tally: Tally,
}

/// Why a process stopped running iterations.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    Complete,
    Stopped(StopReason),
    /// A signal.
    Interrupted,
    /// What was placed elsewhere was taken back.
    Cancelled,
    /// The world broke the same way again and again.
    Broken(String),
    /// pytest runs no test, as it says in these words, and would not in any iteration.
    NothingRuns(String),
}

impl Reason {
    /// As `SweepFinished` says it.
    pub fn text(&self) -> String {
        match self {
            Reason::Complete => "complete".to_owned(),
            Reason::Stopped(rule) => rule.to_string(),
            Reason::Interrupted => "interrupted".to_owned(),
            Reason::Cancelled => "cancelled".to_owned(),
            Reason::Broken(cause) => format!("broken: {cause}"),
            Reason::NothingRuns(words) => format!("broken: {words}"),
        }
    }
}

/// Runs what a work hands out, until it is done or something stops it.
///
/// # Errors
/// A result could not be recorded, a claim could not be made, or the work could not go on.
pub async fn run(
    work: &mut dyn Work,
    pace: Pace,
    displays: Vec<Box<dyn Reporter>>,
    mut signals: mpsc::UnboundedReceiver<()>,
) -> anyhow::Result<End> {
    let mut board = Board::new(displays, pace.jobs);
    board.set_pending(work.left());
    board.announce(&work.arms());
    let (tell, mut news) = mpsc::unbounded_channel();
    let mut seats = Seats::new(pace.jobs);
    let mut flights: JoinSet<Landing> = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut drains_until: Option<Instant> = None;
    let mut fatal: Option<anyhow::Error> = None;
    loop {
        seats.end_unwanted(work);
        if board.is_stopping() {
            seats.dismiss();
        }
        while !board.is_stopping() {
            let is_ahead = !seats.has_room();
            if !is_ahead && seats.next_turn() {
                continue;
            }
            if is_ahead && !(seats.has_room_ahead() && board.is_time_to_prepare()) {
                break;
            }
            let task = match work.next() {
                Ok(Next::Run(task)) => task,
                Ok(Next::Wait) => break,
                Ok(Next::Done(reason)) => {
                    board.stop(reason);
                    continue;
                }
                Err(error) => {
                    board.stop(Reason::Broken(error.to_string()));
                    seats.stop(Cancel::Now, None);
                    fatal.get_or_insert(error);
                    continue;
                }
            };
            if is_ahead && !task.context().backend.is_ahead() {
                work.ended(&task, &IterationEnd::NotStarted);
                break;
            }
            board.announce(std::slice::from_ref(&task.arm));
            // An iteration that can be made ready is, also where its turn has come already: so all start alike.
            let (opens, turn) = task.context().backend.is_ahead().then(oneshot::channel).unzip();
            let (id, stop) = seats.take(task.clone(), opens);
            let tell = tell.clone();
            flights.spawn(async move {
                let context = Arc::clone(task.context());
                let tell = move |news| drop(tell.send((id, news)));
                (id, iteration::run(context, task.iteration, turn, tell, stop).await)
            });
        }
        board.set_pending(work.left() + seats.standing_by());
        if flights.is_empty() && board.is_stopping() {
            break;
        }
        tokio::select! {
            biased;
            Some((id, news)) = news.recv() => hear(&mut board, &seats, id, news),
            Some(landed) = flights.join_next() => {
                let (id, end) = landed.expect("an iteration never panics");
                // What it told before it landed comes first.
                while let Ok((id, news)) = news.try_recv() {
                    hear(&mut board, &seats, id, news);
                }
                let Some(task) = seats.land(id) else { continue };
                match end {
                    Ok(end) => {
                        board.landed(&task, &end);
                        work.ended(&task, &end);
                    }
                    Err(error) => {
                        board.landed(&task, &IterationEnd::Cancelled);
                        work.ended(&task, &IterationEnd::Cancelled);
                        board.stop(Reason::Broken(error.to_string()));
                        seats.stop(Cancel::Now, None);
                        fatal.get_or_insert(error.into());
                    }
                }
            }
            Some(()) = signals.recv() => {
                let cancel = if drains_until.is_none() { Cancel::Drain } else { Cancel::Now };
                board.stop(Reason::Interrupted);
                board.emit_to_all(&EventKind::CancelRequested { now: cancel == Cancel::Now });
                drains_until.get_or_insert(Instant::now() + pace.cancel_grace);
                seats.stop(cancel, Some(Instant::now()));
            }
            () = at(drains_until), if seats.cancel() == Cancel::Drain => {
                board.emit_to_all(&EventKind::CancelRequested { now: true });
                seats.stop(Cancel::Now, None);
            }
            _ = tick.tick() => board.tick(&work.standing()),
        }
    }
    if let Some(error) = fatal {
        return Err(error);
    }
    board.record_reason()?;
    Ok(board.end())
}

/// A flight that has ended.
type Landing = (u64, Result<IterationEnd, StoreError>);

fn hear(board: &mut Board, seats: &Seats, id: u64, news: News) {
    if let Some(task) = seats.task(id) {
        board.hear(task, news);
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
