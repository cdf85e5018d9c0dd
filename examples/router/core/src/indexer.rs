//! Events as they arrive and events as they count: received at once, applied to the tree in batches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::block::Block;
use crate::event::{Change, KvEvent, Target};
use crate::tree::PrefixTree;

/// A tree and the events that are on their way into it.
#[derive(Debug, Default)]
pub struct Indexer {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tree: PrefixTree,
    queue: VecDeque<KvEvent>,
    received: HashMap<Target, u64>,
    early: BTreeMap<(Target, u64), KvEvent>,
    sizes: HashMap<Target, usize>,
    n_orphans: usize,
}

impl Indexer {
    /// Takes an event: once, and in the order in which its target counted it.
    ///
    /// The target's size grows here already, before the tree knows the block.
    pub fn receive(&self, event: KvEvent) {
        let mut state = self.lock();
        let target = event.target;
        state.early.insert((target, event.event_id), event);
        loop {
            let next = state.received.get(&target).copied().unwrap_or(0) + 1;
            state.early.retain(|(of, id), _| *of != target || *id >= next);
            let Some(event) = state.early.remove(&(target, next)) else {
                return;
            };
            let size = state.sizes.entry(target).or_default();
            match event.change {
                Change::Stored { .. } => *size += 1,
                Change::Removed { .. } => *size = size.saturating_sub(1),
                Change::Cleared => *size = 0,
            }
            state.received.insert(target, next);
            state.queue.push_back(event);
        }
    }

    /// Moves everything received into the tree.
    pub fn apply(&self) {
        let mut state = self.lock();
        while let Some(event) = state.queue.pop_front() {
            if state.tree.apply(&event).is_err() {
                state.n_orphans += 1;
            }
        }
    }

    /// Writes a decision into the tree as if its events had come.
    pub fn predict(&self, target: Target, blocks: &[Block]) {
        let mut state = self.lock();
        for index in 0..blocks.len() {
            let event = KvEvent {
                target,
                event_id: 0,
                change: Change::stored(blocks, index),
            };
            if state.tree.apply(&event).is_err() {
                state.n_orphans += 1;
            }
        }
    }

    /// How many blocks of a request each target holds, as far as the tree knows.
    pub fn overlaps(&self, request: &[Block]) -> HashMap<Target, usize> {
        self.lock().tree.overlaps(request)
    }

    /// Blocks a target has reported, applied or not.
    pub fn size(&self, target: Target) -> usize {
        self.lock().sizes.get(&target).copied().unwrap_or(0)
    }

    /// Events received and not yet applied.
    pub fn n_pending(&self) -> usize {
        self.lock().queue.len()
    }

    /// What the tree holds.
    pub fn dump(&self) -> Vec<KvEvent> {
        self.lock().tree.dump()
    }

    /// Applies in batches until it is cancelled: a lock for each event would stall routing.
    pub async fn run(self: Arc<Indexer>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            self.apply();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::blocks;

    const A: Target = Target {
        worker_id: 1,
        dp_rank: 0,
    };

    fn events(n_blocks: usize) -> Vec<KvEvent> {
        let tokens: Vec<u32> = (0..(n_blocks * crate::block::BLOCK_SIZE) as u32).collect();
        let blocks = blocks(&tokens);
        (0..n_blocks)
            .map(|index| KvEvent {
                target: A,
                event_id: index as u64 + 1,
                change: Change::stored(&blocks, index),
            })
            .collect()
    }

    #[test]
    fn a_received_event_counts_at_once_and_is_found_once_applied() {
        let indexer = Indexer::default();
        let request = blocks(&(0..16).collect::<Vec<u32>>());
        indexer.receive(events(1).remove(0));
        assert_eq!((indexer.size(A), indexer.n_pending()), (1, 1));
        assert!(indexer.overlaps(&request).is_empty());
        indexer.apply();
        assert_eq!((indexer.size(A), indexer.n_pending()), (1, 0));
        assert_eq!(indexer.overlaps(&request), HashMap::from([(A, 1)]));
    }

    #[test]
    fn repeats_are_dropped_and_early_events_wait_for_those_before_them() {
        let indexer = Indexer::default();
        let events = events(3);
        for index in [2, 0, 0, 1, 2] {
            indexer.receive(events[index].clone());
        }
        indexer.apply();
        assert_eq!(indexer.dump().len(), 3);
        assert_eq!(indexer.size(A), 3);
    }

    #[test]
    fn a_prediction_needs_no_event() {
        let indexer = Indexer::default();
        let request = blocks(&[5; 32]);
        indexer.predict(A, &request);
        assert_eq!(indexer.overlaps(&request), HashMap::from([(A, 2)]));
    }
}
