//! The search itself: as far as the outcomes carry, from the whole list to the shortest that fails.

use std::collections::BTreeSet;

use super::{List, MISSED, MISTAKEN, Shrink};
use crate::commands::replay::target::Seen;
use crate::stats::sprt::{Decision, Sprt};
use crate::stats::wilson;

/// The same, for the result and for a list under suspicion.
const MISTAKEN_RESULT: f64 = 0.001;
/// How much less often than the whole list another has to fail to be one that does not.
pub(super) const CONTRAST: f64 = 12.0;

/// Runs of the whole list after which its rate is good enough: this many failures, or fewer if none passed.
const FAILURES_WANTED: u64 = 8;
const FAILURES_WITHOUT_PASS: u64 = 5;
/// Runs of the whole list after which it is tried no longer.
const RUNS_OF_ALL: usize = 30;
/// Runs that say nothing, in a row, after which a list is given up.
const ERRORED_IN_A_ROW: usize = 5;

/// A list that needs more runs before the search can go on.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) list: List,
    /// Runs that have to end at the least, after those that have ended without a gap.
    pub(super) least: usize,
    /// Runs that may all be needed.
    pub(super) most: usize,
}

/// Why the search cannot go on.
#[derive(Debug)]
pub(super) enum Halt {
    Need(Need),
    /// A list that was taken for failing turned out not to.
    Doubt(List),
    /// Runs of the list say nothing, one after the other.
    Errored(List),
    NotReproduced,
}

/// How far the outcomes carry.
pub(super) struct Reached {
    /// The shortest list that is known to fail.
    pub(super) best: List,
    /// Why the search goes no further; `None` if it has ended.
    pub(super) halt: Option<Halt>,
    /// Whether a list on the way could not be tested, so that leaving out more may be possible.
    pub(super) is_unsettled: bool,
}

impl Shrink {
    /// Goes as far as the outcomes carry, without the lists that turned out to be doubtful or that never say anything.
    pub(super) fn reached(&self) -> Reached {
        let (mut doubted, mut is_unsettled) = (BTreeSet::new(), false);
        loop {
            let mut best = self.all();
            match self.search(&mut best, &doubted) {
                Err(Halt::Doubt(list)) => {
                    doubted.insert(list);
                }
                // Without some of the others the victim may never get its turn; that cannot be left out, then.
                Err(Halt::Errored(list)) if list.len() < self.predecessors => {
                    doubted.insert(list);
                    is_unsettled = true;
                }
                searched => {
                    return Reached {
                        best,
                        halt: searched.err(),
                        is_unsettled,
                    };
                }
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
            // The rate of the whole list is known.
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
            return Halt::Errored(list.clone());
        }
        Halt::Need(Need {
            list: list.clone(),
            least,
            most,
        })
    }

    /// The runs of a list that have ended, up to the first that has not: what comes after a gap may be there only
    /// because it was quicker.
    pub(super) fn prefix(&self, list: &[usize]) -> &[Option<Seen>] {
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

/// A number of runs as a `usize`; there are never more runs than fit.
pub(super) fn runs(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
