//! `--silence auto`: how long a session may be quiet, learned from the iterations that passed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::judge::Exit;
use crate::spec::Deadlines;

/// A session is taken for hung at this many times the longest quiet spell of those that passed.
const FACTOR: u32 = 10;

/// Shortest limit: a short suite is quiet for milliseconds only, but a busy machine makes it quiet for seconds.
const LEAST: Duration = Duration::from_secs(30);

/// The longest quiet spell seen, shared by all iterations of a sweep.
#[derive(Debug, Default)]
pub struct Quiet {
    longest_ms: AtomicU64,
}

impl Quiet {
    /// Takes in an iteration that passed.
    pub fn learn(&self, exit: &Exit) {
        if let Some(quiet) = exit
            .quiet_s
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        {
            let quiet = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
            // An iteration that passed was quiet for a moment at least.
            self.longest_ms.fetch_max(quiet.max(1), Ordering::Relaxed);
        }
    }

    /// How long a session may be quiet now; `None` for no limit, as under `auto` until an iteration has passed.
    pub fn limit(&self, deadlines: &Deadlines) -> Option<Duration> {
        if !deadlines.silence_auto {
            return deadlines.silence();
        }
        match self.longest_ms.load(Ordering::Relaxed) {
            0 => None,
            longest => Some(
                (Duration::from_millis(longest) * FACTOR)
                    .max(LEAST)
                    .min(deadlines.total()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(quiet_s: f64) -> Exit {
        Exit {
            quiet_s: Some(quiet_s),
            ..Exit::default()
        }
    }

    #[test]
    fn the_limit_follows_the_longest_quiet_spell_within_bounds() {
        let deadlines = Deadlines {
            total_s: 660.0,
            silence_s: None,
            silence_auto: true,
            keep_s: None,
            grace_s: 10.0,
        };
        let quiet = Quiet::default();
        assert_eq!(quiet.limit(&deadlines), None);
        quiet.learn(&passed(0.2));
        assert_eq!(quiet.limit(&deadlines), Some(LEAST));
        quiet.learn(&passed(12.0));
        quiet.learn(&passed(3.0));
        assert_eq!(quiet.limit(&deadlines), Some(Duration::from_mins(2)));
        quiet.learn(&passed(500.0));
        assert_eq!(quiet.limit(&deadlines), Some(Duration::from_mins(11)));
    }

    #[test]
    fn a_fixed_value_learns_nothing() {
        let deadlines = Deadlines {
            total_s: 660.0,
            silence_s: Some(90.0),
            silence_auto: false,
            keep_s: None,
            grace_s: 10.0,
        };
        let quiet = Quiet::default();
        quiet.learn(&passed(60.0));
        assert_eq!(quiet.limit(&deadlines), Some(Duration::from_secs(90)));
    }
}
