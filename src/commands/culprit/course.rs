//! The course of a search, recomputed from its runs: which candidates take part, what the runs say of each, and what
//! comes next.

use std::collections::BTreeMap;

use super::evidence::{Run, RunResult};
use crate::spec::{Part, Stage};
use crate::stats::culprit::{Attempt, Axis, End, Posterior, Search, Step};
use crate::stats::{Answer, Block, Count, draw};

/// Runs of a candidate that said nothing, without one that did, after which the candidate is left out.
const MOST_SILENT: usize = 4;

/// A run that is to be started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) candidate: usize,
    pub(super) attempt: u32,
    pub(super) confirms: Option<(usize, u32)>,
}

/// What comes next. Candidates are numbered as they were given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ahead {
    /// These runs; then it is asked again.
    Run(Vec<Wanted>),
    Over(End),
}

#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) names: Vec<String>,
    /// Weight by hand of a change that comes with each candidate.
    pub(super) weights: Vec<f64>,
    pub(super) max_runs: u64,
    pub(super) is_confirmed: bool,
    pub(super) jobs: u32,
    pub(super) seed: u64,
    /// Runs of sweeps that were recorded before.
    pub(super) earlier: Vec<Count>,
    runs: Vec<BTreeMap<u32, Run>>,
    cannot_run: BTreeMap<usize, String>,
}

impl Course {
    pub(super) fn new(names: Vec<String>, weights: Vec<f64>, earlier: Vec<Count>) -> Course {
        Course {
            max_runs: 500,
            is_confirmed: true,
            jobs: 1,
            seed: 0,
            runs: vec![BTreeMap::new(); names.len()],
            cannot_run: BTreeMap::new(),
            names,
            weights,
            earlier,
        }
    }

    /// Takes in a recorded run. A run whose part is not known is one of the search.
    pub(super) fn record(&mut self, candidate: usize, iteration: u32, part: Option<&Part>, came: RunResult) {
        let confirms = part.filter(|part| part.stage == Stage::Confirm).and_then(|part| {
            let culprit = part.culprit.as_ref()?;
            let culprit = self.names.iter().position(|name| name == culprit)?;
            Some((culprit, part.block?))
        });
        let run = Run {
            attempt: part.map_or(1, |part| part.attempt.max(1)),
            confirms,
            came,
        };
        self.runs[candidate].insert(iteration, run);
    }

    /// Whether a run was started, here or elsewhere.
    pub(super) fn has(&self, candidate: usize, iteration: u32) -> bool {
        self.runs[candidate].contains_key(&iteration)
    }

    /// Takes in what became of a run that was started.
    pub(super) fn came_to(&mut self, candidate: usize, iteration: u32, came: Option<RunResult>) {
        match came {
            Some(came) => {
                if let Some(run) = self.runs[candidate].get_mut(&iteration) {
                    run.came = came;
                }
            }
            None => drop(self.runs[candidate].remove(&iteration)),
        }
    }

    pub(super) fn start(&mut self, wanted: &Wanted, iteration: u32) -> Part {
        let run = Run {
            attempt: wanted.attempt,
            confirms: wanted.confirms,
            came: RunResult::InFlight,
        };
        self.runs[wanted.candidate].insert(iteration, run);
        Part {
            stage: if wanted.confirms.is_some() {
                Stage::Confirm
            } else {
                Stage::Search
            },
            candidate: self.names[wanted.candidate].clone(),
            attempt: wanted.attempt,
            culprit: wanted.confirms.map(|(culprit, _)| self.names[culprit].clone()),
            block: wanted.confirms.map(|(_, block)| block),
        }
    }

    /// What was asked for when a run was started.
    pub(super) fn wanted(&self, candidate: usize, iteration: u32) -> Option<Wanted> {
        let run = self.runs[candidate].get(&iteration)?;
        Some(Wanted {
            candidate,
            attempt: run.attempt,
            confirms: run.confirms,
        })
    }

    pub(super) fn leave_out(&mut self, candidate: usize, why: String) {
        self.cannot_run.insert(candidate, why);
    }

    /// The number of the bad end, as given.
    pub(super) fn bad_end(&self) -> usize {
        self.names.len() - 1
    }

    /// The number that the next run of a candidate has.
    pub(super) fn free(&self, candidate: usize) -> u32 {
        let last = self.runs[candidate].keys().next_back();
        last.map_or(1, |last| last.saturating_add(1))
    }

    /// Runs that were started, answered or not.
    pub(super) fn spent(&self) -> u64 {
        self.runs.iter().map(|runs| runs.len() as u64).sum()
    }

    fn of_candidate(&self, candidate: usize) -> impl Iterator<Item = &Run> {
        self.runs[candidate].values()
    }

    /// Answered runs of a candidate, those of earlier sweeps included.
    pub(super) fn count(&self, candidate: usize) -> Count {
        let answers: Vec<Answer> = self.of_candidate(candidate).map(|run| run.came.answer()).collect();
        self.earlier[candidate].plus(Answer::count(&answers))
    }

    /// Runs of a candidate that said nothing: those that errored, and those that failed for another reason.
    pub(super) fn silent(&self, candidate: usize) -> (u64, u64) {
        let mut found = (0, 0);
        for run in self.of_candidate(candidate) {
            if let RunResult::Silent { is_other, .. } = run.came {
                found.0 += u64::from(!is_other);
                found.1 += u64::from(is_other);
            }
        }
        found
    }

    /// Candidates that take no part, each with the reason.
    pub(super) fn left_out(&self) -> BTreeMap<usize, String> {
        let mut found = self.cannot_run.clone();
        for candidate in 0..self.names.len() {
            if self.count(candidate).of() > 0 {
                continue;
            }
            let silent = self.of_candidate(candidate).filter_map(|run| match &run.came {
                RunResult::Silent { why, is_certain, .. } => Some((why, *is_certain)),
                RunResult::InFlight | RunResult::Answered { .. } => None,
            });
            let silent: Vec<(&String, bool)> = silent.collect();
            if silent.len() >= MOST_SILENT || silent.iter().any(|(_, is_certain)| *is_certain) {
                let (why, _) = silent[silent.len() - 1];
                found.entry(candidate).or_insert_with(|| why.clone());
            }
        }
        found
    }

    pub(super) fn kept(&self) -> Vec<usize> {
        let left_out = self.left_out();
        (0..self.names.len())
            .filter(|candidate| !left_out.contains_key(candidate))
            .collect()
    }

    /// The axis of the candidates that take part. One that stands for others before it has their weights too.
    fn axis(&self, kept: &[usize]) -> Option<Axis> {
        let weight = |pair: &[usize]| (pair[0] + 1..=pair[1]).map(|candidate| self.weights[candidate]).sum();
        let weights: Vec<f64> = kept.windows(2).map(weight).collect();
        if weights.is_empty() {
            return None;
        }
        let plain = Axis::new(weights.len());
        Some(Axis::with_weights(weights).unwrap_or(plain))
    }

    fn search(&self, kept: &[usize]) -> Option<Search> {
        Some(Search {
            axis: self.axis(kept)?,
            max_runs: self.max_runs,
            is_confirmed: self.is_confirmed,
        })
    }

    /// What all runs together say, by the candidates that take part.
    pub(super) fn posterior(&self) -> Option<(Vec<usize>, Posterior)> {
        let kept = self.kept();
        let counts: Vec<Count> = kept.iter().map(|candidate| self.count(*candidate)).collect();
        let posterior = self.axis(&kept)?.posterior(&counts);
        Some((kept, posterior))
    }

    fn attempts(&self, kept: &[usize]) -> Vec<Attempt> {
        let all = || self.runs.iter().flat_map(BTreeMap::values);
        let last = all().map(|run| run.attempt).max().unwrap_or(1);
        (1..=last).map(|number| self.attempt(number, kept)).collect()
    }

    fn attempt(&self, number: u32, kept: &[usize]) -> Attempt {
        let probes = kept.iter().map(|candidate| {
            let of_search = |run: &&Run| run.attempt == number && run.confirms.is_none();
            let answers = self.of_candidate(*candidate).filter(of_search);
            let count = Answer::count(&answers.map(|run| run.came.answer()).collect::<Vec<_>>());
            if number == 1 {
                self.earlier[*candidate].plus(count)
            } else {
                count
            }
        });
        let confirmed = self.runs.iter().flat_map(BTreeMap::values);
        let mut confirmed = confirmed
            .filter(|run| run.attempt == number)
            .filter_map(|run| run.confirms);
        let culprit =
            confirmed.find_map(|(culprit, _)| kept.iter().position(|known| *known == culprit).filter(|at| *at > 0));
        Attempt {
            probes: probes.collect(),
            culprit,
            blocks: culprit.map_or_else(Vec::new, |culprit| {
                self.blocks(number, kept[culprit], kept[culprit - 1])
            }),
        }
    }

    /// The blocks of a confirmation. One with a run that said nothing is set aside whole.
    fn blocks(&self, attempt: u32, culprit: usize, parent: usize) -> Vec<Block> {
        let side = |candidate: usize| -> BTreeMap<u32, Answer> {
            let runs = self.of_candidate(candidate).filter(|run| run.attempt == attempt);
            runs.filter_map(|run| {
                let (confirmed, block) = run.confirms?;
                (confirmed == culprit).then(|| (block, run.came.answer()))
            })
            .collect()
        };
        let (higher, lower) = (side(culprit), side(parent));
        let last = higher.keys().chain(lower.keys()).max().copied().unwrap_or(0);
        let at = |side: &BTreeMap<u32, Answer>, block: u32| side.get(&block).copied().unwrap_or(Answer::Awaited);
        (1..=last)
            .map(|block| Block::of(at(&higher, block), at(&lower, block)))
            .collect()
    }

    /// What comes next. All runs that were asked for have to have ended.
    pub(super) fn ahead(&self) -> Ahead {
        let kept = self.kept();
        let Some(search) = self.search(&kept) else {
            return Ahead::Over(End::TooFew);
        };
        let attempts = self.attempts(&kept);
        let last = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let spent = self.spent();
        match search.next(&attempts, spent, self.jobs as usize) {
            Step::Probe(candidates) => {
                let is_named = attempts.last().is_some_and(|attempt| attempt.culprit.is_some());
                let attempt = if is_named { last + 1 } else { last };
                let wanted = candidates.into_iter().map(|at| Wanted {
                    candidate: kept[at],
                    attempt,
                    confirms: None,
                });
                Ahead::Run(wanted.collect())
            }
            Step::Confirm { culprit, plan } => {
                let (attempt, blocks) = match attempts.last() {
                    Some(known) if known.culprit.is_none() || is_open(&search, &attempts) => {
                        (last, known.blocks.clone())
                    }
                    Some(_) | None => (last + 1, Vec::new()),
                };
                let room = usize::try_from((self.max_runs.saturating_sub(spent) / 2).max(1)).unwrap_or(usize::MAX);
                let new = usize::try_from(plan.wanted(&blocks))
                    .unwrap_or(usize::MAX)
                    .clamp(1, room);
                Ahead::Run(self.of_blocks(attempt, (kept[culprit], kept[culprit - 1]), &blocks, new))
            }
            Step::Over(end) => Ahead::Over(end.renumbered(&kept)),
        }
    }

    /// The runs that are missing of blocks that have begun; where none is, both of each new one, in the order drawn.
    fn of_blocks(&self, attempt: u32, (culprit, parent): (usize, usize), blocks: &[Block], new: usize) -> Vec<Wanted> {
        let run = |candidate, index: usize| Wanted {
            candidate,
            attempt,
            confirms: Some((culprit, u32::try_from(index + 1).unwrap_or(u32::MAX))),
        };
        let mut wanted = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let sides = [(culprit, block.higher), (parent, block.lower)];
            let missing = sides.into_iter().filter(|(_, answer)| *answer == Answer::Awaited);
            wanted.extend(missing.map(|(candidate, _)| run(candidate, index)));
        }
        if !wanted.is_empty() {
            return wanted;
        }
        for index in blocks.len()..blocks.len() + new {
            let place = u64::from(attempt) << 32 | index as u64;
            let order = if draw::is_higher_first(self.seed, place) {
                [culprit, parent]
            } else {
                [parent, culprit]
            };
            wanted.extend(order.map(|candidate| run(candidate, index)));
        }
        wanted
    }

    /// Whether a run is still of use. The runs of a confirmation that is decided are not.
    pub(super) fn is_wanted(&self, wanted: &Wanted) -> bool {
        if wanted.confirms.is_none() {
            return true;
        }
        let kept = self.kept();
        let Some(search) = self.search(&kept) else {
            return false;
        };
        let attempts = self.attempts(&kept);
        match attempts.last() {
            Some(last) if last.culprit.is_some() && attempts.len() as u64 == u64::from(wanted.attempt) => {
                is_open(&search, &attempts)
            }
            Some(_) | None => true,
        }
    }
}

/// Whether the confirmation of the last attempt is undecided.
fn is_open(search: &Search, attempts: &[Attempt]) -> bool {
    let Some((last, earlier)) = attempts.split_last() else {
        return false;
    };
    let bare = Attempt {
        blocks: Vec::new(),
        ..last.clone()
    };
    let asked: Vec<Attempt> = earlier.iter().cloned().chain([bare]).collect();
    match search.next(&asked, 0, 1) {
        Step::Confirm { plan, .. } => plan.decide(&last.blocks).conclusion.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
