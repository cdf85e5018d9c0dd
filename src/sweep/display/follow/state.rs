//! What the view remembers between two pictures: the sweeps as last seen, and which run is selected.

use std::time::Instant;

use crate::judge::Verdict;
use crate::sweep::status::SweepStatus;

/// How many of the latest runs that did not pass are shown of each sweep.
pub(super) const MOST_LATEST: usize = 6;

/// A run that can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) sweep: String,
    pub(super) iteration: u32,
    /// Its directory, or that of its attempt.
    pub(super) dir: String,
}

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sweeps: Vec<SweepStatus>,
    /// When the sweeps were read; `None` before the first time.
    pub(super) seen: Option<Instant>,
    /// First line that is shown.
    pub(super) top: usize,
    /// What went wrong with the last key.
    pub(super) said: Option<String>,
    selected: Option<Item>,
    /// Index of the selected run among all that can be selected.
    place: usize,
}

impl State {
    /// Takes in how far the sweeps have come. The selected run stays selected; if it is gone, the run in its place is.
    pub(super) fn show(&mut self, sweeps: Vec<SweepStatus>) {
        self.sweeps = sweeps;
        self.seen = Some(Instant::now());
        if let Some(selected) = &self.selected {
            let items = self.items();
            let is_it = |item: &Item| item.sweep == selected.sweep && item.iteration == selected.iteration;
            let place = items
                .iter()
                .position(is_it)
                .unwrap_or(self.place.min(items.len().saturating_sub(1)));
            self.selected = items.get(place).cloned();
            self.place = place;
        }
    }

    /// Puts a line below the picture until the next key.
    pub(super) fn say(&mut self, words: String) {
        self.said = Some(words);
    }

    /// Selects another run, so many further on.
    pub(super) fn step(&mut self, by: isize) {
        self.said = None;
        let items = self.items();
        let last = items.len().saturating_sub(1);
        self.place = match self.selected {
            None if by < 0 => last,
            None => 0,
            Some(_) => self.place.saturating_add_signed(by).min(last),
        };
        self.selected = items.get(self.place).cloned();
    }

    pub(super) fn selected(&self) -> Option<&Item> {
        self.selected.as_ref()
    }

    /// All that can be selected, in the order of the picture.
    pub(super) fn items(&self) -> Vec<Item> {
        self.sweeps.iter().flat_map(items_of).collect()
    }
}

/// The runs of a sweep that can be selected: those that run, and the latest that did not pass, the last one first.
pub(super) fn items_of(sweep: &SweepStatus) -> Vec<Item> {
    let item = |iteration: u32, dir: &str| Item {
        sweep: sweep.sweep.clone(),
        iteration,
        dir: dir.to_owned(),
    };
    let running = sweep
        .in_flight
        .iter()
        .map(|running| item(running.iteration, running.attempt.as_deref().unwrap_or_default()));
    let latest = sweep.latest.iter().rev().filter(|one| one.verdict != Verdict::Passed);
    running
        .chain(latest.take(MOST_LATEST).map(|one| item(one.iteration, &one.dir)))
        .collect()
}
