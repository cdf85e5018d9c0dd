//! What is still to run, in order: iterations of one sweep, or blocks of several arms.

use std::collections::{BTreeSet, VecDeque};

use super::{Arm, Slot};
use crate::model::arms::block_order;

/// The iterations that have no answer yet, and those that other processes have claimed.
pub(super) struct Queue {
    waiting: VecDeque<Slot>,
    elsewhere: BTreeSet<Slot>,
    looked_again: bool,
}

impl Queue {
    /// Block after block; an arm that has an iteration already is left out of its block.
    pub(super) fn new(arms: &[Arm], (first, last): (u32, u32), seed: u64) -> Queue {
        let missing: Vec<BTreeSet<u32>> = arms.iter().map(|arm| arm.missing.iter().copied().collect()).collect();
        let waiting = (first..=last)
            .flat_map(|block| {
                block_order(seed, block, arms.len())
                    .into_iter()
                    .map(move |arm| (arm, block))
            })
            .filter(|(arm, block)| missing[*arm].contains(block))
            .collect();
        Queue {
            waiting,
            elsewhere: BTreeSet::new(),
            looked_again: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next one to start.
    pub(super) fn pop(&mut self, in_flight: usize) -> Option<Slot> {
        // A process that died has let go of its claims: what was elsewhere is tried once more when nothing else is left.
        if self.waiting.is_empty() && in_flight == 0 && !self.looked_again {
            self.looked_again = true;
            self.waiting = std::mem::take(&mut self.elsewhere).into_iter().collect();
        }
        self.waiting.pop_front()
    }

    /// An iteration that has begun somewhere else, or ended there.
    pub(super) fn take(&mut self, slot: Slot) {
        self.waiting.retain(|waiting| *waiting != slot);
    }

    /// An iteration that is to begin again.
    pub(super) fn put_back(&mut self, slot: Slot) {
        if !self.waiting.contains(&slot) {
            self.waiting.push_back(slot);
        }
    }

    /// The next one, without taking it.
    pub(super) fn front(&self) -> Option<Slot> {
        self.waiting.front().copied()
    }

    /// It was not started after all.
    pub(super) fn give_back(&mut self, slot: Slot) {
        self.waiting.push_front(slot);
    }

    /// Another process has it.
    pub(super) fn leave(&mut self, slot: Slot) {
        self.elsewhere.insert(slot);
    }

    /// How many other processes have.
    pub(super) fn elsewhere(&self) -> usize {
        self.elsewhere.len()
    }
}
