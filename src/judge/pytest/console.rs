//! Reads a console log in one pass and says what each pytest session in it told about itself.
//!
//! A state machine: what a line means depends on the region of the session that it stands in. Outside a region's own
//! shapes a line means nothing, so that captured output, source lines and warnings cannot be taken for pytest's words.
//! Memory is bounded whatever the log holds. What the facts amount to is `judge`'s to say.

mod header;
mod nest;
mod others;
pub mod phrases;
mod reporters;
mod reports;
mod running;
mod said;
pub mod section;
pub mod session;
pub mod stack;
mod tap;

use std::io::{self, BufRead};

use self::nest::Nest;
use self::phrases::Says;
use self::said::Said;
use self::section::{Part, Section, worker_crash};
use self::session::{Region, Session};
use super::closing::Closing;
use super::lines::{Line, Lines};
use super::marker::{self, Marker};
use super::nodeid;
use super::shape::{self, Letters, Progress};
use crate::judge::{EndedBy, Exit};

/// What a console log holds.
#[derive(Clone, Debug, Default)]
pub struct Console {
    /// Its sessions, in order.
    pub sessions: Vec<Session>,
    /// What stands before any session: lines of other programs, stacks, an error that kept a session from starting.
    pub before: Session,
    /// The marker of a session that we ended: its line, and why we did.
    pub marker: Option<(u64, Option<EndedBy>)>,
    /// The total deadline that passed, in seconds, as the marker says.
    pub deadline_s: Option<f64>,
    /// Lines read.
    pub lines: u64,
    /// Whether the log ends in the middle of a line.
    pub is_cut_in_line: bool,
    /// The last line with text, shortened.
    pub last: Option<(u64, String)>,
}

/// Reads a log to its end, or to our own marker, which the exit facts tell from one that a session printed.
///
/// # Errors
/// Only the reader's own; no content is an error.
pub fn read(reader: impl BufRead, exit: Option<&Exit>) -> io::Result<Console> {
    let mut lines = Lines::new(reader);
    let mut reader = Reader::default();
    while let Some(line) = lines.next_line()? {
        if let Some(marker) = Marker::read(line.text).filter(|marker| marker.is_ours(exit))
            && (exit.is_some() || !reader.is_in_output())
        {
            reader.console.marker = Some((line.number, marker.by));
            reader.console.deadline_s = marker::total(line.text);
            break;
        }
        if reader.line(line) {
            lines.settle();
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    console: Console,
    nest: Nest,
    part: Part,
    /// Whether the report is ERRORS and not FAILURES.
    is_errors: bool,
    /// Whether a section stands between two rows of the progress, as some reporters print it.
    is_instant: bool,
    /// While a stack is read: the foreign lines in it so far.
    stack: Option<u8>,
    /// Whether the summary's last line may go on on the next one.
    in_entry: bool,
    /// Bytes kept of the texts of failures.
    kept: usize,
    /// The test that the source above a failure without a title defines.
    defined: Option<String>,
    /// What the next line goes on with, because somebody wrapped it or asked for it.
    held: Option<String>,
    /// Width of the last rule of nothing but `-`.
    dashes: usize,
    /// The interpreter's traceback being read between a session's own lines, and whether it is pytest's own.
    traceback: Option<(Section, bool)>,
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
            let (last, kept) = self.console.last.get_or_insert_default();
            *last = number;
            kept.clear();
            kept.push_str(text.get(..400).unwrap_or(text));
        }
        if text.len() > 20 && text.bytes().all(|byte| byte == b'-') {
            self.dashes = text.len();
        }
        // A header or a banner may stand behind what the line held already.
        if let Some(at) = said::middle(text) {
            self.text(number, &text[..at]);
            self.text(number, &text[at..]);
            return false;
        }
        let joined = match self.held.take() {
            // Inside of an id nothing stands between the two parts.
            Some(start) if start.contains('\'') && start.contains("::") => Some(start + text.trim_start()),
            Some(start) => Some(format!("{start} {}", text.trim_start())),
            None => self.unwrapped(text).or_else(|| said::modern(text)),
        };
        let text = joined.as_deref().unwrap_or(text);
        if let Some(start) = said::continued(text) {
            self.held = Some(start.to_owned());
            return false;
        }
        self.text(number, text)
    }

    /// Takes what a line says, by the region that it stands in.
    fn text(&mut self, number: u64, text: &str) -> bool {
        use Region::{Before, Closed, Progress, Quiet, Report, Summary};
        match (self.nest.region(), self.read(text)) {
            (_, Said::Start(width)) => self.start(number, width),
            (_, Said::Closing(closing, is_plain)) => self.close(closing, number, is_plain),
            (_, Said::Counts(counts)) => {
                if let Some((closing, _)) = &mut self.nest.here().closing {
                    closing.counts += counts;
                }
            }
            (_, Said::Enter(region, is_errors, is_uneven)) => self.enter(number, region, is_errors, is_uneven),
            (_, Said::Stopped(why)) => {
                self.enter(number, Summary, false, false);
                self.nest.here().stops.push((number, why.to_owned()));
            }
            (_, Said::TimeoutBanner) => {
                self.timeout_banner(number);
                return false;
            }
            (_, Said::Title(title, is_uneven)) => self.title(number, title, is_uneven),
            (_, Said::Captured) => self.part = Part::Captured,
            (_, Said::Foreign) => {
                self.nest.forget();
                self.nest.here().mark(Says::Other, number, text);
            }
            (_, Said::Internal(text)) => self.internal(number, text),
            (_, Said::Result(result)) => {
                self.end_instant();
                self.result(&result, number);
                self.others(number, &[result.before, result.rest]);
                self.own_traceback(number, text);
            }
            (_, Said::Letters(row)) => {
                self.end_instant();
                self.letters(&row, number);
                self.others(number, &[row.rest]);
                self.own_traceback(number, text);
            }
            (_, Said::Late(status)) => {
                let session = self.nest.go_on(number);
                session.late = session.running.first().map(|id| (id.clone(), status, number));
                session.percent = shape::percent_at_end(text).or(session.percent);
                self.others(number, &[text]);
            }
            (_, Said::Plan(plan)) => self.nest.session(number).plan = Some(plan),
            (_, Said::Planned(id, status)) => {
                self.leave();
                let session = self.nest.go_on(number);
                session.region = Progress;
                session.end(&id, status, None, number, true);
                if !status.is_fine() {
                    self.title(number, &id, false);
                }
            }
            (_, Said::Workers) => self.nest.session(number).is_xdist = true,
            (_, Said::Entry(raw)) => self.entry(number, raw),
            (_, Said::Tabled(id)) => self.entry(number, &id),
            (Before, Said::Text) => {
                self.before(number, text);
                return false;
            }
            (Progress, Said::Text) => return self.progress(number, text),
            (Report, Said::Text) => {
                self.other(number, text);
                // The protocol's own sign for a comment stands before each line.
                let is_planned = self.nest.last().is_some_and(|session| session.plan.is_some());
                let comment = text.strip_prefix("# ").filter(|_| is_planned);
                self.section(number, comment.unwrap_or(text));
                return false;
            }
            (Summary, Said::Text) if said::is_fine(text) => {
                self.reran(text);
                self.in_entry = false;
                return false;
            }
            (Summary, Said::Text) => {
                if self.in_entry
                    && self.has_room(text)
                    && let Some(entry) = self.nest.here().summary.last_mut()
                {
                    entry.more.push(number, text);
                }
                self.other(number, text);
                return false;
            }
            (Closed, Said::Text) => {
                if !self.in_stack(text) {
                    self.others(number, &[text]);
                }
                return false;
            }
            (Quiet, Said::Text) => {
                self.reran(text);
                self.last_words(number, text);
                self.other(number, text);
                return false;
            }
        }
        true
    }

    fn start(&mut self, number: u64, width: Option<usize>) {
        self.leave();
        self.nest.start(number, width);
    }

    fn close(&mut self, closing: Closing, number: u64, is_plain: bool) {
        self.leave();
        self.nest.close(closing, number).is_plain = is_plain;
    }

    /// Enters a region of the innermost session.
    fn enter(&mut self, number: u64, region: Region, is_errors: bool, is_uneven: bool) {
        self.leave();
        self.is_errors = is_errors;
        let session = self.nest.go_on(number);
        session.settle_late();
        session.is_uneven |= is_uneven;
        session.region = region;
    }

    /// The progress goes on after a section that stood between its rows.
    fn end_instant(&mut self) {
        if self.nest.region() == Region::Report {
            self.leave();
        }
    }

    /// Forgets where inside a region the reader stood.
    fn leave(&mut self) {
        self.part = Part::Outside;
        self.is_instant = false;
        self.stack = None;
        self.in_entry = false;
    }

    /// Takes a line that shows a test's beginning or end.
    fn result(&mut self, progress: &Progress<'_>, number: u64) {
        let session = self.nest.go_on(number);
        session.region = Region::Progress;
        session.is_header_over = true;
        session.settle_late();
        session.is_verbose = true;
        session.is_xdist |= progress.worker.is_some();
        session.percent = progress.percent.or(session.percent);
        let id = &*nodeid::slashed(progress.id);
        match progress.status {
            // Without capture no percentage follows a result, and the word may be the test's own.
            Some(status) if progress.worker.is_some() || progress.rest.contains('%') => {
                session.end(id, status, progress.worker, number, true);
            }
            status => {
                if status.is_none() && id.contains('[') && !id.ends_with(']') && progress.rest.is_empty() {
                    session.wrapped = Some(id.to_owned());
                }
                if !session.is_xdist {
                    session.running.clear();
                }
                session.running.begin(id);
                session.late = status.map(|status| (id.to_owned(), status, number));
            }
        }
    }

    /// Takes a row of letters.
    fn letters(&mut self, row: &Letters<'_>, number: u64) {
        let session = self.nest.go_on(number);
        session.region = Region::Progress;
        session.is_header_over = true;
        if let Some(file) = row.file {
            session.n_files += usize::from(session.last_file.as_deref() != Some(file));
            session.last_file = Some(nodeid::slashed(file).into_owned());
        }
        let failed = row.failed();
        if failed > 0 {
            session.failed_letters_line.get_or_insert(number);
        }
        session.failed_letters += failed;
        if row.percent.is_some() || row.rest.contains("atal Python error:") {
            session.certain_letters += failed;
        }
        session.finished += row.letters.chars().count() as u64;
        session.shown += row.counts();
        session.is_row_open = row.percent.is_none();
        session.percent = row.percent.or(session.percent);
    }

    /// Takes a line of header or collection, or what other processes write between the rows of the progress.
    fn progress(&mut self, number: u64, text: &str) -> bool {
        if self.in_stack(text) {
            return false;
        }
        if worker_crash(text).is_some() && self.nest.last().is_some_and(|session| !session.has_header) {
            self.title(number, "", false);
            self.section(number, text);
            return false;
        }
        self.others(number, &[header::foreign(text)]);
        self.last_words(number, text);
        self.own_traceback(number, text);
        let session = self.nest.session(number);
        !session.is_header_over && header::take(session, text)
    }

    /// The line joined to the one before it, where a terminal wrapped an id inside of its parameter.
    fn unwrapped(&mut self, text: &str) -> Option<String> {
        let session = self.nest.last_mut()?;
        let start = session.wrapped.take()?;
        let joined = format!("{start}{}", text.trim_end());
        let whole = shape::progress(&joined)?;
        if whole.id.len() <= start.len() || !whole.id.ends_with(']') {
            return None;
        }
        session.running.end(&start);
        Some(joined)
    }

    /// Ends the reading: what is still open was cut, or never closed.
    fn finish(mut self) -> Console {
        if let Some(start) = self.held.take() {
            self.text(self.console.lines, &start);
        }
        let console = &mut self.console;
        if self.nest.depth() == 0
            && self.nest.done.is_empty()
            && let Some((line, text)) = &console.last
            && text.starts_with("====================")
        {
            // Cut inside its very first line.
            self.nest.session(*line);
        }
        let (is_cut, lines) = (console.is_cut_in_line, console.lines);
        self.nest.finish(|session| {
            if session.plan.is_some_and(|plan| plan == session.shown.sum()) && session.closing.is_none() {
                let counts = session.shown;
                session.closing = Some((
                    Closing {
                        counts,
                        ..Closing::default()
                    },
                    lines,
                ));
            }
            let is_unfinished = session.closing.is_none();
            if let Some(entry) = session.summary.last_mut() {
                let is_name = nodeid::may_start(&entry.raw) || nodeid::is_file(entry.name());
                entry.is_cut = (is_cut && entry.line == lines) || (is_unfinished && !is_name);
            }
        });
        console.sessions = std::mem::take(&mut self.nest.done);
        console.before = self.nest.before;
        self.console
    }
}
