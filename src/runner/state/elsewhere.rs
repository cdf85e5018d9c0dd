//! What is heard of iterations that an engine runs elsewhere, one sweep at a time.

use std::sync::Arc;

use super::{Reason, State};
use crate::iteration::{Answer, Live, Progress, Record};
use crate::model::EventKind;
use crate::store::StoreError;

impl State {
    /// Takes in that an iteration which was placed elsewhere has begun there.
    pub(in crate::runner) fn began_elsewhere(&mut self, iteration: u32, attempt: u32, live: Arc<Live>) {
        self.queue.take((0, iteration));
        self.hear(Progress::Started {
            arm: 0,
            iteration,
            attempt,
            live,
        });
    }

    /// Takes in that an attempt elsewhere gave no answer; the iteration waits again. Only what befalls iteration after
    /// iteration is a reason to stop: one that ends badly each time says nothing about the others.
    pub(in crate::runner) fn lost_elsewhere(&mut self, iteration: u32, attempt: u32, reason: String, counts: bool) {
        if counts {
            self.hear(Progress::Lost {
                arm: 0,
                iteration,
                attempt,
                reason,
            });
        } else {
            self.emit(
                0,
                EventKind::AttemptLost {
                    iteration,
                    attempt,
                    reason,
                },
            );
        }
        self.running.remove(&(0, iteration));
        self.queue.put_back((0, iteration));
        self.update_tally();
    }

    /// Takes in that an iteration which was placed elsewhere is recorded.
    pub(in crate::runner) fn recorded_elsewhere(&mut self, iteration: u32, record: Record) -> Result<(), StoreError> {
        self.queue.take((0, iteration));
        self.land((0, iteration), Ok(Answer::Recorded(Box::new(record))))
    }

    /// Iterations that run, as far as is known.
    pub(in crate::runner) fn running(&self) -> impl Iterator<Item = u32> {
        self.running.keys().map(|(_, iteration)| *iteration)
    }

    /// What can be seen of one that runs.
    pub(in crate::runner) fn live(&self, iteration: u32) -> Option<&Live> {
        Some(&self.running.get(&(0, iteration))?.live)
    }

    /// Why nothing new is started, if so.
    pub(in crate::runner) fn stopped(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}
