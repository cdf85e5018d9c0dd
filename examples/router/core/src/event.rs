//! What a worker says about its KV cache.

use serde::{Deserialize, Serialize};

use crate::block::Block;

/// A worker's rank: the unit that has a cache of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The worker.
    pub worker_id: u64,
    /// Its data-parallel rank.
    pub dp_rank: u32,
}

/// One change of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEvent {
    /// Whose cache.
    pub target: Target,
    /// Counts from 1 for each target, without gaps, so that a reader can put events in order and drop repeats.
    pub event_id: u64,
    /// What changed.
    pub change: Change,
}

/// What changed in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A block was stored behind `parent`, or at the start of a sequence.
    Stored {
        /// Sequence hash of the block before it.
        parent: Option<u64>,
        /// Hash of the block's own tokens.
        local: u64,
        /// Hash of the sequence up to its end.
        sequence: u64,
    },
    /// A block was evicted.
    Removed {
        /// Hash of the sequence up to its end.
        sequence: u64,
    },
    /// Everything was dropped.
    Cleared,
}

impl Change {
    /// The storing of `blocks[index]`.
    pub fn stored(blocks: &[Block], index: usize) -> Change {
        Change::Stored {
            parent: index.checked_sub(1).map(|before| blocks[before].sequence),
            local: blocks[index].local,
            sequence: blocks[index].sequence,
        }
    }
}
