//! Lines inside of reports and of the short summary.

use super::Reader;
use super::marks::{self, Found};
use super::report::{self, Part};
use super::session::{MAX_ENTRIES, MarkKind, Region, Summary, Text};
use super::stack::StackKind;
use crate::pytest::row;

impl Reader {
    pub(super) fn in_report(&mut self, number: u64, text: &str) {
        if let Some(rest) = text.strip_prefix("INTERNALERROR>")
            && self.part != Part::Captured
        {
            self.internal(number, rest);
            return;
        }
        // A rule that a test printed looked like pytest's; the progress goes on, so it was not.
        if self.part == Part::Outside
            && self.open.last().is_some_and(|session| session.sections.is_empty())
            && row::dots(text).is_some_and(|dots| dots.percent.is_some())
        {
            self.session(number).region = Region::Progress;
            self.progress(number, text);
            return;
        }
        self.tail_mark(number, text);
        let Some(session) = self.open.last_mut() else {
            return;
        };
        if self.part != Part::Captured {
            report::take(session, &mut self.part, number, text);
        }
    }

    /// Looks for the shell's and the interpreter's words where the session may have died while it reported.
    pub(super) fn tail_mark(&mut self, number: u64, text: &str) {
        if self.part == Part::Captured {
            return;
        }
        if text.starts_with("Fatal Python error:") {
            self.push_stack(StackKind::Fatal, number, text);
            return;
        }
        if self.in_stack(text) || text.starts_with([' ', 'E', '>', '_', '-']) {
            return;
        }
        if let Some(Found::Mark(kind @ (MarkKind::Died | MarkKind::EndedOutside | MarkKind::Code(_)))) =
            marks::find(text)
        {
            self.session(number).mark(kind, number, text);
        }
    }

    pub(super) fn in_summary(&mut self, number: u64, text: &str) {
        let Some(session) = self.open.last_mut() else {
            return;
        };
        if let Some(line) = row::summary(text) {
            session.go_on(number);
            if session.summary.len() < MAX_ENTRIES {
                session.summary.push(Summary {
                    status: line.status,
                    line: number,
                    raw: line.text.to_owned(),
                    more: Text::default(),
                    is_cut: false,
                });
            }
            self.in_summary_entry = true;
            return;
        }
        let is_other = [
            "PASSED ", "SKIPPED ", "XFAIL ", "XPASS ", "RERUN ", "SUBPASS", "SUBSKIP",
        ]
        .iter()
        .any(|word| text.starts_with(word));
        if is_other {
            self.in_summary_entry = false;
            return;
        }
        if let Some((file, _, rest)) = report::location(text)
            && rest.contains("KeyboardInterrupt")
        {
            session.stop_location = Some(file.to_owned());
            return;
        }
        if self.in_summary_entry
            && let Some(entry) = session.summary.last_mut()
        {
            entry.more.push(number, text);
        }
        self.tail_mark(number, text);
    }
}
