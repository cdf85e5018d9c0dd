//! Whose turn it is: iterations in flight, and those that were made ready ahead and wait.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::oneshot;

use super::Slot;
use crate::iteration::Turn;

/// Most iterations that stand by, whatever `-j` says: each is an idle container, and an engine starts only a few in
/// the time that one takes.
const MOST: usize = 8;

/// Who runs and who stands by, in order.
pub(super) struct Turns {
    jobs: usize,
    running: BTreeSet<Slot>,
    standing_by: VecDeque<(Slot, oneshot::Sender<()>)>,
}

impl Turns {
    pub(super) fn new(jobs: u32) -> Turns {
        Turns {
            jobs: jobs as usize,
            running: BTreeSet::new(),
            standing_by: VecDeque::new(),
        }
    }

    /// Whether one more may run.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < self.jobs
    }

    /// Whether one more may stand by: only behind those that run, and one more than those, since starting a container
    /// may take longer than a short session.
    pub(super) fn has_room_ahead(&self) -> bool {
        !self.has_room() && self.standing_by.len() < (self.jobs + 1).min(MOST)
    }

    /// How many stand by.
    pub(super) fn standing_by(&self) -> usize {
        self.standing_by.len()
    }

    /// It runs from now on.
    pub(super) fn run(&mut self, slot: Slot) {
        self.running.insert(slot);
    }

    /// It stands by; what is returned is what it waits for.
    pub(super) fn stand_by(&mut self, slot: Slot) -> Turn {
        let (sender, turn) = oneshot::channel();
        self.standing_by.push_back((slot, sender));
        turn
    }

    /// Gives the next that stands by its turn. `false` if none does.
    pub(super) fn next(&mut self) -> bool {
        let Some((slot, turn)) = self.standing_by.pop_front() else {
            return false;
        };
        // One that has found its iteration taken is about to land, and gives the place back then.
        let _ = turn.send(());
        self.run(slot);
        true
    }

    /// It has landed.
    pub(super) fn land(&mut self, slot: Slot) {
        self.running.remove(&slot);
        self.standing_by.retain(|(waiting, _)| *waiting != slot);
    }

    /// Tells those that stand by that their turn will never come.
    pub(super) fn dismiss(&mut self) {
        self.standing_by.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_stand_by_run_in_order_and_take_no_place_before() {
        let mut turns = Turns::new(2);
        assert!(
            turns.has_room() && !turns.has_room_ahead(),
            "nobody stands by while there is room"
        );
        turns.run((0, 1));
        turns.run((0, 2));
        assert!(!turns.has_room() && turns.has_room_ahead());
        let mut third = turns.stand_by((0, 3));
        let mut fourth = turns.stand_by((0, 4));
        assert!(turns.has_room_ahead());
        let _fifth = turns.stand_by((0, 5));
        assert!(!turns.has_room_ahead());
        turns.land((0, 1));
        assert!(turns.has_room() && turns.next());
        assert!(third.try_recv().is_ok() && fourth.try_recv().is_err());
        assert!(!turns.has_room());
        turns.dismiss();
        assert!(matches!(fourth.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert_eq!(turns.standing_by(), 0);
    }

    #[test]
    fn one_that_lands_before_its_turn_is_not_given_it() {
        let mut turns = Turns::new(1);
        turns.run((0, 1));
        let _turn = turns.stand_by((0, 2));
        turns.land((0, 2));
        turns.land((0, 1));
        assert!(!turns.next() && turns.has_room());
    }
}
