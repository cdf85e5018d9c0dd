//! The course of a search for conditions that amplify a class: blocks of drawn knobs, a winner, its confirmation on fresh
//! runs (twice at most), and the measurement of its rate.
//!
//! [`Course::next`] is a function of the recorded runs alone, so that a resume goes on in the middle of a block.

use serde::Serialize;

use super::confirm::Bounds;
use super::replay::replay;
use super::{Base, Factor, Run, State};
pub use crate::spec::{KnobRole as Role, KnobStage as Stage};
use crate::stats::rate::Count;
use crate::stats::runs_needed::{clean_runs_needed, runs_to_see_one};

/// What the course is about; recorded with the sweep, so that a resume has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Number of knobs, in [`super::KNOBS`].
    pub knobs: usize,
    /// The recorded runs without any knob.
    pub base: Base,
    pub seed: u64,
    /// Runs of all stages together; at least 80.
    pub max_runs: u64,
    /// Runs of a block of the search, as [`Course::block_size`] has it.
    pub block: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the sweep, from 1.
    pub iteration: u64,
    pub stage: Stage,
    /// The attempt, 1 or 2, that the stage belongs to.
    pub attempt: u8,
    pub role: Role,
    /// Bit mask of the knobs that are on.
    pub on: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub planned: Planned,
    /// Whether the target failed; `None` where there was no answer.
    pub target: Option<bool>,
    /// Whether another class failed, or there was no answer.
    pub other: bool,
}

impl Recorded {
    pub fn run(&self) -> Run {
        Run {
            on: self.planned.on,
            target: self.target,
            other: self.other,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// These runs are to be recorded, in this order, before anything else can be said. All of them may be in flight at
    /// once, and those that already are are among them.
    Run(Vec<Planned>),
    Shown(Box<Report>),
    /// Nothing was shown; never "no knob matters".
    Stopped(Stop),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    NoWinner,
    TooFewFailures,
    OutOfRuns,
    NotConfirmed,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub winner: Vec<usize>,
    /// The winner's fresh runs: of its last confirmation and of the measurement, up to its tenth failure.
    pub amplified: Count,
    /// The base's recorded and fresh runs.
    pub base: Count,
    pub bounds: Bounds,
    /// What the runs of the search say of each knob by itself.
    pub factors: Vec<Factor>,
}

impl Report {
    /// Runs to see one failure with 95 %: without the knobs, and with them.
    pub fn runs_to_see_one(&self) -> (Option<u64>, Option<u64>) {
        let runs = |count: Count| runs_to_see_one(count.rate()?, 0.95);
        (runs(self.base), runs(self.amplified))
    }

    /// Clean runs that prove a fix at 5 %: without the knobs, and with them.
    pub fn clean_runs_needed(&self) -> (Option<u64>, Option<u64>) {
        let runs = |count| clean_runs_needed(count, 0.05);
        (runs(self.base), runs(self.amplified))
    }
}

impl Course {
    /// Runs of a block of the search where so many are in flight: the next multiple of 8.
    pub fn block_size(jobs: usize) -> usize {
        8 * jobs.div_ceil(8).max(1)
    }

    /// What all recorded runs say about the knobs, for a live line.
    pub fn state(&self, recorded: &[Recorded]) -> State {
        let runs: Vec<Run> = recorded.iter().map(Recorded::run).collect();
        State::of(self.knobs, self.base, &runs)
    }

    /// What comes next after the recorded runs, given in any order.
    pub fn next(&self, recorded: &[Recorded]) -> Step {
        replay(self, recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        Course {
            knobs: 4,
            base: Base {
                target: Count::new(2, 75).unwrap(),
                other: 0,
            },
            seed: 5,
            max_runs: 150,
            block: Course::block_size(1),
        }
    }

    /// Runs what the course asks for, until it is over.
    fn go<T: Into<Option<bool>>>(course: &Course, recorded: &mut Vec<Recorded>, target: impl Fn(Planned) -> T) -> Step {
        loop {
            let step = course.next(recorded);
            let Step::Run(runs) = &step else { return step };
            for planned in runs {
                let target = target(*planned).into();
                recorded.push(Recorded {
                    planned: *planned,
                    target,
                    other: target.is_none(),
                });
            }
        }
    }

    fn knob_1(run: Planned) -> bool {
        run.on & 2 != 0
    }

    #[test]
    fn a_knob_that_always_fails_is_found_confirmed_and_measured() {
        let mut recorded = Vec::new();
        let Step::Shown(report) = go(&course(), &mut recorded, knob_1) else {
            panic!("not shown after {} runs", recorded.len())
        };
        assert!(report.winner.contains(&1), "{report:?}");
        assert_eq!(
            (report.amplified, report.base),
            (Count::new(10, 10).unwrap(), Count::new(2, 80).unwrap())
        );
        assert_eq!(report.runs_to_see_one(), (Some(119), Some(1)));
        assert_eq!(report.factors.len(), 4);
        assert_eq!(recorded.len(), 24 + 10 + 5);
        let numbers: Vec<u64> = recorded.iter().map(|run| run.planned.iteration).collect();
        assert!(numbers.iter().copied().eq(1..=39), "{numbers:?}");
    }

    #[test]
    fn a_resume_after_any_run_goes_on_as_if_nothing_had_happened() {
        let mut whole = Vec::new();
        go(&course(), &mut whole, knob_1);
        for cut in 0..whole.len() {
            let mut recorded = whole[..cut].to_vec();
            go(&course(), &mut recorded, knob_1);
            assert_eq!(recorded, whole, "after {cut}");
        }
    }

    #[test]
    fn runs_that_are_recorded_out_of_order_are_waited_for() {
        let mut whole = Vec::new();
        go(&course(), &mut whole, knob_1);
        for gap in 0..whole.len() {
            let mut recorded = whole.clone();
            let lost = recorded.remove(gap);
            match course().next(&recorded) {
                Step::Run(runs) => assert_eq!(runs[0], lost.planned, "{gap}"),
                Step::Shown(_) | Step::Stopped(_) => panic!("over without run {}", gap + 1),
            }
        }
    }

    #[test]
    fn a_target_that_never_fails_ends_with_nothing_shown_within_two_thirds_of_the_runs() {
        let mut recorded = Vec::new();
        let step = go(&course(), &mut recorded, |_| false);
        assert!(matches!(step, Step::Stopped(_)), "{step:?}");
        assert_eq!(recorded.len(), 96);
    }

    #[test]
    fn unanswered_runs_count_against_the_budget_and_say_nothing() {
        let mut recorded = Vec::new();
        let step = go(&course(), &mut recorded, |_| None::<bool>);
        assert_eq!(step, Step::Stopped(Stop::NoWinner));
        assert_eq!(recorded.len(), 96);
    }

    #[test]
    fn a_winner_that_is_not_confirmed_leads_to_one_more_search() {
        let mut recorded = Vec::new();
        // The knob fails in the search alone, so that what the search found was luck.
        let luck = |run: Planned| run.stage == Stage::Search && run.on & 2 != 0;
        let step = go(&course(), &mut recorded, luck);
        assert!(matches!(step, Step::Stopped(_)), "{step:?}");
        let second = recorded.iter().filter(|run| run.planned.attempt == 2);
        assert!(second.count() > 0);
        assert!(recorded.len() <= 150);
    }

    #[test]
    fn the_measurement_ends_with_the_runs() {
        let mut recorded = Vec::new();
        // After its confirmation the winner fails no more.
        let tired = |run: Planned| run.on & 2 != 0 && run.stage != Stage::Measure;
        let Step::Shown(report) = go(&course(), &mut recorded, tired) else {
            panic!("not shown")
        };
        assert_eq!(recorded.len(), 150);
        assert_eq!(report.amplified.failed(), 5);
        assert_eq!(report.amplified.of(), 150 - 24 - 5);
    }

    #[test]
    fn blocks_are_multiples_of_eight() {
        let sizes: Vec<usize> = [0, 1, 8, 9, 16, 17].map(Course::block_size).into();
        assert_eq!(sizes, [8, 8, 8, 16, 16, 24]);
    }
}
