//! Interleaved arms: the order inside a block, and when enough has been seen.
//!
//! A block is one iteration of every arm. Drift of the host hits all arms alike, which two sweeps in a row cannot say.

use std::collections::BTreeMap;

use super::stop::ALPHA;
use crate::judge::{Record, Verdict};
use crate::stats::{Answer, ArmsTest};

/// The order in which the arms of a block are started, from the seed of the sweep: every order is as likely, and the
/// same seed gives the same order on any machine.
pub fn block_order(seed: u64, block: u32, n_arms: usize) -> Vec<usize> {
    let mut state = seed ^ u64::from(block).wrapping_mul(0xd134_2543_de82_ef95);
    let mut order: Vec<usize> = (0..n_arms).collect();
    for last in (1..n_arms).rev() {
        let at = next(&mut state) % (last as u64 + 1);
        order.swap(last, usize::try_from(at).unwrap_or(0));
    }
    order
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): a few lines, and the same numbers everywhere.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Evidence that the arms differ from the first one, fed as their iterations are recorded.
///
/// Blocks are taken in by number and not as they finish: what finishes first is not a fair sample, since a hang takes
/// longest. A block with an errored iteration says nothing and is left out whole.
#[derive(Clone, Debug)]
pub struct ArmsState {
    n_arms: usize,
    waiting: BTreeMap<u32, Vec<Answer>>,
    next: u32,
    tests: Vec<ArmsTest>,
    alpha: f64,
}

/// The evidence that two recorded arms differ in any failure; an iteration is a block, and those that only one of them
/// has, or that errored in either, are left out. `None` where no block is left.
pub fn e_value(base: &[Record], new: &[Record]) -> Option<f64> {
    let failed = |records: &[Record]| -> BTreeMap<u32, bool> {
        let counted = records
            .iter()
            .filter(|record| record.outcome.verdict != Verdict::Errored);
        counted
            .map(|record| (record.iteration, record.outcome.verdict == Verdict::Failed))
            .collect()
    };
    let now = failed(new);
    let test: ArmsTest = failed(base)
        .into_iter()
        .filter_map(|(block, failed)| Some((failed, *now.get(&block)?)))
        .collect();
    (test.blocks() > 0).then(|| test.e_value())
}

impl ArmsState {
    /// The evidence of `arms` arms, two at least, whose first block has this number.
    pub fn new(n_arms: usize, first_block: u32) -> ArmsState {
        let n_tests = n_arms.max(2) - 1;
        ArmsState {
            n_arms: n_arms.max(2),
            waiting: BTreeMap::new(),
            next: first_block,
            tests: vec![ArmsTest::default(); n_tests],
            // Each of the later arms is tested against the first one; the level is shared out.
            alpha: ALPHA / n_tests as f64,
        }
    }

    /// Takes in an iteration of an arm; arms are counted from 0. What is no arm of this sweep is ignored, and so is what
    /// an iteration answered when it was run again: of a block counts what was seen first.
    pub fn observe(&mut self, block: u32, arm: usize, answer: Answer) {
        if block < self.next || arm >= self.n_arms {
            return;
        }
        let awaited = || vec![Answer::Awaited; self.n_arms];
        let answers = self.waiting.entry(block).or_insert_with(awaited);
        if answers[arm].failed().is_none() {
            answers[arm] = answer;
        }
        let is_complete = |answers: &Vec<Answer>| !answers.contains(&Answer::Awaited);
        while self.waiting.get(&self.next).is_some_and(is_complete) {
            let complete = self.waiting.remove(&self.next).unwrap_or_default();
            self.next += 1;
            if complete.contains(&Answer::Unanswered) {
                continue;
            }
            for (test, answer) in self.tests.iter_mut().zip(&complete[1..]) {
                test.observe(complete[0] == Answer::Failed, *answer == Answer::Failed);
            }
        }
    }

    /// Whether every later arm is shown to differ from the first one.
    pub fn is_decided(&self) -> bool {
        self.tests.iter().all(|test| test.is_decided(self.alpha))
    }

    /// E-values of the later arms against the first one, in order.
    pub fn e_values(&self) -> Vec<f64> {
        self.tests.iter().map(ArmsTest::e_value).collect()
    }

    /// Complete blocks taken in.
    pub fn blocks(&self) -> u64 {
        self.tests.first().map_or(0, ArmsTest::blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::OutcomeKind::{Failed, Infra, Passed};

    #[test]
    fn every_order_of_a_block_is_as_likely_and_a_seed_repeats_it() {
        let mut seen: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for block in 0..6000 {
            *seen.entry(block_order(7, block, 3)).or_default() += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!(block_order(7, 3, 4), block_order(7, 3, 4));
        assert_eq!(block_order(1, 1, 0), Vec::<usize>::new());
    }

    #[test]
    fn blocks_are_taken_in_by_number_however_they_finish() {
        let mut state = ArmsState::new(2, 1);
        for block in [3, 2, 5, 4] {
            state.observe(block, 1, Answer::Passed);
            state.observe(block, 0, Answer::Failed);
        }
        assert_eq!(state.blocks(), 0);
        state.observe(1, 0, Answer::Failed);
        state.observe(1, 1, Answer::Passed);
        assert_eq!(state.blocks(), 5);
        assert!((state.e_values()[0] - 135.384_958_027_328_6).abs() < 1e-9 && state.is_decided());
    }

    #[test]
    fn a_block_with_an_errored_iteration_is_left_out_whole() {
        let mut state = ArmsState::new(2, 1);
        state.observe(1, 0, Answer::Failed);
        state.observe(1, 1, Answer::Unanswered);
        state.observe(2, 0, Answer::Failed);
        state.observe(2, 1, Answer::Passed);
        assert_eq!(state.blocks(), 1);
    }

    #[test]
    fn recorded_arms_are_compared_block_by_block() {
        let record = |iteration, kind| Record {
            iteration,
            dir: std::path::PathBuf::new(),
            exit: None,
            outcome: crate::judge::Outcome::new(kind),
            problem: None,
        };
        let base: Vec<Record> = (1..=7)
            .map(|block| record(block, if block == 6 { Infra } else { Failed }))
            .collect();
        let new: Vec<Record> = (2..=7).rev().map(|block| record(block, Passed)).collect();
        assert!((e_value(&base, &new).unwrap() - 135.384_958_027_328_6).abs() < 1e-9);
        assert_eq!(e_value(&base, &[]), None);
    }

    #[test]
    fn three_arms_are_decided_when_both_differ_from_the_first() {
        let mut state = ArmsState::new(3, 1);
        for block in 1..=20 {
            state.observe(block, 0, Answer::Failed);
            state.observe(block, 1, Answer::Passed);
            state.observe(block, 2, Answer::Failed);
        }
        assert!(state.e_values()[0] > 40.0 && !state.is_decided());
    }

    #[test]
    fn of_a_block_counts_what_an_iteration_answered_first() {
        let both = |first: Answer, then: Option<Answer>| {
            let mut state = ArmsState::new(2, 1);
            for block in 1..=20 {
                state.observe(block, 0, first);
                if let Some(then) = then {
                    state.observe(block, 0, then);
                }
                state.observe(block, 1, Answer::Passed);
            }
            (state.blocks(), state.e_values())
        };
        let failed = both(Answer::Failed, None);
        assert_eq!(both(Answer::Failed, Some(Answer::Passed)), failed);
        assert_eq!(both(Answer::Unanswered, Some(Answer::Failed)), failed);
        assert_ne!(both(Answer::Passed, None), failed);
    }
}
