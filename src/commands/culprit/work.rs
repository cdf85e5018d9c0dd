//! The work of a search for the scheduler: rounds of probes and blocks, on candidates that are opened when they are
//! first visited.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::course::{Ahead, Course, Wanted};
use super::evidence::RunResult;
use super::found::picture;
use crate::judge::Verdict;
use crate::message::{hinted, tell};
use crate::report::paint::Paint;
use crate::report::search::IN_A_DISPLAY;
use crate::run::{self, SearchDir, SearchLock};
use crate::sweep::iteration::IterationEnd;
use crate::sweep::scheduler::{Arm, Next, Reason, Task, Work};
use crate::sweep::stop::{Class, StopReason};

/// Errored runs of this process without an answer in between after which nothing more is expected of it.
const MOST_ERRORED: u64 = 8;

/// How often it is looked whether another process has confirmed a candidate.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What became of opening a candidate.
pub(super) enum Opened {
    Ready(Arc<Arm>),
    /// This candidate cannot be built or run; the others can.
    CannotRun(String),
    /// Nothing can be run.
    Broken(anyhow::Error),
}

pub(super) struct Searching {
    pub(super) course: Course,
    class: Class,
    titles: Vec<Option<String>>,
    arms: Vec<Option<Arc<Arm>>>,
    round: VecDeque<Wanted>,
    in_flight: usize,
    /// Numbers of runs that other processes have, by candidate.
    taken: BTreeSet<(usize, u32)>,
    /// The search's directory, and those of its candidates' sweeps.
    dir: SearchDir,
    sweeps: Vec<PathBuf>,
    /// Held while this process confirms a candidate: a block that two processes ran would be two answers to one question.
    confirming: Option<SearchLock>,
    /// When it is looked again whether another process has confirmed it.
    again: Option<Instant>,
    ask: UnboundedSender<usize>,
    asked: BTreeSet<usize>,
    opened: UnboundedReceiver<(usize, Opened)>,
    errored: u64,
    /// Why the search was left without an answer, where it was not stopped from outside.
    pub(super) gave_up: Option<String>,
}

impl Searching {
    /// A search that asks for candidates to be opened by their numbers.
    pub(super) fn new(
        course: Course,
        class: Class,
        titles: Vec<Option<String>>,
        (dir, sweeps): (SearchDir, Vec<PathBuf>),
        ask: UnboundedSender<usize>,
        opened: UnboundedReceiver<(usize, Opened)>,
    ) -> Searching {
        Searching {
            arms: vec![None; course.names.len()],
            course,
            class,
            titles,
            round: VecDeque::new(),
            in_flight: 0,
            taken: BTreeSet::new(),
            dir,
            sweeps,
            confirming: None,
            again: None,
            ask,
            asked: BTreeSet::new(),
            opened,
            errored: 0,
            gave_up: None,
        }
    }

    pub(super) fn opened(&self) -> impl Iterator<Item = (usize, &Arc<Arm>)> {
        let numbered = self.arms.iter().enumerate();
        numbered.filter_map(|(candidate, arm)| Some((candidate, arm.as_ref()?)))
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        while let Ok((candidate, opened)) = self.opened.try_recv() {
            match opened {
                Opened::Ready(arm) => self.arms[candidate] = Some(arm),
                Opened::CannotRun(why) => self.leave_out(candidate, why)?,
                Opened::Broken(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, candidate: usize, why: String) -> anyhow::Result<()> {
        if candidate == self.course.bad_end() {
            return Err(bad_end_cannot_run(&self.course.names[candidate], &why));
        }
        tell(format_args!(
            "note: `{}` is left out: {}",
            self.course.names[candidate],
            crate::report::shown::short(&why, 200)
        ));
        self.course.leave_out(candidate, why);
        self.round.clear();
        Ok(())
    }

    /// Takes in what other processes have recorded.
    fn learn(&mut self) -> anyhow::Result<()> {
        for (candidate, dir) in self.sweeps.iter().enumerate() {
            for iteration in run::recorded(dir)? {
                if !self.course.has(candidate, iteration)
                    && let Some((exit, outcome, _)) = run::answer(dir, iteration)
                {
                    let part = exit
                        .conditions
                        .as_ref()
                        .and_then(|conditions| conditions.culprit.as_ref());
                    let came = RunResult::of(&outcome, &self.class);
                    self.course.record(candidate, iteration, part, came);
                }
            }
        }
        Ok(())
    }

    /// What comes next by all that is recorded; `None` while another process confirms a candidate.
    fn plan(&mut self) -> anyhow::Result<Option<Ahead>> {
        if self.again.is_some_and(|again| again > Instant::now()) {
            return Ok(None);
        }
        self.learn()?;
        let ahead = self.course.ahead();
        if !matches!(&ahead, Ahead::Run(wanted) if wanted.iter().any(|wanted| wanted.confirms.is_some())) {
            self.confirming = None;
            return Ok(Some(ahead));
        }
        if self.confirming.is_some() {
            return Ok(Some(ahead));
        }
        self.confirming = self.dir.lock_confirmation()?;
        if self.confirming.is_none() {
            self.again = Some(Instant::now() + LOOK_AGAIN);
            return Ok(None);
        }
        // The process that had the lock may have recorded more runs before it let go.
        self.learn()?;
        Ok(Some(self.course.ahead()))
    }

    /// The next run of the round whose candidate is open; the others are asked for.
    fn take(&mut self) -> Option<Task> {
        let is_open = |wanted: &Wanted| self.arms[wanted.candidate].is_some();
        let is_confirmation = self.round.iter().any(|wanted| wanted.confirms.is_some());
        for wanted in self.round.iter().filter(|wanted| !is_open(wanted)) {
            if self.asked.insert(wanted.candidate) {
                // Whoever opens candidates lives as long as the search.
                let _ = self.ask.send(wanted.candidate);
            }
        }
        // The sides of a block run in the order drawn.
        let at = match self.round.iter().position(is_open) {
            Some(at) if !is_confirmation || self.round.iter().all(is_open) => at,
            Some(_) | None => return None,
        };
        let wanted = self.round.remove(at)?;
        let arm = Arc::clone(self.arms[wanted.candidate].as_ref()?);
        let mut iteration = self.course.free(wanted.candidate);
        while self.taken.contains(&(wanted.candidate, iteration)) {
            iteration += 1;
        }
        let part = self.course.start(&wanted, iteration);
        arm.context.parts.set(iteration, part);
        self.in_flight += 1;
        Some(Task { arm, iteration })
    }

    fn candidate(&self, task: &Task) -> usize {
        let is_it = |arm: &Option<Arc<Arm>>| arm.as_ref().is_some_and(|arm| Arc::ptr_eq(arm, &task.arm));
        self.arms.iter().position(is_it).unwrap_or_default()
    }

    /// Takes in whether a run of this process said anything.
    fn watch(&mut self, candidate: usize, came: &RunResult, verdict: Verdict) {
        if verdict != Verdict::Errored {
            self.errored = 0;
            return;
        }
        self.errored += 1;
        let RunResult::Silent { why, .. } = came else { return };
        if self.course.left_out().contains_key(&candidate) && candidate != self.course.bad_end() {
            tell(format_args!(
                "note: `{}` is left out: {}",
                self.course.names[candidate],
                crate::report::shown::short(why, 200)
            ));
            self.errored = 0;
        } else if self.errored >= MOST_ERRORED {
            self.gave_up = Some(why.clone());
        }
    }
}

/// The error for a search that has nothing to look for.
fn bad_end_cannot_run(name: &str, why: &str) -> anyhow::Error {
    hinted(
        format!("the bad end, `{name}`, cannot be run: {why}"),
        "end the range with a candidate in which the failure was seen",
    )
}

impl Work for Searching {
    fn arms(&self) -> Vec<Arc<Arm>> {
        self.arms.iter().flatten().cloned().collect()
    }

    fn next(&mut self) -> anyhow::Result<Next> {
        self.hear()?;
        if let Some(cause) = &self.gave_up {
            return Ok(Next::Done(Reason::Broken(format!("the runs errored: {cause}"))));
        }
        let course = &self.course;
        self.round.retain(|wanted| course.is_wanted(wanted));
        if self.round.is_empty() {
            if self.in_flight > 0 {
                return Ok(Next::Wait);
            }
            if let Some(why) = self.course.left_out().get(&self.course.bad_end()) {
                return Err(bad_end_cannot_run(&self.course.names[self.course.bad_end()], why));
            }
            match self.plan()? {
                None => return Ok(Next::Wait),
                Some(Ahead::Over(_)) => return Ok(Next::Done(Reason::Stopped(StopReason::Decided))),
                Some(Ahead::Run(wanted)) => self.round = wanted.into(),
            }
        }
        Ok(self.take().map_or(Next::Wait, Next::Run))
    }

    fn ended(&mut self, task: &Task, end: &IterationEnd) {
        let candidate = self.candidate(task);
        self.in_flight = self.in_flight.saturating_sub(1);
        let came = match end {
            IterationEnd::Recorded(record) => {
                let came = RunResult::of(&record.outcome, &self.class);
                self.course.came_to(candidate, task.iteration, Some(came.clone()));
                self.watch(candidate, &came, record.outcome.verdict);
                return;
            }
            IterationEnd::RecordedBefore(None) => Some(RunResult::Silent {
                why: "its judgement cannot be read".to_owned(),
                is_certain: false,
                is_other: false,
            }),
            IterationEnd::ByAnother | IterationEnd::NotStarted => {
                if matches!(end, IterationEnd::ByAnother) {
                    self.taken.insert((candidate, task.iteration));
                }
                if let Some(wanted) = self.course.wanted(candidate, task.iteration) {
                    self.round.push_front(wanted);
                }
                None
            }
            // Another process's run is learned of, with its own part in the search, before the next round.
            IterationEnd::RecordedBefore(Some(_)) | IterationEnd::Cancelled | IterationEnd::Lost(_) => None,
        };
        self.course.came_to(candidate, task.iteration, came);
    }

    fn is_wanted(&mut self, task: &Task, has_begun: bool) -> bool {
        let candidate = self.candidate(task);
        has_begun
            || self
                .course
                .wanted(candidate, task.iteration)
                .is_none_or(|wanted| self.course.is_wanted(&wanted))
    }

    fn left(&self) -> usize {
        self.round.len()
    }

    fn standing(&self) -> String {
        picture(&self.course, &self.titles).text(IN_A_DISPLAY, Paint::Plain)
    }
}
