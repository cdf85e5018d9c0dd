//! How a session ended, as process 1 of its container tells it over the gate.

use chrono::{DateTime, Utc};

use crate::judge::Usage;

/// What process 1 of a container has to say of the session's end.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::backend::docker) enum Account {
    /// No report will come: process 1 is the engine's init, or has exec'ed the session.
    NotKept,
    /// The gate has said nothing yet.
    Awaited,
    /// The gate is gone without a word: somebody outside killed it, or the memory limit did.
    Missing,
    /// This.
    Given(EndReport),
}

impl Account {
    /// Of a container with a gate: with an init process, the gate's program stays.
    pub(in crate::backend::docker) fn of(has_gate: bool, has_init: bool) -> Account {
        if has_gate && has_init {
            Account::Awaited
        } else {
            Account::NotKept
        }
    }

    /// Takes in what came over the connection before it ended.
    pub(in crate::backend::docker) fn take(&mut self, report: Option<EndReport>) {
        if *self == Account::Awaited {
            *self = report.map_or(Account::Missing, Account::Given);
        }
    }

    /// What was told.
    pub(in crate::backend::docker) fn report(&self) -> Option<&EndReport> {
        match self {
            Account::Given(report) => Some(report),
            Account::NotKept | Account::Awaited | Account::Missing => None,
        }
    }

    /// Whether the session's end was brought about from outside of its container.
    pub(in crate::backend::docker) fn is_interfered_with(&self) -> bool {
        match self {
            Account::Given(report) => report.is_ended_from_outside(),
            Account::Missing => true,
            Account::NotKept | Account::Awaited => false,
        }
    }
}

/// How a session ended, as process 1 of its container tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::backend::docker) struct EndReport {
    /// Exit code; 128 + signal where a signal ended it.
    pub(in crate::backend::docker) code: i32,
    signal: i32,
    /// Signals that came from outside and were passed on, a bit for each.
    forwarded: u64,
    /// Whether no process of the container is left.
    is_gone: bool,
    /// Processes that the memory limit killed; -1 where that cannot be known from inside.
    pub(in crate::backend::docker) oom_kills: i64,
    /// When the program was started, by the gate.
    pub(in crate::backend::docker) started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub(in crate::backend::docker) finished_at: Option<DateTime<Utc>>,
    /// What it used.
    pub(in crate::backend::docker) usage: Option<Usage>,
}

/// The signal that a terminal's Ctrl-C sends, and the code with which pytest ends when it came.
const INTERRUPT: (i32, i32) = (2, 2);

impl EndReport {
    pub(super) fn parse(line: &str) -> Option<EndReport> {
        let mut report = EndReport::default();
        let mut usage = Usage::default();
        let seconds = |micros: i64| micros as f64 / 1e6;
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=')?;
            if name == "forwarded" {
                report.forwarded = value.parse().ok()?;
                continue;
            }
            let number: i64 = value.parse().ok()?;
            let time = || DateTime::from_timestamp_micros(number);
            match name {
                "code" => report.code = i32::try_from(number).ok()?,
                "signal" => report.signal = i32::try_from(number).ok()?,
                "gone" => report.is_gone = number == 1,
                "oom" => report.oom_kills = number,
                "started_us" => report.started_at = time(),
                "finished_us" => report.finished_at = time(),
                "user_us" => usage.user_s = seconds(number),
                "system_us" => usage.system_s = seconds(number),
                "max_rss_kb" => usage.max_rss_bytes = u64::try_from(number).ok()? * 1024,
                _ => {}
            }
        }
        // A container that runs Python has used some memory; 0 means that nobody counted.
        report.usage = (usage.max_rss_bytes > 0).then_some(usage);
        report.finished_at.is_some().then_some(report)
    }

    /// The signal that ended the program: by its wait status, not by a code that only looks like one.
    pub(in crate::backend::docker) fn signal(&self) -> Option<i32> {
        (self.signal != 0).then_some(self.signal)
    }

    /// Whether the program ended of a signal that was sent from outside of its container; one that it survived ended
    /// nothing.
    pub(in crate::backend::docker) fn is_ended_from_outside(&self) -> bool {
        let came = |signal: i32| (1..=64).contains(&signal) && self.forwarded >> (signal - 1) & 1 == 1;
        // A program that catches the signal says so by its code.
        let told = [Some(self.code - 128), (self.code == INTERRUPT.1).then_some(INTERRUPT.0)];
        came(self.signal) || (self.signal == 0 && told.into_iter().flatten().any(came))
    }

    /// Whether nobody but us, if we did, ended the program: then its end is an answer even if the engine is gone.
    pub(in crate::backend::docker) fn is_own_end(&self, is_signalled: bool) -> bool {
        is_signalled || !self.is_ended_from_outside()
    }

    /// Whether the engine could add nothing: the program ended by itself with a code, nothing is left of it, nobody
    /// outside and no limit brought that about.
    pub(in crate::backend::docker) fn is_whole(&self, has_memory_limit: bool) -> bool {
        let has_no_kills = self.oom_kills == 0 || (self.oom_kills < 0 && !has_memory_limit);
        self.signal == 0 && !self.is_ended_from_outside() && self.is_gone && has_no_kills
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "code=0 signal=0 forwarded=0 gone=1 oom=0 started_us=1000000 finished_us=2000000 user_us=250000 \
                        system_us=50000 max_rss_kb=2048\n";

    #[test]
    fn an_account_that_leaves_questions_is_left_to_the_engine() {
        let is_whole = |line: &str, limit: bool| EndReport::parse(line).unwrap().is_whole(limit);
        assert!(is_whole(LINE, true));
        assert!(is_whole(&LINE.replace("code=0", "code=137"), true));
        for (from, to) in [
            ("signal=0", "signal=9"),
            ("code=0 signal=0 forwarded=0", "code=143 signal=0 forwarded=16384"),
            ("gone=1", "gone=0"),
            ("oom=0", "oom=1"),
        ] {
            assert!(!is_whole(&LINE.replace(from, to), false), "{to}");
        }
        assert!(
            is_whole(&LINE.replace("forwarded=0", "forwarded=16384"), false),
            "TERM ended nothing"
        );
        assert!(is_whole(&LINE.replace("oom=0", "oom=-1"), false));
        assert!(!is_whole(&LINE.replace("oom=0", "oom=-1"), true));
    }

    #[test]
    fn what_is_cut_short_is_no_account() {
        let report = EndReport::parse(LINE).unwrap();
        assert_eq!(
            (
                report.started_at.unwrap().timestamp(),
                report.finished_at.unwrap().timestamp()
            ),
            (1, 2)
        );
        let usage = report.usage.unwrap();
        assert_eq!(
            (usage.user_s, usage.system_s, usage.max_rss_bytes),
            (0.25, 0.05, 2 << 20)
        );
        assert_eq!(EndReport::parse("code=0 signal=0 forwarded"), None);
        assert_eq!(EndReport::parse("code=0"), None);
        assert_eq!(EndReport::parse("code=99999999999999999999"), None);
    }
}
