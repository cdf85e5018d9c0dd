//! Attempts that the world broke one after the other, and when going on is pointless.

use tokio::time::Instant;

/// Lost attempts in a row, for one reason, after which going on is pointless.
const LIMIT: u32 = 3;

/// Counts them.
#[derive(Default)]
pub(super) struct Losses {
    reason: String,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Counts an attempt that began at `since`. Those that were in flight together count once: a daemon that is
    /// restarted takes them all at once, and that is one misfortune.
    pub(super) fn add(&mut self, reason: &str, since: Option<Instant>) {
        let is_same_misfortune = since.zip(self.last).is_some_and(|(since, last)| since <= last);
        if self.reason != reason {
            self.in_a_row = 0;
            reason.clone_into(&mut self.reason);
        }
        if self.in_a_row == 0 || !is_same_misfortune {
            self.in_a_row += 1;
            self.last = Some(Instant::now());
        }
    }

    /// Whether the same has happened too often in a row.
    pub(super) fn is_hopeless(&self) -> bool {
        self.in_a_row >= LIMIT
    }
}
