//! The work of a plan: runs of one or several sweeps, as many at a time as the plan may still need, until it is decided.
//!
//! A plan sees what is recorded, in flight here and in flight elsewhere, and says which run comes next. Its state is
//! recomputed from the recorded runs each time, so that a resume, and every other process that works on the same
//! sweeps, comes to the same decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::iteration::IterationEnd;
use super::scheduler::{Arm, Next, Reason, Task, Work};
use crate::judge::{Outcome, OutcomeKind, Verdict};
use crate::stats::Answer;

/// How often a run is looked for that another process is at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Errored runs of this process without an answer in between after which nothing more is expected of it.
const MOST_ERRORED: u64 = 5;

/// Most runs that are told one by one where a stretch of numbers is missing: no plan looks beyond its first gap.
const MOST_MISSING: u32 = 100_000;

/// What decides which runs are needed.
pub trait Plan: Send {
    /// What is to be done, by all that is known.
    fn next(&self, runs: &Runs) -> Step;

    /// What a run says about the class that is looked at.
    fn answer(&self, outcome: &Outcome) -> Answer;

    /// Runs that are still to be started, if all goes as the plan hopes.
    fn left(&self, runs: &Runs) -> u64;

    /// What the answers so far carry, in a line.
    fn standing(&self, runs: &Runs) -> String;
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This run is needed whatever those in flight come to.
    Run {
        /// The number of its sweep.
        arm: usize,
        iteration: u32,
    },
    /// What is in flight may decide.
    Wait,
    /// The plan is decided.
    Decided(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Recorded(Answer),
    InFlight,
    /// Another process has it; it is looked for again at this moment.
    ByAnother(Instant),
}

/// The runs of a plan, by the number of their sweep and their own.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    arms: Vec<BTreeMap<u32, State>>,
}

impl Runs {
    /// What is recorded of each sweep.
    pub fn recorded(arms: impl IntoIterator<Item = BTreeMap<u32, Answer>>) -> Runs {
        let state = |runs: BTreeMap<u32, Answer>| {
            runs.into_iter()
                .map(|(run, answer)| (run, State::Recorded(answer)))
                .collect()
        };
        Runs {
            arms: arms.into_iter().map(state).collect(),
        }
    }

    /// The answers of a sweep from its first run on, in the order of their numbers.
    pub fn answers(&self, arm: usize) -> Vec<Answer> {
        self.hoped(arm, Answer::Awaited)
    }

    /// The answers of a sweep if every run in flight came to this one.
    pub fn hoped(&self, arm: usize, hope: Answer) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut next = 1;
        for (iteration, state) in &self.arms[arm] {
            let missing = iteration.saturating_sub(next).min(MOST_MISSING) as usize;
            answers.extend(std::iter::repeat_n(Answer::Awaited, missing));
            answers.push(match state {
                State::Recorded(answer) => *answer,
                State::InFlight | State::ByAnother(_) => hope,
            });
            next = iteration.saturating_add(1);
        }
        answers
    }

    /// The first run of a sweep that nobody has begun.
    pub fn first_free(&self, arm: usize) -> u32 {
        let runs = &self.arms[arm];
        (1..=u32::MAX)
            .find(|iteration| !runs.contains_key(iteration))
            .unwrap_or(u32::MAX)
    }

    /// Whether somebody is at a run, or was.
    pub fn has_begun(&self, arm: usize, iteration: u32) -> bool {
        self.arms[arm].contains_key(&iteration)
    }

    /// Runs in flight, here and elsewhere.
    pub fn in_flight(&self, arm: usize) -> u64 {
        let runs = self.arms[arm].values();
        runs.filter(|state| !matches!(state, State::Recorded(_))).count() as u64
    }

    /// A run that another process had a while ago.
    fn due(&self) -> Option<(usize, u32)> {
        let now = Instant::now();
        let due = |state: &State| matches!(state, State::ByAnother(again) if *again <= now);
        self.arms.iter().enumerate().find_map(|(arm, runs)| {
            let (iteration, _) = runs.iter().find(|(_, state)| due(state))?;
            Some((arm, *iteration))
        })
    }
}

/// A plan at work.
pub struct Planned<P> {
    plan: P,
    arms: Vec<Arc<Arm>>,
    runs: Runs,
    is_decided: bool,
    /// Errored runs of this process since its last answer.
    errored: u64,
    /// Why no decision is expected any more.
    gave_up: Option<String>,
}

impl<P: Plan> Planned<P> {
    /// A plan over sweeps of which these runs are recorded.
    pub fn new(plan: P, arms: Vec<Arc<Arm>>, runs: Runs) -> Planned<P> {
        let is_decided = matches!(plan.next(&runs), Step::Decided(_));
        Planned {
            plan,
            arms,
            runs,
            is_decided,
            errored: 0,
            gave_up: None,
        }
    }

    /// Why the plan was left without a decision, where it was not stopped from outside.
    pub fn gave_up(&self) -> Option<&str> {
        self.gave_up.as_deref()
    }

    /// The plan, which knows what the recorded runs show.
    pub fn into_plan(self) -> P {
        self.plan
    }

    fn hand_out(&mut self, arm: usize, iteration: u32) -> Next {
        self.runs.arms[arm].insert(iteration, State::InFlight);
        let arm = Arc::clone(&self.arms[arm]);
        Next::Run(Task { arm, iteration })
    }

    fn position(&self, task: &Task) -> usize {
        let found = self.arms.iter().position(|arm| Arc::ptr_eq(arm, &task.arm));
        found.unwrap_or_default()
    }

    /// Takes in whether a run of this process said anything. What says nothing again and again will not begin to.
    fn watch(&mut self, outcome: &Outcome) {
        if outcome.verdict != Verdict::Errored {
            self.errored = 0;
            return;
        }
        self.errored += 1;
        // pytest was called wrongly, or found no tests: the next run would say the same.
        let is_certain = matches!(outcome.outcome, OutcomeKind::UsageError | OutcomeKind::NoTests);
        if is_certain || self.errored >= MOST_ERRORED {
            let cause = outcome.evidence.first().map(|evidence| evidence.text.clone());
            let cause = cause.or_else(|| outcome.notes.first().cloned());
            self.gave_up = Some(match cause {
                Some(cause) => format!("{}: {cause}", outcome.outcome.as_str()),
                None => outcome.outcome.as_str().to_owned(),
            });
        }
    }
}

impl<P: Plan> Work for Planned<P> {
    fn arms(&self) -> Vec<Arc<Arm>> {
        self.arms.clone()
    }

    fn next(&mut self) -> anyhow::Result<Next> {
        if let Step::Decided(reason) = self.plan.next(&self.runs) {
            self.is_decided = true;
            return Ok(Next::Done(reason));
        }
        if let Some(cause) = &self.gave_up {
            return Ok(Next::Done(Reason::Broken(format!("the runs errored: {cause}"))));
        }
        if let Some((arm, iteration)) = self.runs.due() {
            return Ok(self.hand_out(arm, iteration));
        }
        Ok(match self.plan.next(&self.runs) {
            Step::Run { arm, iteration } => self.hand_out(arm, iteration),
            Step::Wait => Next::Wait,
            Step::Decided(reason) => Next::Done(reason),
        })
    }

    fn ended(&mut self, task: &Task, end: &IterationEnd) {
        let arm = self.position(task);
        let state = match end {
            IterationEnd::ByAnother => Some(State::ByAnother(Instant::now() + LOOK_AGAIN)),
            IterationEnd::Recorded(record) => {
                self.watch(&record.outcome);
                Some(State::Recorded(self.plan.answer(&record.outcome)))
            }
            IterationEnd::RecordedBefore(outcome) => {
                let answer = outcome.as_deref().map(|outcome| self.plan.answer(outcome));
                Some(State::Recorded(answer.unwrap_or(Answer::Unanswered)))
            }
            IterationEnd::NotStarted | IterationEnd::Cancelled | IterationEnd::Lost(_) => None,
        };
        let runs = &mut self.runs.arms[arm];
        match state {
            Some(state) => runs.insert(task.iteration, state),
            None => runs.remove(&task.iteration),
        };
        self.is_decided = matches!(self.plan.next(&self.runs), Step::Decided(_));
    }

    fn is_wanted(&mut self, _task: &Task, _has_begun: bool) -> bool {
        !self.is_decided
    }

    fn left(&self) -> usize {
        usize::try_from(self.plan.left(&self.runs)).unwrap_or(usize::MAX)
    }

    fn standing(&self) -> String {
        self.plan.standing(&self.runs)
    }
}
