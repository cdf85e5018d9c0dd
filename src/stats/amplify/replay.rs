//! The course of an amplification gone through once more, with the recorded runs as its outcomes: how far it comes, and
//! which runs are missing there.

use std::collections::BTreeMap;

use super::confirm::{Verdict, bounds, confirm};
use super::course::{Course, Planned, Recorded, Report, Role, Stage, Step, Stop};
use super::{Run, State, block, factors};
use crate::stats::block::{Answer, Block};
use crate::stats::draw::is_higher_first;
use crate::stats::rate::Count;

/// Runs and target failures of a search that are enough for a first winner.
const ENOUGH_RUNS: u64 = 24;
const ENOUGH_FAILURES: u64 = 8;
/// Further target failures before a second winner.
const FURTHER_FAILURES: u64 = 4;
/// Runs that a second search leaves for its confirmation.
const KEPT: u64 = 40;
/// Runs that have to be left for a second search, and for a confirmation.
const LEFT_TO_SEARCH: u64 = 48;
const LEFT_TO_CONFIRM: u64 = 20;
/// Failures of the winner that end the measurement.
const MEASURED: u64 = 10;

/// What comes next after the recorded runs, given in any order.
pub(super) fn replay(course: &Course, recorded: &[Recorded]) -> Step {
    let mut replay = Replay {
        course,
        recorded: recorded.iter().map(|run| (run.planned.iteration, *run)).collect(),
        past: Vec::new(),
    };
    match replay.run() {
        Ok(report) => Step::Shown(Box::new(report)),
        Err(Halt::Missing(runs)) => Step::Run(runs),
        Err(Halt::Stop(stop)) => Step::Stopped(stop),
    }
}

/// Why a replay does not reach a report.
enum Halt {
    Missing(Vec<Planned>),
    Stop(Stop),
}

struct Replay<'a> {
    course: &'a Course,
    recorded: BTreeMap<u64, Recorded>,
    /// All runs of the stages that are over, in the order of their numbers from 1.
    past: Vec<Recorded>,
}

impl Replay<'_> {
    fn run(&mut self) -> Result<Report, Halt> {
        let max_runs = self.course.max_runs;
        self.search(1, ENOUGH_FAILURES, 65 * max_runs / 100)?;
        if let Some(report) = self.confirm(1)? {
            return Ok(report);
        }
        if max_runs.saturating_sub(self.spent()) < LEFT_TO_SEARCH {
            return Err(Halt::Stop(Stop::NotConfirmed));
        }
        self.search(2, self.failures() + FURTHER_FAILURES, max_runs.saturating_sub(KEPT))?;
        self.confirm(2)?.ok_or(Halt::Stop(Stop::NotConfirmed))
    }

    fn spent(&self) -> u64 {
        self.past.len() as u64
    }

    fn failures(&self) -> u64 {
        self.past.iter().filter(|run| run.target == Some(true)).count() as u64
    }

    fn state(&self) -> State {
        self.course.state(&self.past)
    }

    /// Blocks until there are enough runs and failures, or the next block would go beyond the cap.
    fn search(&mut self, attempt: u8, need: u64, cap: u64) -> Result<(), Halt> {
        let size = self.course.block as u64;
        let is_enough = |replay: &Self| replay.spent() >= ENOUGH_RUNS && replay.failures() >= need;
        while !is_enough(self) && self.spent() + size <= cap {
            let first = self.spent() + 1;
            let numbers = first..first + size;
            if !numbers.clone().all(|number| self.recorded.contains_key(&number)) {
                let masks = block(self.course.seed, first, &self.state().q, self.course.block);
                let planned = numbers.zip(masks).map(|(iteration, on)| Planned {
                    iteration,
                    stage: Stage::Search,
                    attempt,
                    role: Role::Knobs,
                    on,
                });
                return Err(Halt::Missing(self.missing(planned)));
            }
            self.past.extend(numbers.map(|number| self.recorded[&number]));
        }
        Ok(())
    }

    /// The report where the winner was confirmed, `None` where it was given up; then its runs are past.
    fn confirm(&mut self, attempt: u8) -> Result<Option<Report>, Halt> {
        let first = self.spent() + 1;
        let known = self.recorded.range(first..).map(|(_, run)| run.planned);
        let winner = match known.clone().find(|run| run.role == Role::Winner) {
            Some(run) => run.on,
            None => self.winner()?,
        };
        let last = known.filter(|run| run.stage == Stage::Confirm && run.attempt == attempt);
        let last = last.map(|run| run.iteration).max().unwrap_or(first - 1);
        let n_blocks = (last + 1 - first).div_ceil(2);
        let blocks: Vec<Block> = (0..n_blocks).map(|at| self.block(first + 2 * at)).collect();
        let confirmation = confirm(attempt, &blocks);
        match confirmation.verdict {
            None => {
                let is_recorded = |block: &Block| block.higher != Answer::Awaited && block.lower != Answer::Awaited;
                let recorded = blocks.iter().take_while(|block| is_recorded(block)).count() as u64;
                let planned = (recorded..recorded + confirmation.wanted)
                    .map(|at| first + 2 * at)
                    .take_while(|number| number < &self.course.max_runs)
                    .flat_map(|number| self.planned_block(attempt, number, winner));
                let missing = self.missing(planned);
                Err(if missing.is_empty() {
                    Halt::Stop(Stop::OutOfRuns)
                } else {
                    Halt::Missing(missing)
                })
            }
            Some(verdict) => {
                let numbers = first..first + 2 * n_blocks;
                let runs = numbers.filter_map(|number| self.recorded.get(&number).copied());
                self.past.extend(runs);
                match verdict {
                    Verdict::NotShown => Ok(None),
                    Verdict::More => self.measure(attempt, winner).map(Some),
                }
            }
        }
    }

    fn winner(&self) -> Result<u32, Halt> {
        let state = self.state();
        if state.winner.is_empty() {
            Err(Halt::Stop(Stop::NoWinner))
        } else if state.failures < 2 {
            Err(Halt::Stop(Stop::TooFewFailures))
        } else if self.course.max_runs.saturating_sub(self.spent()) < LEFT_TO_CONFIRM {
            Err(Halt::Stop(Stop::OutOfRuns))
        } else {
            Ok(state.winner_mask())
        }
    }

    /// The block whose first run has this number, as far as it is recorded.
    fn block(&self, number: u64) -> Block {
        let answer = |number| match self.recorded.get(&number) {
            None => Answer::Awaited,
            Some(run) => run.target.into(),
        };
        let [winner, base] = self.places(number);
        Block {
            higher: answer(winner),
            lower: answer(base),
        }
    }

    fn planned_block(&self, attempt: u8, number: u64, winner: u32) -> [Planned; 2] {
        let run = |iteration, role, on| Planned {
            iteration,
            stage: Stage::Confirm,
            attempt,
            role,
            on,
        };
        let places = self.places(number);
        let mut runs = [run(places[0], Role::Winner, winner), run(places[1], Role::Base, 0)];
        runs.sort_by_key(|run| run.iteration);
        runs
    }

    /// The numbers of the winner's run and of the base's.
    fn places(&self, number: u64) -> [u64; 2] {
        if is_higher_first(self.course.seed, number) {
            [number, number + 1]
        } else {
            [number + 1, number]
        }
    }

    /// The winner alone, until it has failed ten times since its confirmation began, or the runs end.
    fn measure(&self, attempt: u8, winner: u32) -> Result<Report, Halt> {
        let first = self.spent() + 1;
        let own = |run: &&Recorded| run.planned.attempt == attempt && run.planned.role == Role::Winner;
        let alone = self.recorded.range(first..).map(|(_, run)| run);
        let answers: Vec<bool> = self
            .past
            .iter()
            .chain(alone)
            .filter(own)
            .filter_map(|run| run.target)
            .collect();
        let failed = answers.iter().filter(|failed| **failed).count() as u64;
        if failed < MEASURED {
            let planned = (first..=self.course.max_runs).map(|iteration| Planned {
                iteration,
                stage: Stage::Measure,
                attempt,
                role: Role::Winner,
                on: winner,
            });
            let mut missing = self.missing(planned);
            // Each run in flight may be the one that fails.
            missing.truncate(usize::try_from(MEASURED - failed).unwrap_or(usize::MAX));
            if !missing.is_empty() {
                return Err(Halt::Missing(missing));
            }
        }
        Ok(self.report(winner, &answers))
    }

    fn report(&self, winner: u32, answers: &[bool]) -> Report {
        let mut failed = 0;
        // The bound of the rate is exact where the series ends at its tenth failure.
        let amplified: Count = answers
            .iter()
            .copied()
            .take_while(|has_failed| {
                let is_open = failed < MEASURED;
                failed += u64::from(*has_failed);
                is_open
            })
            .collect();
        let fresh = self.past.iter().filter(|run| run.planned.role == Role::Base);
        let fresh: Count = fresh.filter_map(|run| run.target).collect();
        let recorded = self.course.base.target;
        let base = recorded.plus(fresh);
        let searched = self.past.iter().filter(|run| run.planned.stage == Stage::Search);
        let searched: Vec<Run> = searched.map(Recorded::run).collect();
        Report {
            winner: (0..self.course.knobs).filter(|knob| winner >> knob & 1 == 1).collect(),
            amplified,
            base,
            bounds: bounds(amplified, base),
            factors: factors(self.course.knobs, self.course.base, &searched),
        }
    }

    fn missing(&self, planned: impl Iterator<Item = Planned>) -> Vec<Planned> {
        planned
            .filter(|run| !self.recorded.contains_key(&run.iteration))
            .collect()
    }
}
