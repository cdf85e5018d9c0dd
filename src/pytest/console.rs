//! Reads a console log in one pass and says what each pytest session in it told about itself.
//!
//! A state machine over regions: outside a region's own shapes a line means nothing, so that captured output,
//! source lines and warnings cannot be taken for pytest's words. Memory is bounded whatever the log holds.
//! What the facts amount to is `judge`'s to say.

mod before;
mod clues;
mod header;
mod marks;
mod native;
mod progress;
mod report;
mod rules;
pub mod session;
pub mod stack;
mod stacks;
mod summary;

use std::io::{self, BufRead};

use self::progress::settle_late;
use self::report::{Part, Report};
use self::session::{Mark, Region, Section, Session};
use self::stack::Stack;
use super::lines::{Line, Lines};
use super::nodeid;
use super::row::{self, Banner};

/// Sessions kept of one log.
const MAX_SESSIONS: usize = 200;
/// Sessions that may be open inside each other.
const MAX_DEPTH: usize = 16;

/// First words of the line that the runner writes into a log before it ends a session; what follows is ours.
const MARKER_PREFIX: &str = super::marker::PREFIX;

/// What a console log holds.
#[derive(Clone, Debug, Default)]
pub struct Console {
    /// Its sessions, in order.
    pub sessions: Vec<Session>,
    /// Lines before any session that say how things went.
    pub before: Vec<Mark>,
    /// Stacks printed before any session.
    pub stacks_before: Vec<Stack>,
    /// An error that kept a session from starting, such as a conftest.py that cannot be imported.
    pub error_before: Option<Section>,
    /// The marker of a session that we ended.
    pub marker: Option<(u64, String)>,
    /// Lines read.
    pub lines: u64,
    /// Whether anything but blanks was there.
    pub has_text: bool,
    /// Whether the log ends in the middle of a line.
    pub is_cut_in_line: bool,
    /// The last line with text, shortened.
    pub last: Option<(u64, String)>,
}

/// Reads a log to its end.
///
/// # Errors
/// Only the reader's own; no content is an error.
pub fn read(reader: impl BufRead) -> io::Result<Console> {
    let mut lines = Lines::new(reader);
    let mut reader = Reader::default();
    loop {
        let settled = {
            let Some(line) = lines.next_line()? else {
                break;
            };
            reader.line(line)
        };
        if settled {
            lines.settle();
        }
        if reader.console.marker.is_some() {
            break;
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    console: Console,
    /// Sessions not yet given up: a later one may be the output of a test of an earlier one.
    open: Vec<Session>,
    /// Sessions that closed inside the one below them, should that one turn out to have died before.
    inner: Vec<Session>,
    report: Report,
    part: Part,
    /// A stack being read, by its place in the current session or before any.
    stack: bool,
    /// Foreign lines seen inside a stack; other workers write between its lines.
    stack_misses: u8,
    /// Whether the summary's last line may go on on the next one.
    in_summary_entry: bool,
    /// Whether pytest-sugar prints the progress.
    is_sugar: bool,
    /// Whether an error before the session is being read.
    before_part: Part,
    /// The interpreter's traceback being read below the progress.
    traceback: Option<native::Traceback>,
}

impl Reader {
    /// Takes one line; true when it is certainly pytest's own.
    fn line(&mut self, line: Line<'_>) -> bool {
        let Line {
            number,
            text,
            is_terminated,
        } = line;
        self.console.lines = number;
        self.console.is_cut_in_line = !is_terminated;
        if !text.trim().is_empty() {
            self.console.has_text = true;
            let kept = &mut self.console.last;
            let (last, kept) = kept.get_or_insert_with(Default::default);
            *last = number;
            kept.clear();
            let end = text.len().min(400);
            kept.push_str(text.get(..end).unwrap_or(text));
        }
        if text.starts_with(MARKER_PREFIX) && self.part != Part::Captured && self.region() != Region::Quiet {
            self.console.marker = Some((number, text.trim().to_owned()));
            return false;
        }
        // Printed by a test, or by another thread, these stand behind what the line held already.
        if let Some(at) = middle(text) {
            self.progress(number, &text[..at]);
            if text[at..].starts_with('+') {
                self.timeout_banner(number);
            } else {
                self.start(number, Some(text[at..].trim_end().chars().count()));
            }
            return false;
        }
        if let Some(banner) = row::banner(text) {
            if let Some(done) = self.banner(&banner, number) {
                return done;
            }
        } else if self.is_plain_closing(text) {
            self.close(row::closing(text).unwrap_or_default(), number, true);
            self.session(number).is_plain = true;
            return true;
        }
        if self.sugar(number, text) {
            return true;
        }
        match self.region() {
            Region::Before => self.before(number, text),
            Region::Progress | Region::Closed => self.progress(number, text),
            Region::Report => {
                self.in_report(number, text);
                false
            }
            Region::Summary => {
                self.in_summary(number, text);
                false
            }
            Region::Quiet => {
                self.tail_mark(number, text);
                false
            }
        }
    }

    fn region(&self) -> Region {
        self.open.last().map_or(Region::Before, |session| session.region)
    }

    /// A closing line without rules, as `-q` prints it.
    fn is_plain_closing(&self, text: &str) -> bool {
        // Anything longer is not a list of seven counts.
        if text.len() > 200
            || !text.ends_with(['s', ')'])
            || !text.starts_with(|char: char| char.is_ascii_digit() || char == 'n')
        {
            return false;
        }
        let may_close = match self.open.last() {
            None => true,
            Some(session) => !session.has_header && self.part != Part::Captured,
        };
        may_close && row::closing(text).is_some()
    }

    /// Takes a line that is a title between rules; `None` when it is none of pytest's.
    fn banner(&mut self, banner: &Banner<'_>, number: u64) -> Option<bool> {
        match banner.fill {
            '=' => self.title(banner, number),
            '!' => self.stopped(banner, number),
            '+' if banner.title == "Timeout" => {
                if matches!(self.region(), Region::Progress | Region::Before | Region::Closed) {
                    self.timeout_banner(number);
                    return Some(false);
                }
                None
            }
            '_' if self.region() == Region::Report => {
                let session = self.open.last_mut()?;
                if !session.fits(banner.width, banner.is_tight) {
                    // Where a test's own output cannot have printed it, it is a title whatever its width.
                    if self.part == Part::Captured || banner.title.is_empty() {
                        return None;
                    }
                    session.is_uneven = true;
                }
                report::open(session, self.report, banner.title, number);
                self.part = Part::Trace;
                Some(true)
            }
            '_' if self.region() == Region::Quiet => {
                if self.open.last()?.fits(banner.width, banner.is_tight) {
                    self.part = Part::Trace;
                }
                None
            }
            '-' if report::is_captured(banner) && matches!(self.region(), Region::Report | Region::Quiet) => {
                self.part = Part::Captured;
                Some(true)
            }
            _ => None,
        }
    }

    /// Ends the reading: what is still open was cut, or never closed.
    fn finish(mut self) -> Console {
        let open = std::mem::take(&mut self.open);
        let mut inner = std::mem::take(&mut self.inner);
        let mut rest: Vec<Session> = open;
        if rest.is_empty()
            && self.console.sessions.is_empty()
            && let Some((line, text)) = &self.console.last
            && text.starts_with("====================")
        {
            // Cut inside its very first line.
            rest.push(Session::new(*line));
        }
        rest.append(&mut inner);
        rest.sort_by_key(|session| session.line);
        for mut session in rest {
            settle_late(&mut session);
            let is_unfinished = session.closing.is_none();
            if let Some(entry) = session.summary.last_mut() {
                let is_name =
                    nodeid::starts(&entry.raw) || nodeid::is_file(entry.raw.split(" - ").next().unwrap_or_default());
                entry.is_cut =
                    (self.console.is_cut_in_line && entry.line == self.console.lines) || (is_unfinished && !is_name);
            }
            self.keep(session);
        }
        self.drop_printed();
        self.console
    }

    /// Drops what the tests of a quiet session printed without capture: reports between rules, and it prints none.
    fn drop_printed(&mut self) {
        let sessions = &mut self.console.sessions;
        let is_green = sessions.last().is_some_and(|last| {
            last.is_plain
                && last
                    .closing
                    .is_some_and(|(closing, _)| closing.counts.failed + closing.counts.errors == 0 && !closing.is_empty)
        });
        if !is_green || sessions.iter().any(|session| session.has_header) {
            return;
        }
        if let Some(last) = sessions.pop() {
            sessions.retain(|session| session.is_plain);
            sessions.push(last);
        }
    }
}

/// Where a header or a timeout's banner begins on a line that holds something else before it.
fn middle(text: &str) -> Option<usize> {
    if text.len() < 20 || !text.ends_with(['=', '+']) {
        return None;
    }
    for (title, fill) in [("= test session starts =", '='), ("+ Timeout +", '+')] {
        if let Some(at) = memchr::memmem::find(text.as_bytes(), title.as_bytes()) {
            let before = text[..=at].trim_end_matches(fill);
            let is_rule = text[at + title.len()..].chars().all(|char| char == fill);
            return (!before.is_empty() && is_rule && at - before.len() > 5).then_some(before.len());
        }
    }
    None
}
