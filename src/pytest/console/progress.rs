//! The progress: tests that begin and end, rows of letters, and what other processes write between them.

use super::marks::{self, Found};
use super::report::{self, Part};
use super::session::{FailedProgress, MAX_ENTRIES, MarkKind, Region, SectionKind, Session};
use super::stack::StackKind;
use super::stacks::fatal_text;
use super::{Reader, header};
use crate::pytest::nodeid;
use crate::pytest::row::{self, Status};

impl Reader {
    /// Takes a line of header, collection or progress, or one after the end.
    pub(super) fn progress(&mut self, number: u64, text: &str) -> bool {
        if let Some(rest) = text.strip_prefix("INTERNALERROR>") {
            self.internal(number, rest);
            return true;
        }
        let is_own = self.progress_row(number, text);
        if self.in_stack(text) && !is_own {
            return false;
        }
        let is_closed = self.region() == Region::Closed;
        self.words(number, text);
        if !is_closed {
            self.traceback(number, text);
        }
        if !is_closed && !is_own {
            let session = self.session(number);
            if !session.is_header_over && header::take(session, text) {
                return true;
            }
            if let Some((file, _, rest)) = report::location(text)
                && rest.contains("KeyboardInterrupt")
            {
                session.stop_location = Some(file.to_owned());
            }
        }
        is_own
    }

    /// Notes what other programs say on a line, or behind pytest's own words on it.
    pub(super) fn words(&mut self, number: u64, text: &str) {
        match marks::find(foreign(text)) {
            Some(Found::Fatal) => self.push_stack(StackKind::Fatal, number, fatal_text(text)),
            Some(Found::Watchdog) => self.push_stack(StackKind::Watchdog, number, text),
            Some(Found::Mark(kind)) => {
                let session = self.session(number);
                let is_workers = matches!(kind, MarkKind::WorkerLost | MarkKind::WorkersGivenUp);
                // A test of a session without workers may print the words; a log that lost its head may have workers.
                if !is_workers || session.is_xdist || !session.has_header {
                    // Letters of progress may stand before it, and a replaced worker's state.
                    let at = match kind {
                        MarkKind::WorkerLost => text.find("node down").and_then(|at| text[..at].rfind("[gw")),
                        _ => text.find("aximum crashed").map(|at| at.saturating_sub(1)),
                    };
                    session.mark(kind, number, text.get(at.unwrap_or(0)..).unwrap_or(text));
                }
            }
            None => {}
        }
    }

    /// Takes a line that shows a test's beginning or end; false when it does not.
    pub(super) fn progress_row(&mut self, number: u64, text: &str) -> bool {
        if let Some(start) = self.open.last_mut().and_then(|session| session.wrapped.take()) {
            let joined = format!("{start}{}", text.trim_end());
            if let Some(progress) = row::progress(&joined)
                && progress.id.len() > start.len()
                && progress.id.ends_with(']')
            {
                if let Some(session) = self.open.last_mut() {
                    session.running.retain(|running| *running != start);
                }
                self.own_line(number);
                self.result(&progress, number);
                return true;
            }
        }
        let has_id = memchr::memmem::find(text.as_bytes(), b"::").is_some();
        if has_id && let Some(progress) = row::progress(text) {
            // After the end a wrapper may name tests in words of its own; only a result with pytest's tail counts.
            let is_certain = progress.status.is_some();
            if !is_certain && matches!(self.region(), Region::Closed | Region::Before) && !progress.rest.is_empty() {
                return false;
            }
            if self.region() == Region::Closed && !is_certain && self.open.len() == 1 {
                return false;
            }
            self.own_line(number);
            self.result(&progress, number);
            return true;
        }
        if let Some(dots) = row::dots(text) {
            let is_certain = dots.percent.is_some();
            if !is_certain && self.region() == Region::Closed {
                return false;
            }
            if !is_certain && dots.file.is_none() && !self.takes_bare_letters(dots.letters) {
                return false;
            }
            self.own_line(number);
            self.letters(&dots, number);
            return true;
        }
        let session = match self.open.last_mut() {
            Some(session) if session.region == Region::Progress && !session.running.is_empty() && !session.is_xdist => {
                session
            }
            _ => return false,
        };
        if let Some(status) = row::late_status(text) {
            session.go_on(number);
            session.late = Some((session.running[0].clone(), status, number));
            session.percent = row::percent_at_end(text).or(session.percent);
            return true;
        }
        false
    }

    /// Whether a line of nothing but letters is a row of results: after a header's end, or a long one at the start.
    pub(super) fn takes_bare_letters(&self, letters: &str) -> bool {
        match self.open.last() {
            None => letters.starts_with(['.', 's', 'x', 'F', 'E']) && letters.len() >= 2,
            Some(session) => !session.is_verbose && (session.is_xdist || !session.has_header || session.is_row_open),
        }
    }

    pub(super) fn result(&mut self, progress: &row::Progress<'_>, number: u64) {
        let session = self.session(number);
        session.is_header_over = true;
        settle_late(session);
        session.is_verbose = true;
        session.is_xdist |= progress.worker.is_some();
        session.percent = progress.percent.or(session.percent);
        let id = progress.id;
        match progress.status {
            None => {
                if id.contains('[') && !id.ends_with(']') && progress.rest.is_empty() {
                    session.wrapped = Some(id.to_owned());
                }
                if !session.is_xdist {
                    session.running.clear();
                }
                if session.running.len() < MAX_ENTRIES && !session.running.iter().any(|running| running == id) {
                    session.running.push(id.to_owned());
                }
            }
            // Without capture no percentage follows a result, and the word may be the test's own.
            Some(status) if progress.worker.is_none() && !progress.rest.contains('%') => {
                if !session.is_xdist {
                    session.running.clear();
                }
                if !session.running.iter().any(|running| running == id) {
                    session.running.push(id.to_owned());
                }
                session.late = Some((id.to_owned(), status, number));
            }
            Some(status) => end(session, id, status, progress.worker, number),
        }
    }

    pub(super) fn letters(&mut self, dots: &row::Dots<'_>, number: u64) {
        let session = self.session(number);
        session.is_header_over = true;
        if let Some(file) = dots.file {
            if session.last_file.as_deref() != Some(file) {
                session.n_files += 1;
            }
            session.last_file = Some(file.to_owned());
        }
        let failed = dots
            .letters
            .bytes()
            .filter(|letter| matches!(letter, b'F' | b'E'))
            .count() as u64;
        if failed > 0 {
            session.failed_letters_line.get_or_insert(number);
        }
        session.failed_letters += failed;
        if dots.percent.is_some() || dots.rest.contains("atal Python error:") {
            session.certain_letters += failed;
        }
        session.finished += dots.letters.len() as u64;
        session.is_row_open = dots.percent.is_none();
        if dots.percent.is_some() {
            session.percent = dots.percent;
        }
    }

    pub(super) fn internal(&mut self, number: u64, rest: &str) {
        self.own_line(number);
        let session = self.session(number);
        let error = session
            .internal
            .get_or_insert_with(|| report::section(SectionKind::Internal, "", number));
        let text = rest.strip_prefix(' ').unwrap_or(rest);
        // What a worker fell over, xdist tells as the message of its own assertion, indented.
        if let Some(told) = text.strip_prefix("E ").map(str::trim_start)
            && report::is_exception(told)
        {
            error.text.push(number, told);
            return;
        }
        let mut part = Part::Native;
        report::take_into(error, &mut part, number, text);
    }
}

/// What stands on a line of progress behind pytest's own words: who ends a session writes where its cursor was.
pub(super) fn foreign(text: &str) -> &str {
    if nodeid::starts(text) {
        return text[nodeid::length(text)..].trim_start();
    }
    match row::dots(text) {
        Some(dots) if dots.file.is_some() && !dots.rest.is_empty() => dots.rest,
        Some(_) | None => text,
    }
}

/// The result that stood alone is the test's own, now that another one begins or the session reports.
pub(super) fn settle_late(session: &mut Session) {
    if let Some((id, status, line)) = session.late.take() {
        end(session, &id, status, None, line);
    }
}

/// Notes the end of a test, or of one phase of it.
pub(super) fn end(session: &mut Session, id: &str, status: Status, worker: Option<&str>, number: u64) {
    if status == Status::Rerun {
        return;
    }
    session.running.retain(|running| running != id);
    session.finished += 1;
    if status != Status::Fine && session.failed.len() < MAX_ENTRIES {
        session.failed.push(FailedProgress {
            id: id.to_owned(),
            status,
            line: number,
            worker: worker.map(str::to_owned),
        });
    }
}
