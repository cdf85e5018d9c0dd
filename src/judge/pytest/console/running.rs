//! The tests that run at a moment, as the progress shows them, within bounds.

use std::collections::{BTreeMap, HashMap};

use super::session::MAX_ENTRIES;

/// Bytes of ids kept of the tests that run.
const MAX_RUNNING: usize = 4 << 20;

/// Tests that have begun and not ended, in that order.
#[derive(Clone, Debug, Default)]
pub struct Running {
    by_turn: BTreeMap<u64, String>,
    turns: HashMap<String, u64>,
    next: u64,
    bytes: usize,
}

impl Running {
    pub(super) fn begin(&mut self, id: &str) {
        let has_room = self.turns.len() < MAX_ENTRIES && self.bytes + id.len() < MAX_RUNNING;
        if has_room && !self.turns.contains_key(id) {
            self.bytes += id.len();
            self.by_turn.insert(self.next, id.to_owned());
            self.turns.insert(id.to_owned(), self.next);
            self.next += 1;
        }
    }

    pub(super) fn end(&mut self, id: &str) {
        if let Some(turn) = self.turns.remove(id) {
            self.by_turn.remove(&turn);
            self.bytes -= id.len();
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_turn.clear();
        self.turns.clear();
        self.bytes = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    pub fn first(&self) -> Option<&String> {
        self.by_turn.values().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.by_turn.values()
    }
}
