//! Which of the tests before a failure it needs: a search by repeated halving that is fed with outcomes of runs.
//!
//! A list of predecessors is judged by several runs, since a flaky failure may stay away by chance. Each list gets a
//! sequential test ([`crate::stats::sprt`]) between the rate that the whole list showed (the lower end of its 60 %
//! Wilson interval) and a twelfth of it. A list that does fail is taken for one that does not in at most about 1 % of
//! cases, one that fails only by coincidence for one that does in at most about 5 %: the first mistake is the one that
//! hides the way to a short list. Before it is believed, the result has to pass a third test with 0.1 % in place of the
//! 5 %, and leaving out any one of its members has to have been tested.
//!
//! Measured in `simulation`, a hundred seeded searches each, within 300 runs: of forty predecessors exactly the three
//! that matter are found in 100 where the failure is certain (66 runs in the mean), in 98 where it comes in every
//! second run (184), in 91 where it also comes in two of a hundred runs without them (204). One that comes in three of
//! ten runs needs `--max-runs 600`.
//!
//! Nothing here runs anything: [`Shrink::next`] says which list needs more runs, [`Shrink::observe`] takes their
//! outcomes in any order. The answer depends on the outcomes alone, so a search that was stopped goes on from what is
//! recorded.

use std::collections::BTreeMap;

use crate::commands::replay::target::Seen;
use crate::stats::Count;

mod halving;
#[cfg(test)]
mod simulation;

use halving::{Halt, Reached};

/// How often a list that fails may be taken for one that does not.
pub const MISSED: f64 = 0.01;
/// How often a list that hardly ever fails may be taken for one that does.
pub const MISTAKEN: f64 = 0.05;

/// Places of predecessors in the order they ran, from 0; the victim comes after them.
pub type List = Vec<usize>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run this list; of its runs those with numbers from 1 up to this one are of use.
    Run {
        list: List,
        /// The last number that is of use now.
        until: u32,
    },
    Done(Found),
}

/// How a search ended, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The shortest list that is known to fail.
    pub list: List,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Leaving out any one of the list makes the failure go away.
    Minimal,
    /// Runs without some of the list never said anything; there may be a shorter one.
    Unsettled,
    /// The runs were used up; there may be a shorter list.
    OutOfRuns,
    /// The whole list did not fail.
    NotReproduced,
    /// Runs of the list did not get to say anything.
    Errored,
}

#[derive(Clone, Debug)]
pub struct Shrink {
    predecessors: usize,
    max_runs: usize,
    /// Runs that the result is to have in the end, so that its rate is known.
    times: usize,
    /// Outcomes of each list by number of the run, from 1; `None` where a run has not ended yet.
    seen: BTreeMap<List, Vec<Option<Seen>>>,
}

impl Shrink {
    /// A search among this many predecessors. At most `max_runs` runs of all lists together; the result is run at
    /// least `times` times in all.
    pub fn new(predecessors: usize, max_runs: usize, times: usize) -> Shrink {
        Shrink {
            predecessors,
            max_runs,
            times,
            seen: BTreeMap::new(),
        }
    }

    /// The whole list.
    pub fn all(&self) -> List {
        (0..self.predecessors).collect()
    }

    /// Takes in the outcome of one run; numbers count from 1 for each list, and the first outcome of a number holds.
    pub fn observe(&mut self, list: &[usize], number: u32, seen: Seen) {
        let runs = self.seen.entry(list.to_vec()).or_default();
        let at = number.saturating_sub(1) as usize;
        if runs.len() <= at {
            runs.resize(at + 1, None);
        }
        runs[at].get_or_insert(seen);
    }

    /// Runs of all lists that have ended.
    pub fn runs(&self) -> usize {
        self.seen.values().flatten().flatten().count()
    }

    /// Whether a run of a list has ended.
    pub fn has(&self, list: &[usize], number: u32) -> bool {
        let runs = self.seen.get(list).map_or(&[][..], Vec::as_slice);
        let at = number.saturating_sub(1) as usize;
        runs.get(at).is_some_and(Option::is_some)
    }

    /// Runs of a list that say nothing about the tests.
    pub fn errored(&self, list: &[usize]) -> u64 {
        let ended = self.seen.get(list).into_iter().flatten().flatten();
        ended.filter(|seen| **seen == Seen::Errored).count() as u64
    }

    /// How often a list failed, of the runs that say something.
    pub fn count(&self, list: &[usize]) -> Count {
        let fair = self.seen.get(list).into_iter().flatten().flatten();
        let (mut failed, mut of) = (0, 0);
        for seen in fair.filter(|seen| **seen != Seen::Errored) {
            of += 1;
            failed += u64::from(*seen == Seen::Failed);
        }
        Count::new(failed, of).unwrap_or_default()
    }

    /// Says what is to be done next, with `jobs` runs in flight at a time.
    pub fn next(&self, jobs: usize) -> Step {
        let Reached {
            best,
            halt,
            is_unsettled,
        } = self.reached();
        let need = match halt {
            None if is_unsettled => return done(best, Ending::Unsettled),
            None => return done(best, Ending::Minimal),
            Some(Halt::NotReproduced) => return done(best, Ending::NotReproduced),
            Some(Halt::Errored(_) | Halt::Doubt(_)) => return done(best, Ending::Errored),
            Some(Halt::Need(need)) => need,
        };
        if self.runs() >= self.max_runs {
            let ending = match self.count(&best).failed() {
                0 => Ending::NotReproduced,
                _ => Ending::OutOfRuns,
            };
            return done(best, ending);
        }
        let ahead = jobs.max(need.least).min(need.most.max(need.least));
        let until = self.prefix(&need.list).len() + ahead;
        Step::Run {
            list: need.list,
            until: u32::try_from(until).unwrap_or(u32::MAX),
        }
    }

    /// The shortest list that is known to fail by now.
    pub fn best(&self) -> List {
        self.reached().best
    }
}

fn done(list: List, ending: Ending) -> Step {
    Step::Done(Found { list, ending })
}
