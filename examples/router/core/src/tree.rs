//! The prefix tree: which target holds which blocks, found by walking a request's blocks from the root.

use std::collections::{BTreeSet, HashMap};

use crate::block::Block;
use crate::event::{Change, KvEvent, Target};

/// Blocks of all targets, shared prefixes once.
#[derive(Debug)]
pub struct PrefixTree {
    nodes: Vec<Node>,
    by_sequence: HashMap<u64, usize>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<u64, usize>,
    holders: BTreeSet<Target>,
    local: u64,
    sequence: u64,
    parent: Option<u64>,
}

/// An event that names a parent the tree has never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {sequence:016x} follows block {parent:016x}, which is not in the tree")]
pub struct UnknownParent {
    /// The block of the event.
    pub sequence: u64,
    /// The block it should follow.
    pub parent: u64,
}

impl Default for PrefixTree {
    fn default() -> PrefixTree {
        PrefixTree {
            nodes: vec![Node::default()],
            by_sequence: HashMap::new(),
        }
    }
}

impl PrefixTree {
    /// Applies one event.
    pub fn apply(&mut self, event: &KvEvent) -> Result<(), UnknownParent> {
        match event.change {
            Change::Stored {
                parent,
                local,
                sequence,
            } => self.store(event.target, parent, local, sequence),
            Change::Removed { sequence } => {
                if let Some(node) = self.by_sequence.get(&sequence) {
                    self.nodes[*node].holders.remove(&event.target);
                }
                Ok(())
            }
            Change::Cleared => {
                self.remove_target(event.target);
                Ok(())
            }
        }
    }

    fn store(&mut self, target: Target, parent: Option<u64>, local: u64, sequence: u64) -> Result<(), UnknownParent> {
        let above = match parent {
            None => ROOT,
            Some(hash) => *self
                .by_sequence
                .get(&hash)
                .ok_or(UnknownParent { sequence, parent: hash })?,
        };
        let next = self.nodes.len();
        let node = *self.nodes[above].children.entry(local).or_insert(next);
        if node == next {
            self.nodes.push(Node {
                local,
                sequence,
                parent,
                ..Node::default()
            });
            self.by_sequence.insert(sequence, node);
        }
        self.nodes[node].holders.insert(target);
        Ok(())
    }

    /// Forgets everything a target held.
    pub fn remove_target(&mut self, target: Target) {
        for node in &mut self.nodes {
            node.holders.remove(&target);
        }
    }

    /// For each target that holds the first block: how many blocks of the request it holds without a gap.
    pub fn overlaps(&self, request: &[Block]) -> HashMap<Target, usize> {
        let mut overlaps = HashMap::new();
        let mut node = ROOT;
        let mut holding: Option<BTreeSet<Target>> = None;
        for block in request {
            let Some(child) = self.nodes[node].children.get(&block.local) else {
                break;
            };
            node = *child;
            let here = &self.nodes[node].holders;
            let still = match &holding {
                None => here.clone(),
                Some(before) => before & here,
            };
            for target in &still {
                *overlaps.entry(*target).or_insert(0) += 1;
            }
            if still.is_empty() {
                break;
            }
            holding = Some(still);
        }
        overlaps
    }

    /// The events that would build this tree, by target.
    pub fn dump(&self) -> Vec<KvEvent> {
        let mut events: Vec<KvEvent> = self
            .nodes
            .iter()
            .flat_map(|node| {
                node.holders.iter().map(|target| KvEvent {
                    target: *target,
                    event_id: 0,
                    change: Change::Stored {
                        parent: node.parent,
                        local: node.local,
                        sequence: node.sequence,
                    },
                })
            })
            .collect();
        events.sort_by_key(|event| event.target);
        let mut last = None;
        let mut id = 0;
        for event in &mut events {
            id = if last == Some(event.target) { id + 1 } else { 1 };
            last = Some(event.target);
            event.event_id = id;
        }
        events
    }
}

const ROOT: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::blocks;

    const A: Target = Target {
        worker_id: 1,
        dp_rank: 0,
    };
    const B: Target = Target {
        worker_id: 2,
        dp_rank: 0,
    };

    fn stored(target: Target, tokens: &[u32]) -> Vec<KvEvent> {
        let blocks = blocks(tokens);
        (0..blocks.len())
            .map(|index| KvEvent {
                target,
                event_id: index as u64 + 1,
                change: Change::stored(&blocks, index),
            })
            .collect()
    }

    #[test]
    fn overlap_counts_the_blocks_held_without_a_gap() {
        let tokens: Vec<u32> = (0..48).collect();
        let mut tree = PrefixTree::default();
        for event in stored(A, &tokens) {
            tree.apply(&event).unwrap();
        }
        tree.apply(&stored(B, &tokens)[0]).unwrap();
        let request = blocks(&tokens);
        assert_eq!(tree.overlaps(&request), HashMap::from([(A, 3), (B, 1)]));
        let removed = Change::Removed {
            sequence: request[1].sequence,
        };
        tree.apply(&KvEvent {
            target: A,
            event_id: 4,
            change: removed,
        })
        .unwrap();
        assert_eq!(tree.overlaps(&request), HashMap::from([(A, 1), (B, 1)]));
    }

    #[test]
    fn a_block_without_its_parent_is_refused() {
        let tokens: Vec<u32> = (0..32).collect();
        assert!(PrefixTree::default().apply(&stored(A, &tokens)[1]).is_err());
    }

    #[test]
    fn a_dump_rebuilds_the_tree() {
        let mut tree = PrefixTree::default();
        for event in stored(A, &[7; 48]).iter().chain(&stored(B, &[7; 32])) {
            tree.apply(event).unwrap();
        }
        let dump = tree.dump();
        assert_eq!(dump.len(), 5);
        let mut again = PrefixTree::default();
        for event in &dump {
            again.apply(event).unwrap();
        }
        assert_eq!(again.dump(), dump);
        again
            .apply(&KvEvent {
                target: A,
                event_id: 9,
                change: Change::Cleared,
            })
            .unwrap();
        assert_eq!(again.dump().len(), 2);
    }
}
