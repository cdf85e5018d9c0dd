//! Which run of a proof comes next, and what its runs show: beside the recorded base, or with the base run again in blocks.

use std::collections::BTreeMap;

use crate::judge::{Outcome, Record, Verdict};
use crate::spec::{Design, Proof};
use crate::stats::binomial::at_least;
use crate::stats::prove::{LEVEL_OF_MORE, Plan as RecordedPlan};
use crate::stats::sign::SignPlan;
use crate::stats::{Answer, Block, Conclusion, Count, ExactTest, Sizes, draw, fisher_greater, fisher_less};
use crate::sweep::planned::{Plan, Runs, Step};
use crate::sweep::scheduler::Reason;
use crate::sweep::stop::{Class, StopReason};

/// Level of the one question that is asked where every run is run whatever it shows.
const LEVEL: f64 = 0.05;

/// The sweep of the fix where the base was recorded before.
const FIX: usize = 0;
/// The two sweeps where the base is run again beside the fix.
pub(super) const BASE_AGAIN: usize = 0;
const FIX_BESIDE: usize = 1;

pub(super) struct Proving {
    pub(super) proof: Proof,
    pub(super) class: Class,
    base: Count,
    rule: Rule,
}

enum Rule {
    Recorded(RecordedPlan),
    Control(SignPlan),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    /// `None` while the plan goes on.
    pub(super) conclusion: Option<Conclusion>,
    /// What the fix is compared with: the recorded base, or the base run again.
    pub(super) base: Count,
    pub(super) fix: Count,
    /// Of the question that decided; `None` while the plan goes on.
    pub(super) p: Option<f64>,
    /// Blocks that were looked at, those in which only the base failed, those in which only the fix did.
    pub(super) blocks: Option<(u64, u64, u64)>,
}

impl Proving {
    /// The plan that was written down.
    pub(super) fn new(proof: Proof) -> Result<Proving, String> {
        let class: Class = proof.class.parse()?;
        let base = Count::new(proof.failed, proof.of).ok_or("more failures than runs")?;
        let allowed = usize::try_from(proof.allowed).map_err(|error| error.to_string())?;
        let rule = match proof.design {
            Design::Recorded => {
                let plan = RecordedPlan::allowing(base, allowed, proof.remaining);
                Rule::Recorded(plan.map_err(|_| "the base shows nothing that could be proved")?)
            }
            Design::Control => Rule::Control(SignPlan::allowing(allowed).within(proof.most)),
        };
        Ok(Proving {
            proof,
            class,
            base,
            rule,
        })
    }

    /// The number of the fix's sweep.
    pub(super) fn fix(&self) -> usize {
        match self.rule {
            Rule::Recorded(_) => FIX,
            Rule::Control(_) => FIX_BESIDE,
        }
    }

    /// What a sweep has recorded, by the answer that each run gave first: `--retry` takes nothing back.
    pub(super) fn recorded(&self, first: &[Record]) -> BTreeMap<u32, Answer> {
        let answer = |record: &Record| (record.iteration, self.answer(&record.outcome));
        first.iter().map(answer).collect()
    }

    pub(super) fn shown(&self, runs: &Runs) -> Shown {
        match &self.rule {
            Rule::Recorded(_) if self.proof.is_full => {
                let fix = first(&runs.answers(FIX), self.proof.most);
                let p = (fisher_less(self.base, fix), fisher_greater(self.base, fix));
                self.at_the_end(self.base, fix, p, None)
            }
            Rule::Recorded(plan) => {
                let decision = plan.decide(&runs.answers(FIX));
                let p = |conclusion| match conclusion {
                    Conclusion::More => fisher_greater(self.base, decision.fix),
                    Conclusion::Fewer | Conclusion::NotShown => fisher_less(self.base, decision.fix),
                };
                Shown {
                    conclusion: decision.conclusion,
                    base: self.base,
                    fix: decision.fix,
                    p: decision.conclusion.map(p),
                    blocks: None,
                }
            }
            Rule::Control(plan) => {
                let blocks = blocks(runs, Hope::Nothing);
                if self.proof.is_full {
                    return self.full_control(&blocks);
                }
                let seen = plan.decide(&blocks);
                let (base, fix) = counts(&blocks, seen.blocks);
                let n = seen.only_higher + seen.only_lower;
                let p = |conclusion| match conclusion {
                    Conclusion::More => at_least(seen.only_lower, n, 0.5),
                    Conclusion::Fewer | Conclusion::NotShown => at_least(seen.only_higher, n, 0.5),
                };
                Shown {
                    conclusion: seen.conclusion,
                    base,
                    fix,
                    p: seen.conclusion.map(p),
                    blocks: Some((seen.blocks, seen.only_higher, seen.only_lower)),
                }
            }
        }
    }

    fn full_control(&self, blocks: &[Block]) -> Shown {
        let (base, fix) = counts(blocks, self.proof.most);
        let only = |side: (bool, bool)| {
            let looked_at = recorded(blocks).take(usize::try_from(self.proof.most).unwrap_or(usize::MAX));
            looked_at.filter(|failed| *failed == side).count() as u64
        };
        // Both sizes were fixed before the first run.
        let p = ExactTest::fitting(Sizes::FixedBeforehand, base, fix).p_values(base, fix);
        let blocks = (fix.of(), only((true, false)), only((false, true)));
        self.at_the_end(base, fix, (p.less, p.greater), Some(blocks))
    }

    /// One look, when everything is there.
    fn at_the_end(&self, base: Count, fix: Count, p: (f64, f64), blocks: Option<(u64, u64, u64)>) -> Shown {
        let (less, greater) = p;
        // A p that is the level but for rounding counts as reached, as in the plan.
        let (conclusion, p) = if fix.of() < self.proof.most {
            (None, None)
        } else if less <= LEVEL * (1.0 + 1e-9) {
            (Some(Conclusion::Fewer), Some(less))
        } else if greater <= LEVEL_OF_MORE {
            (Some(Conclusion::More), Some(greater))
        } else {
            (Some(Conclusion::NotShown), Some(less))
        };
        Shown {
            conclusion,
            base,
            fix,
            p,
            blocks,
        }
    }

    /// Whether everything in flight may decide, if all goes as the plan hopes.
    fn may_decide(&self, runs: &Runs) -> bool {
        match &self.rule {
            Rule::Recorded(_) if self.proof.is_full => {
                Answer::count(&runs.hoped(FIX, Answer::Passed)).of() >= self.proof.most
            }
            Rule::Recorded(plan) => plan.decide(&runs.hoped(FIX, Answer::Passed)).conclusion.is_some(),
            Rule::Control(plan) => {
                let hoped = blocks(runs, Hope::Best);
                if self.proof.is_full {
                    complete(&hoped) >= self.proof.most
                } else {
                    plan.decide(&hoped).conclusion.is_some()
                }
            }
        }
    }

    /// Runs or blocks that are missing if all goes as the plan hopes.
    pub(super) fn wanted(&self, runs: &Runs) -> u64 {
        let missing = |have: u64| self.proof.most.saturating_sub(have);
        match &self.rule {
            Rule::Recorded(_) if self.proof.is_full => missing(Answer::count(&runs.answers(FIX)).of()),
            Rule::Recorded(plan) => plan.wanted(&runs.answers(FIX)),
            Rule::Control(plan) => {
                let blocks = blocks(runs, Hope::Nothing);
                if self.proof.is_full {
                    missing(complete(&blocks))
                } else {
                    plan.wanted(&blocks)
                }
            }
        }
    }

    fn first_side(&self, block: u32) -> usize {
        if draw::is_higher_first(self.proof.seed, u64::from(block)) {
            BASE_AGAIN
        } else {
            FIX_BESIDE
        }
    }
}

impl Plan for Proving {
    fn next(&self, runs: &Runs) -> Step {
        if self.shown(runs).conclusion.is_some() {
            return Step::Decided(if self.proof.is_full {
                Reason::Complete
            } else {
                Reason::Stopped(StopReason::Decided)
            });
        }
        if let Rule::Control(_) = self.rule {
            if let Some((arm, iteration)) = half_begun(runs) {
                return Step::Run { arm, iteration };
            }
            if self.may_decide(runs) {
                return Step::Wait;
            }
            let is_free = |block: &u32| !runs.has_begun(BASE_AGAIN, *block) && !runs.has_begun(FIX_BESIDE, *block);
            let block = (1..=u32::MAX).find(is_free).unwrap_or(u32::MAX);
            return Step::Run {
                arm: self.first_side(block),
                iteration: block,
            };
        }
        if self.may_decide(runs) {
            return Step::Wait;
        }
        Step::Run {
            arm: FIX,
            iteration: runs.first_free(FIX),
        }
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        let failed = match outcome.verdict {
            Verdict::Errored => None,
            Verdict::Passed => Some(false),
            Verdict::Failed => Some(self.class.has(outcome)),
        };
        failed.into()
    }

    fn left(&self, runs: &Runs) -> u64 {
        let sides = self.fix() + 1;
        let in_flight: u64 = (0..sides).map(|arm| runs.in_flight(arm)).sum();
        (self.wanted(runs) * sides as u64).saturating_sub(in_flight)
    }

    fn standing(&self, runs: &Runs) -> String {
        let shown = self.shown(runs);
        let (beside, what) = match self.rule {
            Rule::Recorded(_) => ("after", "runs"),
            Rule::Control(_) => ("beside", "blocks"),
        };
        let name = &self.proof.class;
        let missing = match (self.wanted(runs), self.proof.is_full) {
            (0, _) => String::new(),
            (wanted, true) => format!("; {wanted} {what} to go"),
            (wanted, false) => format!("; {wanted} more {what} at least"),
        };
        format!("{name}: {} {beside} {}{missing}", shown.fix, shown.base)
    }
}

/// The first of the answered runs, so many at most.
fn first(answers: &[Answer], most: u64) -> Count {
    let recorded = answers.iter().take_while(|answer| **answer != Answer::Awaited);
    let failed = recorded.filter_map(|answer| answer.failed());
    failed.take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
}

/// What is hoped of the runs in flight, and of the other side of a block that has begun.
#[derive(Clone, Copy, PartialEq)]
enum Hope {
    Nothing,
    /// The base fails and the fix does not.
    Best,
}

/// The blocks in order.
fn blocks(runs: &Runs, hope: Hope) -> Vec<Block> {
    let side = |arm, best| match hope {
        Hope::Nothing => runs.answers(arm),
        Hope::Best => runs.hoped(arm, best),
    };
    let (base, fix) = (side(BASE_AGAIN, Answer::Failed), side(FIX_BESIDE, Answer::Passed));
    let at = |side: &[Answer], index: usize| side.get(index).copied().unwrap_or(Answer::Awaited);
    (0..base.len().max(fix.len()))
        .map(|index| {
            let (higher, lower) = (at(&base, index), at(&fix, index));
            let has_begun = higher != Answer::Awaited || lower != Answer::Awaited;
            let hoped = |answer, best| match answer {
                Answer::Awaited if hope == Hope::Best && has_begun => best,
                answer => answer,
            };
            Block::of(hoped(higher, Answer::Failed), hoped(lower, Answer::Passed))
        })
        .collect()
}

/// Whether each side failed, of the blocks before the first that is awaited; blocks set aside are left out.
fn recorded(blocks: &[Block]) -> impl Iterator<Item = (bool, bool)> {
    Block::recorded(blocks).filter_map(Block::failed)
}

fn complete(blocks: &[Block]) -> u64 {
    recorded(blocks).count() as u64
}

/// Failures of each side in the first complete blocks.
fn counts(blocks: &[Block], most: u64) -> (Count, Count) {
    let looked_at = || recorded(blocks).take(usize::try_from(most).unwrap_or(usize::MAX));
    (
        looked_at().map(|(base, _)| base).collect(),
        looked_at().map(|(_, fix)| fix).collect(),
    )
}

/// The other side of a block of which one side has begun.
fn half_begun(runs: &Runs) -> Option<(usize, u32)> {
    let sides = [runs.answers(BASE_AGAIN), runs.answers(FIX_BESIDE)];
    let last = sides.iter().map(Vec::len).max().unwrap_or(0);
    let last = u32::try_from(last).unwrap_or(u32::MAX);
    (1..=last).find_map(|block| {
        let arm = match [BASE_AGAIN, FIX_BESIDE].map(|arm| runs.has_begun(arm, block)) {
            [true, false] => FIX_BESIDE,
            [false, true] => BASE_AGAIN,
            _ => return None,
        };
        let other = &sides[1 - arm];
        // A block whose one side errored says nothing.
        let is_set_aside = other.get(block as usize - 1) == Some(&Answer::Unanswered);
        (!is_set_aside).then_some((arm, block))
    })
}

#[cfg(test)]
mod tests;
