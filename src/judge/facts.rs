//! What is known about how a run ended, put together from exit facts, the console's wrappers and the trail.

use crate::model::{EndedBy, Exit};
use crate::pytest::argv;
use crate::pytest::console::Console;
use crate::pytest::console::session::{Mark, MarkKind, Region, Session};
use crate::pytest::trail::Trail;

use super::{RunFiles, SignatureSet};

/// Everything the judge looks at.
pub(super) struct Facts<'a> {
    /// Name of the console log.
    pub file: String,
    /// What it says.
    pub console: Console,
    /// The trail, where there is one with anything in it.
    pub trail: Option<Trail>,
    /// How the process ended.
    pub exit: Option<&'a Exit>,
    /// The run's files, for per-test logs.
    pub run: &'a dyn RunFiles,
    /// The rules.
    pub signatures: &'a SignatureSet,
}

/// How the last process of a run ended, as far as anything says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Exit code, from the exit facts or a wrapper's words.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
}

impl End {
    /// Whether a signal that nobody sends on purpose ended it: an abort, a fault, a kill.
    pub(super) fn is_death(self) -> bool {
        self.signal.is_some_and(|signal| !matches!(signal, 1 | 2 | 13 | 15))
    }

    /// Whether it was told to end: HUP, INT, TERM.
    pub(super) fn is_told(self) -> bool {
        matches!(self.signal, Some(1 | 2 | 15))
    }
}

impl Facts<'_> {
    /// Tests that the trail saw begin and not end; where there are none, files in the middle of their collection.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for test in self.trail.iter().flat_map(Trail::unfinished) {
            if !ids.contains(&test.id) {
                ids.push(test.id.clone());
            }
        }
        if ids.is_empty() {
            ids.extend(self.trail.iter().flat_map(|trail| trail.collecting.iter().cloned()));
        }
        ids
    }

    /// The last session of the log.
    pub(super) fn last_session(&self) -> Option<&Session> {
        self.console.sessions.last()
    }

    /// Lines of other programs that nothing of pytest's follows.
    pub(super) fn tail(&self) -> impl Iterator<Item = &Mark> {
        let last = self.console.sessions.last();
        // Words before a session that then ran say nothing about how it ended.
        let before = if last.is_none() {
            self.console.before.as_slice()
        } else {
            &[]
        };
        before
            .iter()
            .chain(last.into_iter().flat_map(|session| session.marks.iter()))
            .filter(|mark| !mark.is_followed)
    }

    /// Exit code and signal. The exit facts come first; a wrapper's words count where there are none.
    pub(super) fn end(&self) -> End {
        let told = self.tail().filter_map(|mark| match mark.kind {
            MarkKind::Code(code) => Some(code),
            _ => None,
        });
        let code = self.exit.and_then(|exit| exit.code).or_else(|| told.last());
        let signal = self
            .exit
            .and_then(|exit| exit.signal)
            // Python tells a signal as a negative code, a shell as one above 128.
            .or_else(|| code.filter(|code| (-64..0).contains(code)).map(|code| -code))
            .or_else(|| code.filter(|code| (129..=159).contains(code)).map(|code| code - 128));
        End { code, signal }
    }

    /// Why we know that the session was ended from outside, in the words of the `exit` scope; `None` when it was not,
    /// or nothing says so.
    pub(super) fn ended_outside(&self) -> Option<String> {
        if let Some(exit) = self.exit {
            match exit.ended_by {
                EndedBy::Deadline => return Some("by the deadline".to_owned()),
                EndedBy::Silence => return Some("after a silence".to_owned()),
                EndedBy::Cancel | EndedBy::Itself => {}
            }
        }
        if let Some((_, text)) = &self.console.marker
            && !text.contains("cancel")
        {
            return Some("by us, as the marker says".to_owned());
        }
        let end = self.end();
        if end.code == Some(124) {
            return Some("by `timeout`: exit code 124".to_owned());
        }
        self.tail()
            .find(|mark| mark.kind == MarkKind::EndedOutside)
            .map(|mark| format!("as line {} says", mark.line))
    }

    /// Whether the user ended it, which makes it no result.
    pub(super) fn is_cancelled(&self) -> bool {
        self.exit.is_some_and(|exit| exit.ended_by == EndedBy::Cancel)
            || self
                .console
                .marker
                .as_ref()
                .is_some_and(|(_, text)| text.contains("cancel"))
    }

    /// Whether the session never meant to print a closing line and yet reached its end.
    pub(super) fn is_silently_complete(&self, session: &Session) -> bool {
        let is_trail_green = self
            .trail
            .as_ref()
            .is_some_and(|trail| trail.is_finished && trail.unfinished().next().is_none());
        if is_trail_green {
            return true;
        }
        let is_at_end = !session.has_header
            && !session.is_verbose
            && session.percent == Some(100)
            && !session.is_row_open
            && session.region == Region::Progress
            && !self.console.is_cut_in_line;
        let is_quiet = self.exit.is_some_and(|exit| argv::prints_no_closing(&exit.argv));
        is_at_end || (is_quiet && self.end().code == Some(0))
    }
}
