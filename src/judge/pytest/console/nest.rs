//! Sessions inside each other: a test's output may hold a whole session, with its own header and closing line.

use super::session::{Region, Session};
use crate::judge::pytest::closing::Closing;

/// Sessions kept of one log.
const MAX_SESSIONS: usize = 200;
/// Sessions that may be open inside each other.
const MAX_DEPTH: usize = 16;

/// The sessions of a log while it is read.
#[derive(Default)]
pub(super) struct Nest {
    /// What stands before any session.
    pub(super) before: Session,
    /// Sessions that are over.
    pub(super) done: Vec<Session>,
    /// Sessions not yet given up, the innermost last: a later one may be the output of a test of an earlier one.
    open: Vec<Session>,
    /// Sessions that closed inside the one below them, should that one turn out to have died before.
    inner: Vec<Session>,
}

impl Nest {
    pub(super) fn region(&self) -> Region {
        self.open.last().map_or(Region::Before, |session| session.region)
    }

    /// How many sessions are open inside each other.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether a rule can be that of the session around the innermost one.
    pub(super) fn outer_fits(&self, width: usize, is_tight: bool) -> bool {
        let outer = self.open.iter().rev().nth(1);
        outer.is_some_and(|outer| outer.fits(width, is_tight))
    }

    /// The innermost session.
    pub(super) fn last(&self) -> Option<&Session> {
        self.open.last()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Session> {
        self.open.last_mut()
    }

    /// Drops the sessions that are open: they were another program's.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// The innermost session, or what stands before any.
    pub(super) fn here(&mut self) -> &mut Session {
        self.open.last_mut().unwrap_or(&mut self.before)
    }

    /// The innermost session, begun on this line where there is none.
    pub(super) fn session(&mut self, line: u64) -> &mut Session {
        if self.open.is_empty() {
            // What stands above a session without a header may be its own.
            self.open.push(Session {
                internal: self.before.limit.take(),
                stacks: std::mem::take(&mut self.before.stacks),
                ..Session::new(line)
            });
        }
        self.here()
    }

    /// Begins a session with its header.
    pub(super) fn start(&mut self, line: u64, width: Option<usize>) {
        // A reporter that replaces pytest's own lets xdist print its workers before the header.
        let is_xdist = self.last().is_some_and(Session::is_only_workers) && self.open.pop().is_some();
        if self.region() == Region::Closed
            && let Some(closed) = self.open.pop()
        {
            if self.open.is_empty() {
                self.keep(closed);
            } else {
                self.inner.push(closed);
            }
        }
        if self.open.len() >= MAX_DEPTH {
            self.open.pop();
        }
        self.open.push(Session {
            has_header: true,
            // Only pytest-sugar's header is no rule.
            has_results: width.is_none(),
            width,
            is_xdist,
            ..Session::new(line)
        });
    }

    /// Takes a closing line for the innermost session.
    pub(super) fn close(&mut self, closing: Closing, line: u64) -> &mut Session {
        if self.region() == Region::Closed {
            let accounts = |session: &Session| !session.has_header && session.accounts_for_closing();
            if self.open.len() > 1 {
                // The session around it goes on, so what closed before was a test's output.
                self.open.pop();
                self.inner.clear();
            } else if self.last().is_some_and(accounts)
                && let Some(closed) = self.open.pop()
            {
                self.keep(closed);
            }
        }
        let session = self.session(line);
        session.settle_late();
        session.go_on(line);
        session.closing = Some((closing, line));
        session.region = Region::Closed;
        session
    }

    /// Notes a line that is certainly pytest's own; a session that seemed closed was not.
    pub(super) fn go_on(&mut self, line: u64) -> &mut Session {
        if self.region() == Region::Closed {
            if self.open.len() > 1 {
                self.open.pop();
                self.inner.clear();
            } else if self.last().is_some_and(|session| session.has_header) {
                let session = self.session(line);
                session.closing = None;
                session.region = Region::Progress;
            } else if let Some(closed) = self.open.pop() {
                // Quiet sessions print no header: the next one begins with its first letters.
                self.keep(closed);
            }
        }
        let session = self.session(line);
        session.go_on(line);
        session
    }

    fn keep(&mut self, session: Session) {
        if self.done.len() < MAX_SESSIONS {
            self.done.push(session);
        }
    }

    /// Ends the reading: what is still open was cut, or never closed. `settle` has a last look at each.
    pub(super) fn finish(&mut self, settle: impl Fn(&mut Session)) {
        let mut rest = std::mem::take(&mut self.open);
        rest.append(&mut self.inner);
        rest.sort_by_key(|session| session.line);
        for mut session in rest {
            session.settle_late();
            settle(&mut session);
            self.keep(session);
        }
        self.drop_printed();
    }

    /// Drops what the tests of a quiet session printed without capture: reports between rules, and it prints none.
    fn drop_printed(&mut self) {
        let is_whole = |session: &Session| session.closing.is_some_and(|(closing, _)| !closing.is_empty);
        let Some(last) = self.done.last() else { return };
        if !last.is_plain || !last.is_green() || !is_whole(last) || self.done.iter().any(|session| session.has_header) {
            return;
        }
        if let Some(last) = self.done.pop() {
            self.done.retain(|session| session.is_plain);
            self.done.push(last);
        }
    }
}
