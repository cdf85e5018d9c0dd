//! The parts that iterations have in a search, told by the search before each of them is run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::spec::Part;

/// Parts by the number of the iteration.
#[derive(Debug, Default)]
pub struct Parts(Mutex<BTreeMap<u32, Part>>);

impl Parts {
    pub fn set(&self, iteration: u32, part: Part) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(iteration, part);
    }

    pub fn of(&self, iteration: u32) -> Option<Part> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&iteration)
            .cloned()
    }
}
