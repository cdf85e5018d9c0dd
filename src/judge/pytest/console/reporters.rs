//! Lines of a quiet session, and of reporters that replace pytest's own: closing lines without rules, counts, tables.

use super::Reader;
use super::said::Said;
use super::section::Part;
use super::session::{Region, Session};
use crate::judge::pytest::{closing, nodeid};

/// Width of the rule that unittest prints; a reporter of pytest's in its manner fills the terminal.
const UNITTEST: usize = 70;

impl Reader {
    /// Reads a closing line without rules, as `-q` prints it, or what a plugin prints instead of one.
    pub(super) fn read_closing<'a>(&self, text: &'a str) -> Option<Said<'a>> {
        if text.starts_with("Test session starts (platform: ") {
            return Some(Said::Start(None));
        }
        let last = self.nest.last();
        if self.nest.region() == Region::Closed && text.starts_with("    ") {
            let is_counted = last
                .and_then(|session| session.closing)
                .is_some_and(|(closing, _)| closing.is_replaced);
            let counts = || closing::counts(text.trim()).map(Said::Counts);
            return counts()
                .or_else(|| counted_id(text).map(Said::Tabled))
                .filter(|_| is_counted);
        }
        if let Some(closing) = closing::ran(text).filter(|_| last.is_some_and(|session| !session.has_header)) {
            return Some(if self.dashes == UNITTEST {
                Said::Foreign
            } else {
                Said::Closing(closing, true)
            });
        }
        if self.nest.region() == Region::Closed
            && last
                .and_then(|session| session.closing)
                .is_some_and(|(closing, _)| closing.is_replaced)
            && let Some(counts) = closing::told(text)
        {
            return Some(Said::Counts(counts));
        }
        if let Some(id) = boxed_id(text) {
            return Some(Said::Title(id, false));
        }
        if let Some(id) = tabled_id(text) {
            return Some(Said::Tabled(id));
        }
        if let Some(closing) = closing::rich(text) {
            return Some(Said::Closing(closing, true));
        }
        if let Some(closing) = closing::results(text) {
            let prints = |session: &Session| session.has_results || !session.has_header;
            let may_close = last.is_none_or(|session| prints(session) && session.closing.is_none());
            return may_close.then_some(Said::Closing(closing, true));
        }
        // Anything longer is not a list of seven counts.
        if text.len() > 200
            || !text.ends_with(['s', ')'])
            || !text.starts_with(|char: char| char.is_ascii_digit() || char == 'n')
        {
            return None;
        }
        let may_close = last.is_none_or(|session| !session.has_header && self.part != Part::Captured);
        closing::closing(text)
            .filter(|_| may_close)
            .map(|closing| Said::Closing(closing, true))
    }
}

/// The id in a title that a reporter prints in unittest's manner, or in a frame.
fn boxed_id(text: &str) -> Option<&str> {
    let title = match text.strip_prefix("ERROR: ").or_else(|| text.strip_prefix("FAIL: ")) {
        Some(title) => title.trim_end(),
        None => text
            .strip_prefix('╭')?
            .trim_matches(|char: char| matches!(char, '─' | '╮' | ' ')),
    };
    (nodeid::starts(title) && nodeid::length(title) == title.len()).then_some(title)
}

/// The test in a row of pytest-pretty's table: file, function, its line, the error's line, the error. A name that the
/// table cuts or wraps is none.
fn tabled_id(text: &str) -> Option<String> {
    let mut cells = text.trim().strip_prefix('│')?.split('│').map(str::trim);
    let (file, function, line) = (cells.next()?, cells.next()?, cells.next()?);
    let is_whole = nodeid::is_file(file) && !function.is_empty() && !function.ends_with('…') && !file.starts_with('…');
    (is_whole && line.parse::<u64>().is_ok()).then(|| nodeid::from_title(file, function))
}

/// The test in pytest-sugar's list below its counts: `- tests/a.py:6 TestX.test_y`.
fn counted_id(text: &str) -> Option<String> {
    let (place, title) = text.trim().strip_prefix("- ")?.split_once(' ')?;
    let (file, line) = place.rsplit_once(':')?;
    let is_place = nodeid::is_file(file) && line.parse::<u64>().is_ok();
    is_place.then(|| nodeid::from_title(file, title))
}
