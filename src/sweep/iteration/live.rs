//! What displays show of a running attempt: since when it runs, and the last line it printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// What can be seen of a running attempt.
#[derive(Debug)]
pub struct Live {
    pub since: Instant,
    last_line: Mutex<Vec<u8>>,
    names_interrupt: AtomicBool,
}

impl Live {
    pub(crate) fn new() -> Live {
        Live {
            since: Instant::now(),
            last_line: Mutex::default(),
            names_interrupt: AtomicBool::new(false),
        }
    }

    /// The last line it printed, as printed; control characters are the display's to remove.
    pub fn last_line(&self) -> String {
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Whether it has printed the name of Python's exception for INT.
    pub(super) fn names_interrupt(&self) -> bool {
        self.names_interrupt.load(Ordering::Relaxed)
    }

    /// Takes in a piece of output; only the last line that is not blank is kept.
    pub(crate) fn see(&self, piece: &[u8]) {
        const LONGEST: usize = 400;
        if memchr::memmem::find(piece, b"KeyboardInterrupt").is_some() {
            self.names_interrupt.store(true, Ordering::Relaxed);
        }
        let mut kept = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if kept.last() == Some(&b'\n') && !line.trim_ascii().is_empty() {
                kept.clear();
            }
            let room = LONGEST.saturating_sub(kept.len());
            kept.extend_from_slice(&line[..line.len().min(room)]);
            if line.ends_with(b"\n") && kept.last() != Some(&b'\n') {
                kept.push(b'\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_survives_pieces_cut_anywhere_and_blank_lines() {
        let live = Live::new();
        for piece in ["tests/a.py::x PAS", "SED\ntests/a.py::y ", "FAILED\n", "\n  \n"] {
            live.see(piece.as_bytes());
        }
        assert_eq!(live.last_line().trim(), "tests/a.py::y FAILED");
        live.see("x".repeat(100_000).as_bytes());
        assert!(live.last_line().len() <= 401);
    }
}
