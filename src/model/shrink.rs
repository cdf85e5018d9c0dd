//! Which of the tests before a failure it needs: a search by repeated halving that is fed with outcomes of runs.
//!
//! A list of predecessors is judged by several runs, since a flaky failure may stay away by chance. Each list gets a
//! sequential test ([`crate::stats::sprt`]) between the rate that the whole list showed (the lower end of its 60 %
//! Wilson interval) and a twelfth of it. A list that does fail is taken for one that does not in at most about 1 % of
//! cases, one that fails only by coincidence for one that does in at most about 5 %: the first mistake is the one that
//! hides the way to a short list. Before it is believed, the result has to pass a third test with 0.1 % in place of the
//! 5 %, and leaving out any one of its members has to have been tested.
//!
//! Nothing here runs anything: [`Shrink::next`] says which list needs more runs, [`Shrink::observe`] takes their
//! outcomes in any order. The answer depends on the outcomes alone, so a search that was stopped goes on from what is
//! recorded.

use std::collections::{BTreeMap, BTreeSet};

use crate::stats::sprt::{Decision, Sprt};
use crate::stats::{Count, wilson};

/// How often a list that fails may be taken for one that does not.
pub const MISSED: f64 = 0.01;
/// How often a list that hardly ever fails may be taken for one that does.
pub const MISTAKEN: f64 = 0.05;
/// The same, for the result and for a list under suspicion.
const MISTAKEN_RESULT: f64 = 0.001;
/// How much less often than the whole list another has to fail to be one that does not.
const CONTRAST: f64 = 12.0;

/// Runs of the whole list after which its rate is good enough: this many failures, or fewer if none passed.
const FAILURES_WANTED: u64 = 8;
const FAILURES_WITHOUT_PASS: u64 = 5;
/// Runs of the whole list after which it is tried no longer.
const RUNS_OF_ALL: usize = 30;
/// Runs that say nothing, in a row, after which a list is given up.
const ERRORED_IN_A_ROW: usize = 5;

/// Places of predecessors in the order they ran, from 0; the victim comes after them.
pub type List = Vec<usize>;

/// What a run of a list came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The victim failed again in the same way.
    Failed,
    /// It did not.
    Passed,
    /// The run says nothing about the tests.
    Errored,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run this list; of its runs those with numbers from 1 up to this one are of use.
    Run {
        /// The list.
        list: List,
        /// The last number that is of use now.
        until: u32,
    },
    /// The search has ended.
    Done(Found),
}

/// How a search ended, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The shortest list that is known to fail.
    pub list: List,
    /// How it ended.
    pub ending: Ending,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Leaving out any one of the list makes the failure go away.
    Minimal,
    /// The runs were used up; there may be a shorter list.
    OutOfRuns,
    /// The whole list did not fail.
    NotReproduced,
    /// Runs of the list did not get to say anything.
    Errored,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Shrink {
    predecessors: usize,
    max_runs: usize,
    /// Runs that the result is to have in the end, so that its rate is known.
    times: usize,
    /// Outcomes of each list by number of the run, from 1; `None` where a run has not ended yet.
    seen: BTreeMap<List, Vec<Option<Seen>>>,
}

/// A list that needs more runs before the search can go on.
#[derive(Debug)]
struct Need {
    list: List,
    /// Runs that have to end at the least, after those that have ended without a gap.
    least: usize,
    /// Runs that may all be needed.
    most: usize,
}

/// Why the search cannot go on.
#[derive(Debug)]
enum Halt {
    Need(Need),
    /// A list that was taken for failing turned out not to.
    Doubt(List),
    Errored,
    NotReproduced,
}

impl Shrink {
    /// A search among this many predecessors. At most `max_runs` runs of all lists together; the result is run at
    /// least `times` times in all.
    #[must_use]
    pub fn new(predecessors: usize, max_runs: usize, times: usize) -> Shrink {
        Shrink {
            predecessors,
            max_runs,
            times,
            seen: BTreeMap::new(),
        }
    }

    /// The whole list.
    #[must_use]
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
    #[must_use]
    pub fn runs(&self) -> usize {
        self.seen.values().flatten().flatten().count()
    }

    /// Whether a run of a list has ended.
    #[must_use]
    pub fn has(&self, list: &[usize], number: u32) -> bool {
        let runs = self.seen.get(list).map_or(&[][..], Vec::as_slice);
        let at = number.saturating_sub(1) as usize;
        runs.get(at).is_some_and(Option::is_some)
    }

    /// Runs of a list that say nothing about the tests.
    #[must_use]
    pub fn errored(&self, list: &[usize]) -> u64 {
        let ended = self.seen.get(list).into_iter().flatten().flatten();
        ended.filter(|seen| **seen == Seen::Errored).count() as u64
    }

    /// How often a list failed, of the runs that say something.
    #[must_use]
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
    #[must_use]
    pub fn next(&self, jobs: usize) -> Step {
        let (best, halt) = self.halted();
        let need = match halt {
            None => return done(best, Ending::Minimal),
            Some(Halt::NotReproduced) => return done(best, Ending::NotReproduced),
            Some(Halt::Errored | Halt::Doubt(_)) => return done(best, Ending::Errored),
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
    #[must_use]
    pub fn best(&self) -> List {
        self.halted().0
    }

    /// Goes as far as the outcomes carry, without the lists that turned out to be doubtful.
    fn halted(&self) -> (List, Option<Halt>) {
        let mut doubted = BTreeSet::new();
        loop {
            let mut best = self.all();
            match self.search(&mut best, &doubted) {
                Err(Halt::Doubt(list)) => {
                    doubted.insert(list);
                }
                searched => return (best, searched.err()),
            }
        }
    }

    /// Goes as far as the outcomes carry. `best` is the shortest list known to fail by then.
    fn search(&self, best: &mut List, doubted: &BTreeSet<List>) -> Result<(), Halt> {
        let test = self.baseline()?;
        let all = self.all();
        let fails = |list: &List| -> Result<bool, Halt> {
            Ok(!doubted.contains(list) && self.decide(list, &test.usual)? == Decision::Fails)
        };
        let confirm = |list: &List| -> Result<(), Halt> {
            // The whole list has been run often enough.
            if *list == all || self.decide(list, &test.strict)? == Decision::Fails {
                Ok(())
            } else {
                Err(Halt::Doubt(list.clone()))
            }
        };
        // `required` and `rest` together fail, and nothing of `required` can be missed. Those closest to the victim
        // are left out last: what a test leaves behind rarely lasts.
        let (mut required, mut rest): (List, List) = (List::new(), all.clone());
        while !rest.is_empty() {
            if fails(&required)? {
                best.clone_from(&required);
                break;
            }
            let (mut low, mut high) = (0, rest.len());
            while high - low > 1 {
                let middle = usize::midpoint(low, high);
                let list = joined(&required, &rest[middle..]);
                if fails(&list)? {
                    low = middle;
                    *best = list;
                } else {
                    high = middle;
                }
            }
            if low == 0 && rest.len() > 2 {
                // Nothing could be left out, which is what a list that does not fail at all looks like.
                confirm(&joined(&required, &rest))?;
            }
            required.push(rest[low]);
            rest.drain(..=low);
        }
        let mut at = 0;
        while at < required.len() {
            let mut list = required.clone();
            list.remove(at);
            if fails(&list)? {
                best.clone_from(&list);
                required = list;
            } else {
                at += 1;
            }
        }
        confirm(&required)?;
        let fair = self.fair(&required).count();
        if fair < self.times {
            let missing = self.times - fair;
            return Err(self.need(&required, missing, missing));
        }
        Ok(())
    }

    /// Learns the rate of the whole list.
    fn baseline(&self) -> Result<Tests, Halt> {
        let all = self.all();
        let (mut failed, mut of) = (0, 0);
        for seen in self.fair(&all) {
            of += 1;
            failed += u64::from(seen);
            if failed >= FAILURES_WANTED || (failed == of && failed >= FAILURES_WITHOUT_PASS) {
                break;
            }
            if runs(of) >= RUNS_OF_ALL {
                break;
            }
        }
        let is_known =
            failed >= FAILURES_WANTED || (failed == of && failed >= FAILURES_WITHOUT_PASS) || runs(of) >= RUNS_OF_ALL;
        if !is_known {
            let clean = if failed == of {
                FAILURES_WITHOUT_PASS
            } else {
                FAILURES_WANTED
            };
            let least = runs(clean - failed);
            return Err(self.need(&all, least.min(RUNS_OF_ALL - runs(of)), RUNS_OF_ALL - runs(of)));
        }
        if failed == 0 {
            return Err(Halt::NotReproduced);
        }
        let high = wilson(failed, of, 0.6).0;
        let low = high / CONTRAST;
        Ok(Tests {
            usual: Sprt::new(low, high, MISTAKEN, MISSED),
            strict: Sprt::new(low, high, MISTAKEN_RESULT, MISSED),
        })
    }

    fn decide(&self, list: &List, test: &Sprt) -> Result<Decision, Halt> {
        match test.decide(self.fair(list)) {
            Decision::Open { failures, passes } => {
                let least = failures.min(passes) as usize;
                Err(self.need(list, least, failures.max(passes) as usize))
            }
            decided => Ok(decided),
        }
    }

    fn need(&self, list: &List, least: usize, most: usize) -> Halt {
        let last = self.prefix(list).iter().rev();
        if last.take_while(|seen| **seen == Some(Seen::Errored)).count() >= ERRORED_IN_A_ROW {
            return Halt::Errored;
        }
        Halt::Need(Need {
            list: list.clone(),
            least,
            most,
        })
    }

    /// The runs of a list that have ended, up to the first that has not: what comes after a gap may be there only
    /// because it was quicker.
    fn prefix(&self, list: &[usize]) -> &[Option<Seen>] {
        let runs = self.seen.get(list).map_or(&[][..], Vec::as_slice);
        let end = runs.iter().position(Option::is_none).unwrap_or(runs.len());
        &runs[..end]
    }

    /// Whether each of them failed, errored ones left out.
    fn fair(&self, list: &[usize]) -> impl Iterator<Item = bool> {
        let ended = self.prefix(list).iter().flatten();
        ended.filter_map(|seen| match seen {
            Seen::Failed => Some(true),
            Seen::Passed => Some(false),
            Seen::Errored => None,
        })
    }
}

/// The tests that lists are put to.
struct Tests {
    usual: Sprt,
    strict: Sprt,
}

fn joined(required: &[usize], rest: &[usize]) -> List {
    required.iter().chain(rest).copied().collect()
}

fn done(list: List, ending: Ending) -> Step {
    Step::Done(Found { list, ending })
}

/// A number of runs, which are never as many as a `usize` could not hold.
fn runs(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of its own, so that the figures below stay the same for ever (`SplitMix64`).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        fn share(&mut self) -> f64 {
            (self.next() >> 11) as f64 / (1u64 << 53) as f64
        }

        fn some_of(&mut self, n: usize, k: usize) -> BTreeSet<usize> {
            let mut found = BTreeSet::new();
            while found.len() < k {
                found.insert(runs(self.next() % n as u64));
            }
            found
        }
    }

    /// A failure that needs some predecessors.
    struct World {
        needed: BTreeSet<usize>,
        rate: f64,
        /// How often it fails without them.
        alone: f64,
        random: Random,
    }

    impl World {
        fn run(&mut self, list: &[usize]) -> Seen {
            let has_all = self.needed.iter().all(|place| list.contains(place));
            let rate = if has_all { self.rate } else { self.alone };
            if self.random.share() < rate {
                Seen::Failed
            } else {
                Seen::Passed
            }
        }

        fn search(&mut self, mut shrink: Shrink) -> (Found, usize) {
            loop {
                match shrink.next(1) {
                    Step::Done(found) => return (found, shrink.runs()),
                    Step::Run { list, until } => {
                        let next = shrink.prefix(&list).len() + 1;
                        assert!(next <= until as usize, "nothing to run of {list:?}");
                        let seen = self.run(&list);
                        shrink.observe(&list, u32::try_from(next).unwrap(), seen);
                    }
                }
            }
        }
    }

    const SEARCHES: u32 = 100;

    /// In how many of the searches exactly the needed ones were found within 300 runs, and the mean of runs.
    fn searches(predecessors: usize, needed: usize, rate: f64, alone: f64) -> (u32, usize) {
        let (mut found, mut runs) = (0, 0);
        for seed in 0..u64::from(SEARCHES) {
            let mut random = Random(seed * 7919 + 1);
            let needed = random.some_of(predecessors, needed);
            let mut world = World {
                needed,
                rate,
                alone,
                random,
            };
            let (result, took) = world.search(Shrink::new(predecessors, 300, 10));
            assert!(took <= 300);
            found += u32::from(result.list.iter().copied().collect::<BTreeSet<_>>() == world.needed);
            runs += took;
        }
        (found, runs / SEARCHES as usize)
    }

    #[test]
    fn exactly_the_needed_tests_are_found_in_more_than_nine_of_ten_searches() {
        for (needed, rate, alone, mean) in [
            (3, 1.0, 0.0, 75),
            (3, 0.6, 0.0, 165),
            (3, 0.5, 0.0, 205),
            (3, 0.6, 0.02, 175),
            (1, 0.5, 0.0, 90),
            (0, 0.5, 0.5, 40),
        ] {
            let (found, runs) = searches(39, needed, rate, alone);
            assert!(
                found >= SEARCHES * 9 / 10,
                "{needed} needed, rate {rate}: found in {found} of {SEARCHES}"
            );
            assert!(runs <= mean, "{needed} needed, rate {rate}: {runs} runs");
        }
    }

    #[test]
    fn a_deterministic_failure_is_always_found() {
        for needed in [0, 1, 2, 3, 8] {
            assert_eq!(searches(39, needed, 1.0, 0.0).0, SEARCHES, "{needed}");
        }
    }

    #[test]
    fn a_list_that_fails_is_taken_for_one_that_does_not_as_rarely_as_promised() {
        // The test of a list whose true rate is the one that the test is made for.
        let (high, low) = (0.5, 0.5 / CONTRAST);
        let test = Sprt::new(low, high, MISTAKEN, MISSED);
        let mut random = Random(7);
        let mut share = |rate: f64, wanted: Decision| {
            let hits = (0..20_000).filter(|_| {
                let runs = std::iter::repeat_with(|| random.share() < rate).take(1000);
                test.decide(runs.collect::<Vec<_>>()) == wanted
            });
            hits.count() as f64 / 20_000.0
        };
        assert!(share(high, Decision::DoesNotFail) <= MISSED * 1.2);
        assert!(share(low, Decision::Fails) <= MISTAKEN * 1.2);
        assert!(share(0.0, Decision::Fails) < 1e-9);
    }

    #[test]
    fn the_answer_depends_on_the_outcomes_and_not_on_their_order() {
        let needed = BTreeSet::from([3, 17, 30]);
        // An outcome for each list and number, whoever asks when.
        let outcome = |list: &[usize], number: u32| {
            let seed = list.iter().fold(u64::from(number), |sum, place| {
                sum.wrapping_mul(31).wrapping_add(*place as u64 + 1)
            });
            let fails = needed.iter().all(|place| list.contains(place)) && Random(seed).share() < 0.6;
            if fails { Seen::Failed } else { Seen::Passed }
        };
        let search = |jobs: usize, is_backwards: bool| {
            let mut shrink = Shrink::new(39, 2000, 10);
            loop {
                match shrink.next(jobs) {
                    Step::Done(found) => return found,
                    Step::Run { list, until } => {
                        let first = u32::try_from(shrink.prefix(&list).len()).unwrap() + 1;
                        let mut numbers: Vec<u32> = (first..=until).collect();
                        if is_backwards {
                            numbers.reverse();
                        }
                        for number in numbers {
                            shrink.observe(&list, number, outcome(&list, number));
                        }
                    }
                }
            }
        };
        let found = search(1, false);
        assert_eq!(found.list, [3, 17, 30]);
        assert_eq!(search(4, false), found);
        assert_eq!(search(4, true), found);
    }

    #[test]
    fn the_runs_are_bounded_and_the_best_so_far_is_the_answer() {
        let mut world = World {
            needed: BTreeSet::from([10, 20, 30]),
            rate: 1.0,
            alone: 0.0,
            random: Random(1),
        };
        let (found, runs) = world.search(Shrink::new(39, 20, 10));
        assert_eq!((found.ending, runs), (Ending::OutOfRuns, 20));
        assert!(found.list.len() < 39 && world.needed.iter().all(|place| found.list.contains(place)));
    }

    #[test]
    fn a_list_that_never_fails_and_one_that_never_runs_are_given_up() {
        let give_up = |seen: Seen| {
            let mut shrink = Shrink::new(5, 300, 10);
            for number in 1..=30 {
                shrink.observe(&shrink.all(), number, seen);
            }
            shrink.next(1)
        };
        assert_eq!(give_up(Seen::Passed), done((0..5).collect(), Ending::NotReproduced));
        assert_eq!(give_up(Seen::Errored), done((0..5).collect(), Ending::Errored));
    }

    #[test]
    fn a_victim_that_nothing_ran_before_is_only_counted() {
        let mut shrink = Shrink::new(0, 300, 10);
        for number in 1..=10 {
            shrink.observe(&[], number, Seen::Failed);
        }
        assert_eq!(shrink.next(1), done(Vec::new(), Ending::Minimal));
        assert_eq!(shrink.count(&[]).to_string(), "10/10");
    }
}
