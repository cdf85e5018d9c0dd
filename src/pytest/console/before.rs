//! Lines before any session: what keeps one from starting, and sessions whose beginning looks otherwise or is lost.

use super::marks::{self, Found};
use super::report::{self, Part, Report};
use super::session::{MarkKind, Region, SectionKind, Session, push_mark};
use super::stack::StackKind;
use super::stacks::fatal_text;
use super::{Reader, header};
use crate::pytest::{nodeid, row};

impl Reader {
    /// Takes the lines that pytest-sugar prints instead of pytest's header and closing line.
    pub(super) fn sugar(&mut self, number: u64, text: &str) -> bool {
        if text.starts_with("Test session starts (platform: ") {
            self.start(number, None);
            self.is_sugar = true;
            return true;
        }
        if !self.is_sugar {
            return false;
        }
        if let Some(rest) = text.strip_prefix("Results (") {
            let seconds = rest.split('s').next().and_then(|seconds| seconds.parse().ok());
            let closing = row::Closing {
                elapsed_s: seconds.unwrap_or_default(),
                ..row::Closing::default()
            };
            self.close(closing, number, true);
            return true;
        }
        if self.region() != Region::Closed || !text.starts_with("    ") {
            return false;
        }
        let Some(found) = row::closing(&format!("{} in 0s", text.trim())) else {
            return false;
        };
        if let Some((closing, _)) = self.open.last_mut().and_then(|session| session.closing.as_mut()) {
            closing.counts.passed += found.counts.passed;
            closing.counts.failed += found.counts.failed;
            closing.counts.errors += found.counts.errors;
            closing.counts.skipped += found.counts.skipped;
            closing.counts.xfailed += found.counts.xfailed;
            closing.counts.xpassed += found.counts.xpassed;
        }
        true
    }

    /// Takes a line before any session.
    pub(super) fn before(&mut self, number: u64, text: &str) -> bool {
        if self.progress_row(number, text) {
            // A log that lost its head may begin with the row that its session died in.
            self.words(number, text);
            return true;
        }
        if let Some(rest) = text.strip_prefix("INTERNALERROR>") {
            self.internal(number, rest);
            return true;
        }
        if self.in_stack(text) {
            return false;
        }
        if header::is_workers(text) {
            // A quiet session of workers begins without a header.
            self.session(number).is_xdist = true;
            return true;
        }
        match marks::find(text) {
            Some(Found::Fatal) => self.push_stack(StackKind::Fatal, number, fatal_text(text)),
            Some(Found::Watchdog) => self.push_stack(StackKind::Watchdog, number, text),
            // A log that lost its head.
            Some(Found::Mark(MarkKind::WorkerLost | MarkKind::WorkersGivenUp)) => {
                self.open.push(Session::new(number));
                return self.progress(number, text);
            }
            Some(Found::Mark(kind)) => push_mark(&mut self.console.before, kind, number, text),
            None => {}
        }
        if !self.headless(number, text) {
            self.error_before(number, text);
        }
        false
    }

    /// Takes a line of a report whose beginning is not in the log; false when it is none.
    pub(super) fn headless(&mut self, number: u64, text: &str) -> bool {
        let is_summary = row::summary(text).is_some_and(|line| nodeid::starts(line.text));
        if is_summary {
            self.session(number).region = Region::Summary;
            self.in_summary(number, text);
            return true;
        }
        let title = row::banner(text)
            .filter(|banner| banner.fill == '_' && banner.width >= 40)
            .map(|banner| banner.title);
        let is_e_line = text.starts_with("E   ") && self.console.error_before.is_none();
        if title.is_none() && !is_e_line && report::worker_crash(text).is_none() {
            return false;
        }
        self.report = Report::Failures;
        self.part = Part::Trace;
        let session = self.session(number);
        session.region = Region::Report;
        if let Some(title) = title {
            report::open(session, Report::Failures, title, number);
        } else {
            session.sections.push(report::section(SectionKind::Call, "", number));
            self.in_report(number, text);
        }
        true
    }

    /// Reads what keeps a session from starting: pytest's word about conftest.py, or the interpreter's traceback.
    pub(super) fn error_before(&mut self, number: u64, text: &str) {
        if let Some(rest) = text.strip_prefix("ImportError while loading conftest '") {
            let file = rest.trim_end().trim_end_matches(['.', '\'']);
            let mut error = report::section(SectionKind::Collection, file, number);
            error.text.push(number, text);
            self.console.error_before = Some(error);
            self.before_part = Part::Trace;
        } else if text == "Traceback (most recent call last):" && self.console.error_before.is_none() {
            self.console.error_before = Some(report::section(SectionKind::Internal, "", number));
            self.before_part = Part::Native;
        } else if let Some(error) = &mut self.console.error_before {
            report::take_into(error, &mut self.before_part, number, text);
        }
    }
}
