//! Iterations in flight: those that run, at most `--jobs`, and those that were made ready ahead and wait for a seat.

use std::collections::BTreeMap;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Task, Work};
use crate::sweep::iteration::{Cancel, Stop};

/// Most iterations that stand by, whatever `-j` says: each is an idle container, and an engine starts only a few in
/// the time that one takes.
const MOST_AHEAD: usize = 8;

/// All iterations in flight, in the order they were handed out.
pub(super) struct Seats {
    jobs: usize,
    flights: BTreeMap<u64, Flight>,
    taken: u64,
    cancel: Cancel,
}

struct Flight {
    task: Task,
    seat: Seat,
    stop: watch::Sender<Stop>,
}

enum Seat {
    Running,
    /// Made ready, or about to be; sending opens its gate.
    StandingBy(oneshot::Sender<()>),
    /// The iteration will never begin, and has not come back yet.
    Dismissed,
}

impl Seats {
    pub(super) fn new(jobs: u32) -> Seats {
        Seats {
            jobs: jobs as usize,
            flights: BTreeMap::new(),
            taken: 0,
            cancel: Cancel::No,
        }
    }

    fn running(&self) -> usize {
        let running = |flight: &&Flight| matches!(flight.seat, Seat::Running);
        self.flights.values().filter(running).count()
    }

    /// How many stand by.
    pub(super) fn standing_by(&self) -> usize {
        let standing_by = |flight: &&Flight| matches!(flight.seat, Seat::StandingBy(_));
        self.flights.values().filter(standing_by).count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.running() < self.jobs
    }

    /// Whether one more may stand by: only behind those that run, and one more than those, since starting a container
    /// may take longer than a short session.
    pub(super) fn has_room_ahead(&self) -> bool {
        !self.has_room() && self.standing_by() < (self.jobs + 1).min(MOST_AHEAD)
    }

    /// Takes an iteration in: it stands by until its turn if there is something to open, and runs from now on if not.
    /// What is returned is its number here, and where it hears of stopping.
    pub(super) fn take(&mut self, task: Task, opens: Option<oneshot::Sender<()>>) -> (u64, watch::Receiver<Stop>) {
        let (stop, hears) = watch::channel(Stop::default());
        self.taken += 1;
        let seat = opens.map_or(Seat::Running, Seat::StandingBy);
        self.flights.insert(self.taken, Flight { task, seat, stop });
        (self.taken, hears)
    }

    /// Gives the next that stands by its turn. `false` if none does.
    pub(super) fn next_turn(&mut self) -> bool {
        let mut waiting = self.flights.values_mut();
        let Some(flight) = waiting.find(|flight| matches!(flight.seat, Seat::StandingBy(_))) else {
            return false;
        };
        if let Seat::StandingBy(opens) = std::mem::replace(&mut flight.seat, Seat::Running) {
            // A flight that has found its iteration claimed by another process is about to come back, and frees its seat.
            let _ = opens.send(());
        }
        true
    }

    pub(super) fn task(&self, id: u64) -> Option<&Task> {
        self.flights.get(&id).map(|flight| &flight.task)
    }

    pub(super) fn land(&mut self, id: u64) -> Option<Task> {
        self.flights.remove(&id).map(|flight| flight.task)
    }

    /// Tells those that stand by that their turn will never come.
    pub(super) fn dismiss(&mut self) {
        for flight in self.flights.values_mut() {
            flight.dismiss();
        }
    }

    /// Ends, or dismisses, those that are of no use any more.
    pub(super) fn end_unwanted(&mut self, work: &mut dyn Work) {
        for flight in self.flights.values_mut() {
            let has_begun = matches!(flight.seat, Seat::Running);
            if !work.is_wanted(&flight.task, has_begun) {
                flight.dismiss();
                if has_begun {
                    flight.stop.send_modify(|stop| stop.cancel = Cancel::Now);
                }
            }
        }
    }

    /// Tells all of them to stop; `asked_at` where a user asked for it.
    pub(super) fn stop(&mut self, cancel: Cancel, asked_at: Option<Instant>) {
        self.cancel = self.cancel.max(cancel);
        for flight in self.flights.values() {
            flight.stop.send_modify(|stop| {
                stop.cancel = stop.cancel.max(cancel);
                stop.asked_at = asked_at.or(stop.asked_at);
            });
        }
    }

    /// How far all of them were told to stop.
    pub(super) fn cancel(&self) -> Cancel {
        self.cancel
    }
}

impl Flight {
    fn dismiss(&mut self) {
        if matches!(self.seat, Seat::StandingBy(_)) {
            self.seat = Seat::Dismissed;
        }
    }
}
