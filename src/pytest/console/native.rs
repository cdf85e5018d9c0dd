//! An error that pytest itself falls over while it ends, printed by the interpreter and not behind `INTERNALERROR>`.

use super::Reader;
use super::report::{self, Part};
use super::session::{Section, SectionKind};

/// A traceback being read between a session's own lines.
pub(super) struct Traceback {
    section: Section,
    part: Part,
    /// Whether it passes through pytest's own entry: what a test catches and prints does not reach that far up.
    is_pytest: bool,
}

impl Reader {
    /// Reads a traceback that stands below the progress; one of pytest's own explains the missing end.
    pub(super) fn traceback(&mut self, number: u64, text: &str) {
        if text.ends_with("Traceback (most recent call last):") {
            self.traceback = Some(Traceback {
                section: report::section(SectionKind::Internal, "", number),
                part: Part::Native,
                is_pytest: false,
            });
            return;
        }
        let Some(found) = &mut self.traceback else { return };
        if text.starts_with("  ") {
            found.is_pytest |= text.starts_with("  File \"")
                && text.contains("_pytest")
                && (text.ends_with("console_main") || text.ends_with("in pytest_cmdline_main"));
            return;
        }
        if text.trim().is_empty() {
            return;
        }
        let Some(mut found) = self.traceback.take().filter(|found| found.is_pytest) else {
            return;
        };
        report::take_into(&mut found.section, &mut found.part, number, text);
        let session = self.session(number);
        if !found.section.text.is_empty() && session.internal.is_none() {
            session.internal = Some(found.section);
        }
    }
}
