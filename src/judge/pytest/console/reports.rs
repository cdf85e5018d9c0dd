//! The lines of ERRORS, FAILURES and the short summary, kept within bounds.

use super::Reader;
use super::section::{Part, Section, SectionKind, is_exception, location, worker_crash};
use super::session::{MAX_ENTRIES, Region, Session, Summary, Text};
use crate::judge::pytest::nodeid;

/// Bytes kept of the texts of failures, all sessions together.
const MAX_KEPT: usize = 24 << 20;
/// What an entry of a list counts besides its text.
const ENTRY: usize = 256;

impl Reader {
    /// Opens a section of ERRORS or FAILURES, or one that a reporter prints as soon as a test has failed.
    pub(super) fn title(&mut self, number: u64, title: &str, is_uneven: bool) {
        let region = self.nest.region();
        if region != Region::Quiet && self.has_room(title) {
            self.is_instant |= region == Region::Progress;
            let section = Section::open(self.is_errors, title, number);
            let session = self.nest.session(number);
            if session.sections.len() >= MAX_ENTRIES {
                // The lines of a failure that is not kept are passed over.
                self.part = Part::Captured;
                return;
            }
            session.is_uneven |= is_uneven;
            session.region = Region::Report;
            session.sections.push(section);
        }
        self.part = Part::Trace;
    }

    /// Takes a line of a report.
    pub(super) fn section(&mut self, number: u64, text: &str) {
        if !self.has_room("") {
            return;
        }
        let Some(session) = self.nest.last_mut() else { return };
        // Under `--tb=line` a failure's message may stand before what the test printed, and its place after it.
        if let Some(section) = session.sections.last_mut()
            && section.is_untold()
            && let Some((file, _, reason)) = location(text)
            && is_exception(reason)
        {
            section.place(file);
            self.part = Part::Outside;
            return;
        }
        if self.part == Part::Captured {
            return;
        }
        let length = |session: &Session| session.sections.last().map_or(0, |section| section.text.body.len());
        let before = (session.sections.len(), length(session));
        if self.part != Part::Outside {
            if let Some(section) = session.sections.last_mut() {
                section.take(&mut self.part, number, text);
            }
        } else if let Some((file, _, reason)) = location(text) {
            // `--tb=line` prints a failure a line, without a title.
            let mut section = Section::new(SectionKind::Call, "", number);
            section.place(file);
            section.text.push(number, reason);
            session.sections.push(section);
        } else if let Some(section) = session.sections.last_mut().filter(|section| section.title.is_empty()) {
            if text.starts_with("E   ") {
                section.take(&mut Part::Trace, number, text);
            } else {
                section.text.push(number, text);
            }
        } else if worker_crash(text).is_some() || text.starts_with("E   ") {
            let mut section = Section::new(SectionKind::Call, "", number);
            section.take(&mut Part::Trace, number, text);
            session.sections.push(section);
        }
        self.kept += if session.sections.len() > before.0 {
            ENTRY + length(session)
        } else {
            length(session) - before.1
        };
    }

    /// Whether one more entry may be kept; its text counts from now on.
    pub(super) fn has_room(&mut self, text: &str) -> bool {
        let has_room = self.kept < MAX_KEPT;
        self.kept += if has_room && !text.is_empty() {
            text.len() + ENTRY
        } else {
            0
        };
        has_room
    }

    /// Takes a line of the short summary that names a failing test.
    pub(super) fn entry(&mut self, number: u64, raw: &str) {
        let has_room = self.has_room(raw);
        let session = self.nest.session(number);
        // Some reporters list failing tests below their own closing line.
        session.region = session.region.max(Region::Summary);
        session.go_on(number);
        if has_room {
            session.summary.push(Summary {
                line: number,
                raw: raw.to_owned(),
                more: Text::default(),
                is_cut: false,
            });
        }
        self.in_entry = true;
    }

    /// Takes a line of the short summary that names a test which was run again.
    pub(super) fn reran(&mut self, text: &str) {
        if let Some(raw) = text.strip_prefix("RERUN ").filter(|raw| nodeid::starts(raw))
            && self.part != Part::Captured
        {
            self.nest.here().rerun(&raw[..nodeid::length(raw)]);
        }
    }

    /// Keeps a line that may be what a plugin says at the end.
    pub(super) fn last_words(&mut self, number: u64, text: &str) {
        let text = text.trim();
        if !text.is_empty() && self.part != Part::Captured {
            let (line, kept) = self.nest.here().last_words.get_or_insert_default();
            *line = number;
            kept.clear();
            kept.push_str(text.get(..400).unwrap_or(text));
        }
    }

    /// Takes a line of pytest's internal error.
    pub(super) fn internal(&mut self, number: u64, text: &str) {
        let session = self.nest.go_on(number);
        let error = session
            .internal
            .get_or_insert_with(|| Section::new(SectionKind::Internal, "", number));
        let text = text.strip_prefix(' ').unwrap_or(text);
        // What a worker fell over, xdist tells as the message of its own assertion, indented.
        let told = text
            .strip_prefix("E ")
            .map(str::trim_start)
            .filter(|told| is_exception(told));
        match told {
            Some(told) => error.text.push(number, told),
            None => error.take(&mut Part::Native, number, text),
        }
    }
}
