//! What an engine was given to do: enough to ask for it again, from any process.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Iterations that were handed to an engine together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Version of this layout, 1.
    pub format: u32,
    /// The engine: `slurm`.
    pub engine: String,
    /// What the engine calls it: the number of the job array.
    pub id: String,
    /// What is added to the engine's index to get an iteration.
    pub offset: u32,
    /// The iterations, as runs of numbers with both ends included.
    pub iterations: Vec<(u32, u32)>,
    /// Most of them at once.
    pub jobs: u32,
    pub submitted_at: DateTime<Utc>,
    /// When the user cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl Ticket {
    /// Whether the ticket holds an iteration.
    pub fn has(&self, iteration: u32) -> bool {
        self.iterations
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&iteration))
    }
}

/// Numbers in order as runs, both ends included.
pub fn runs(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_runs_and_are_found_in_them() {
        assert_eq!(runs(&[3, 7, 8, 9, 900]), [(3, 3), (7, 9), (900, 900)]);
        assert_eq!(runs(&[]), []);
        let ticket = Ticket {
            format: 1,
            engine: "slurm".to_owned(),
            id: "12".to_owned(),
            offset: 0,
            iterations: runs(&[3, 7, 8, 9]),
            jobs: 2,
            submitted_at: DateTime::UNIX_EPOCH,
            cancelled_at: None,
        };
        assert!(ticket.has(8) && !ticket.has(4));
    }
}
