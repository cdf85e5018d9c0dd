//! Reads a console log in one pass and says what each pytest session in it told about itself.
//!
//! A state machine over regions: outside a region's own shapes a line means nothing, so that captured output,
//! source lines and warnings cannot be taken for pytest's words. Memory is bounded whatever the log holds.
//! What the facts amount to is `judge`'s to say.

mod header;
mod marks;
mod report;
pub mod session;
pub mod stack;

use std::io::{self, BufRead};

use self::marks::Found;
use self::report::{Part, Report};
use self::session::{
    FailedProgress, MAX_ENTRIES, Mark, MarkKind, Region, Section, SectionKind, Session, Summary, Text, push_mark,
};
use self::stack::{Stack, StackKind};
use super::lines::{Line, Lines};
use super::nodeid;
use super::row::{self, Banner, Status};

/// Sessions kept of one log.
const MAX_SESSIONS: usize = 200;
/// Sessions that may be open inside each other.
const MAX_DEPTH: usize = 16;

/// First words of the line that the runner writes into a log before it ends a session; what follows is ours.
pub const MARKER_PREFIX: &str = "=== reproduce-flaky: ";

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
            kept.extend(text.trim().chars().take(200));
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

    /// Takes the lines that pytest-sugar prints instead of pytest's header and closing line.
    fn sugar(&mut self, number: u64, text: &str) -> bool {
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
                    return None;
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

    fn title(&mut self, banner: &Banner<'_>, number: u64) -> Option<bool> {
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
            if !fits && self.part == Part::Captured {
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
        if self.open.last().is_some_and(|session| {
            !session.fits(banner.width, banner.is_tight)
                && (self.part == Part::Captured || session.region == Region::Quiet)
        }) {
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
        session.region = region;
        Some(true)
    }

    /// A rule of `!`: the session stops early, and says why.
    fn stopped(&mut self, banner: &Banner<'_>, number: u64) -> Option<bool> {
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
        session.go_on(number);
        session.mark(MarkKind::Stopped, number, banner.title);
        session.region = Region::Summary;
        self.part = Part::Outside;
        self.in_summary_entry = false;
        Some(true)
    }

    /// Begins a session with its header.
    fn start(&mut self, number: u64, width: Option<usize>) {
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

    fn keep(&mut self, session: Session) {
        if self.console.sessions.len() < MAX_SESSIONS {
            self.console.sessions.push(session);
        }
    }

    /// Takes a closing line for the innermost open session.
    fn close(&mut self, closing: row::Closing, number: u64, is_certain: bool) {
        if self.region() == Region::Closed {
            if self.open.len() > 1 {
                // The session around it goes on, so what closed before was a test's output.
                self.open.pop();
                self.inner.clear();
            } else if self.open.last().is_some_and(|session| !session.has_header) {
                let closed = self.open.pop().unwrap_or_default();
                self.keep(closed);
            }
        }
        let session = self.session(number);
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
    fn session(&mut self, number: u64) -> &mut Session {
        if self.open.is_empty() {
            self.open.push(Session::new(number));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Notes a line that is certainly pytest's own; a session that seemed closed was not.
    fn own_line(&mut self, number: u64) {
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

    fn timeout_banner(&mut self, number: u64) {
        let stacks = self
            .open
            .last()
            .map_or(&self.console.stacks_before, |session| &session.stacks);
        let is_open = stacks
            .last()
            .is_some_and(|stack| stack.kind == StackKind::Timeout && stack.has_frames && !stack.is_followed);
        if is_open {
            self.stack = false;
            return;
        }
        self.push_stack(StackKind::Timeout, number, "Timeout");
    }

    fn push_stack(&mut self, kind: StackKind, number: u64, text: &str) {
        let is_late = self.region() == Region::Closed;
        let running = self
            .open
            .last()
            .filter(|session| !session.is_xdist)
            .and_then(|session| session.running.first().cloned());
        let stacks = match self.open.last_mut() {
            Some(session) => &mut session.stacks,
            None => &mut self.console.stacks_before,
        };
        if stacks.len() >= 128 {
            stacks.remove(64);
        }
        let mut stack = Stack::new(kind, number, text, is_late);
        stack.running = running;
        stacks.push(stack);
        self.stack = true;
        self.stack_misses = 0;
    }

    /// Offers a line to the stack being read; true when it belongs to it.
    fn in_stack(&mut self, text: &str) -> bool {
        if !self.stack {
            return false;
        }
        let stacks = match self.open.last_mut() {
            Some(session) => &mut session.stacks,
            None => &mut self.console.stacks_before,
        };
        let Some(stack) = stacks.last_mut() else {
            self.stack = false;
            return false;
        };
        if stack.take(text) {
            return true;
        }
        self.stack_misses += 1;
        if self.stack_misses > 40 {
            self.stack = false;
        }
        false
    }

    /// Takes a line before any session.
    fn before(&mut self, number: u64, text: &str) -> bool {
        if self.progress_row(number, text) {
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
    fn headless(&mut self, number: u64, text: &str) -> bool {
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
    fn error_before(&mut self, number: u64, text: &str) {
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

    /// Takes a line of header, collection or progress, or one after the end.
    fn progress(&mut self, number: u64, text: &str) -> bool {
        if let Some(rest) = text.strip_prefix("INTERNALERROR>") {
            self.internal(number, rest);
            return true;
        }
        let is_own = self.progress_row(number, text);
        if self.in_stack(text) && !is_own {
            return false;
        }
        let is_closed = self.region() == Region::Closed;
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
        if !is_closed && !is_own {
            let session = self.session(number);
            if session.finished == 0 && header::take(session, text) {
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

    /// Takes a line that shows a test's beginning or end; false when it does not.
    fn progress_row(&mut self, number: u64, text: &str) -> bool {
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
            let id = session.running[0].clone();
            end(session, &id, status, None, number);
            return true;
        }
        false
    }

    /// Whether a line of nothing but letters is a row of results: after a header's end, or a long one at the start.
    fn takes_bare_letters(&self, letters: &str) -> bool {
        match self.open.last() {
            None => letters.starts_with(['.', 's', 'x', 'F', 'E']) && letters.len() >= 2,
            Some(session) => !session.is_verbose && (session.is_xdist || !session.has_header || session.is_row_open),
        }
    }

    fn result(&mut self, progress: &row::Progress<'_>, number: u64) {
        let session = self.session(number);
        session.is_verbose = true;
        session.is_xdist |= progress.worker.is_some();
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
            Some(status) => end(session, id, status, progress.worker, number),
        }
    }

    fn letters(&mut self, dots: &row::Dots<'_>, number: u64) {
        let session = self.session(number);
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
        session.finished += dots.letters.len() as u64;
        session.is_row_open = dots.percent.is_none();
        if dots.percent.is_some() {
            session.percent = dots.percent;
        }
    }

    fn internal(&mut self, number: u64, rest: &str) {
        self.own_line(number);
        let session = self.session(number);
        let error = session
            .internal
            .get_or_insert_with(|| report::section(SectionKind::Internal, "", number));
        let text = rest.strip_prefix(' ').unwrap_or(rest);
        let mut part = Part::Native;
        report::take_into(error, &mut part, number, text);
    }

    fn in_report(&mut self, number: u64, text: &str) {
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
    fn tail_mark(&mut self, number: u64, text: &str) {
        if self.part == Part::Captured {
            return;
        }
        if text.starts_with("Fatal Python error: ") {
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

    fn in_summary(&mut self, number: u64, text: &str) {
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
        for session in rest {
            self.keep(session);
        }
        self.console
    }
}

/// What stands on a line of progress behind pytest's own words: who ends a session writes where its cursor was.
fn foreign(text: &str) -> &str {
    if nodeid::starts(text) {
        return text[nodeid::length(text)..].trim_start();
    }
    match row::dots(text) {
        Some(dots) if dots.file.is_some() && !dots.rest.is_empty() => dots.rest,
        Some(_) | None => text,
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

/// Text of a fatal block's head, without what stood on the line before it.
fn fatal_text(text: &str) -> &str {
    let at = text
        .find("Fatal Python error: ")
        .or_else(|| text.find("Windows fatal exception: "))
        .unwrap_or(0);
    &text[at..]
}

/// Notes the end of a test, or of one phase of it.
fn end(session: &mut Session, id: &str, status: Status, worker: Option<&str>, number: u64) {
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
