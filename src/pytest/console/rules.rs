//! Rules of `=` and `!`: where sessions, their regions and their ends begin, and which of them a test printed.

use super::progress::settle_late;
use super::report::{Part, Report};
use super::session::{MarkKind, Region, Session};
use super::{MAX_DEPTH, MAX_SESSIONS, Reader};
use crate::pytest::row::{self, Banner};

impl Reader {
    pub(super) fn title(&mut self, banner: &Banner<'_>, number: u64) -> Option<bool> {
        let title = banner.title;
        if title == "test session starts" {
            self.start(number, Some(banner.width));
            return Some(true);
        }
        if let Some(closing) = row::closing(title) {
            // Captured output may hold another session's closing line; only one as wide as our own rules ends ours.
            let fits = match self.open.last() {
                Some(session) if session.region == Region::Closed && self.open.len() > 1 => self
                    .open
                    .get(self.open.len() - 2)
                    .is_some_and(|outer| outer.fits(banner.width, banner.is_tight)),
                Some(session) => session.fits(banner.width, banner.is_tight),
                None => true,
            };
            let may_fit = self
                .open
                .last()
                .is_none_or(|session| session.may_fit(banner.width, banner.is_tight));
            if !may_fit || (!fits && self.part == Part::Captured) {
                return None;
            }
            if !fits && self.open.last().is_some_and(|session| session.closing.is_some()) {
                return None;
            }
            self.close(closing, number, fits);
            return Some(true);
        }
        let region = match title {
            "ERRORS" | "FAILURES" | "SUBTESTS" => Region::Report,
            "short test summary info" => Region::Summary,
            "PASSES"
            | "XFAILURES"
            | "XPASSES"
            | "rerun test summary info"
            | "warnings summary"
            | "warnings summary (final)"
            | "Flaky Test Report"
            | "RERUNS"
            | "tests coverage" => Region::Quiet,
            _ if title.starts_with("slowest ") || title.starts_with("coverage: ") => Region::Quiet,
            // A plugin's own section: it explains no failure of a test.
            _ if self.part != Part::Captured
                && self.open.last().is_some_and(|session| {
                    matches!(session.region, Region::Report | Region::Summary | Region::Quiet)
                        && session.width == Some(banner.width)
                }) =>
            {
                Region::Quiet
            }
            _ => return None,
        };
        let is_foreign = self.open.last().is_some_and(|session| {
            !session.may_fit(banner.width, banner.is_tight)
                || (!session.fits(banner.width, banner.is_tight)
                    && (self.part == Part::Captured || session.region == Region::Quiet))
        });
        if is_foreign {
            return None;
        }
        self.own_line(number);
        self.report = if title == "ERRORS" {
            Report::Errors
        } else {
            Report::Failures
        };
        self.part = Part::Outside;
        self.stack = false;
        self.in_summary_entry = false;
        let session = self.session(number);
        settle_late(session);
        session.is_uneven |= !session.fits(banner.width, banner.is_tight);
        session.region = region;
        Some(true)
    }

    /// A rule of `!`: the session stops early, and says why.
    pub(super) fn stopped(&mut self, banner: &Banner<'_>, number: u64) -> Option<bool> {
        let session = self.open.last_mut()?;
        if !session.fits(banner.width, banner.is_tight) || self.part == Part::Captured && session.width.is_none() {
            return None;
        }
        let is_known = ["Interrupted: ", "stopping after ", "session-timeout: "]
            .iter()
            .any(|start| banner.title.starts_with(start))
            || ["KeyboardInterrupt", "Exit: ", "Interrupted: "]
                .iter()
                .any(|part| banner.title.contains(part));
        if !is_known {
            return None;
        }
        settle_late(session);
        session.go_on(number);
        session.mark(MarkKind::Stopped, number, banner.title);
        session.region = Region::Summary;
        self.part = Part::Outside;
        self.in_summary_entry = false;
        Some(true)
    }

    /// Begins a session with its header.
    pub(super) fn start(&mut self, number: u64, width: Option<usize>) {
        self.part = Part::Outside;
        self.stack = false;
        self.in_summary_entry = false;
        if let Some(last) = self.open.last()
            && last.region == Region::Closed
        {
            let closed = self.open.pop().unwrap_or_default();
            if self.open.is_empty() {
                self.keep(closed);
            } else {
                self.inner.push(closed);
            }
        }
        let mut session = Session::new(number);
        session.has_header = true;
        session.width = width;
        if self.open.len() >= MAX_DEPTH {
            self.open.pop();
        }
        self.open.push(session);
    }

    pub(super) fn keep(&mut self, session: Session) {
        if self.console.sessions.len() < MAX_SESSIONS {
            self.console.sessions.push(session);
        }
    }

    /// Takes a closing line for the innermost open session.
    pub(super) fn close(&mut self, closing: row::Closing, number: u64, is_certain: bool) {
        if self.region() == Region::Closed {
            if self.open.len() > 1 {
                // The session around it goes on, so what closed before was a test's output.
                self.open.pop();
                self.inner.clear();
            } else if self
                .open
                .last()
                .is_some_and(|session| !session.has_header && session.accounts_for_closing())
            {
                let closed = self.open.pop().unwrap_or_default();
                self.keep(closed);
            }
        }
        let session = self.session(number);
        settle_late(session);
        session.go_on(number);
        session.closing = Some((closing, number));
        session.region = Region::Closed;
        if is_certain || session.width.is_none() {
            self.part = Part::Outside;
        }
        self.stack = false;
        self.in_summary_entry = false;
    }

    /// The innermost session, begun here where there is none.
    pub(super) fn session(&mut self, number: u64) -> &mut Session {
        if self.open.is_empty() {
            self.open.push(Session::new(number));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Notes a line that is certainly pytest's own; a session that seemed closed was not.
    pub(super) fn own_line(&mut self, number: u64) {
        if self.region() == Region::Closed {
            if self.open.len() > 1 {
                self.open.pop();
                self.inner.clear();
            } else if self.open.last().is_some_and(|session| session.has_header) {
                let session = self.session(number);
                session.closing = None;
                session.region = Region::Progress;
            } else {
                // Quiet sessions print no header: the next one begins with its first letters.
                let closed = self.open.pop().unwrap_or_default();
                self.keep(closed);
            }
        }
        self.session(number).go_on(number);
    }
}
