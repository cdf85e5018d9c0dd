//! What a line is where it stands: pytest's own words, or text that the region gives its meaning.

use super::Reader;
use super::phrases;
use super::section::{Part, is_exception};
use super::session::{Region, Session};
use super::tap;
use crate::judge::Counts;
use crate::judge::pytest::closing::{self, Closing};
use crate::judge::pytest::nodeid;
use crate::judge::pytest::shape::{self, Letters, Progress, Rule, Status};

/// What a line is.
pub(super) enum Said<'a> {
    /// A header, as wide as its session's rules.
    Start(Option<usize>),
    /// A closing line, and whether it stands without rules.
    Closing(Closing, bool),
    /// A count below a closing line that a plugin prints instead of pytest's.
    Counts(Counts),
    /// The title of a region, whether it holds errors and not failures, and whether its width is not the session's.
    Enter(Region, bool, bool),
    /// A rule of `!`: why the session stopped early.
    Stopped(&'a str),
    /// pytest-timeout's banner.
    TimeoutBanner,
    /// The title of a failure's section, and whether its width is not the session's.
    Title(&'a str, bool),
    /// The title of what a test printed.
    Captured,
    /// A line of pytest's internal error.
    Internal(&'a str),
    /// A test that begins or ends.
    Result(Progress<'a>),
    /// A row of one letter a test.
    Letters(Letters<'a>),
    /// A result behind a test's own output.
    Late(Status),
    /// A plan of the Test Anything Protocol.
    Plan(u64),
    /// A result in its words.
    Planned(String, Status),
    /// xdist's line about its workers, before any header.
    Workers,
    /// A line of the short summary that names a failing test.
    Entry(&'a str),
    /// A test in pytest-pretty's table of failures.
    Tabled(String),
    /// The end of another program's run, whose letters looked like a session's.
    Foreign,
    /// Anything else.
    Text,
}

/// Titles between rules of `=`, and the regions they open.
const TITLES: &[(&str, Region)] = &[
    ("ERRORS", Region::Report),
    ("FAILURES", Region::Report),
    ("SUBTESTS", Region::Report),
    ("short test summary info", Region::Summary),
    ("PASSES", Region::Quiet),
    ("XFAILURES", Region::Quiet),
    ("XPASSES", Region::Quiet),
    ("RERUNS", Region::Quiet),
    ("rerun test summary info", Region::Quiet),
    ("warnings summary", Region::Quiet),
    ("warnings summary (final)", Region::Quiet),
    ("Flaky Test Report", Region::Quiet),
    ("tests coverage", Region::Quiet),
];
/// First words of further titles that explain no failure.
const QUIET: [&str; 2] = ["slowest ", "coverage: "];

/// How rules of `!` begin, or what stands in them.
const STOPS: [&str; 5] = [
    "Interrupted: ",
    "stopping after ",
    "session-timeout: ",
    "KeyboardInterrupt",
    "Exit: ",
];

/// First words of other lines of the short summary.
const FINE: [&str; 7] = [
    "PASSED ", "SKIPPED ", "XFAIL ", "XPASS ", "RERUN ", "SUBPASS", "SUBSKIP",
];

impl Reader {
    /// Whether the reader stands in what a test printed, or a report quotes.
    pub(super) fn is_in_output(&self) -> bool {
        self.part == Part::Captured || self.nest.region() == Region::Quiet
    }

    pub(super) fn read<'a>(&self, text: &'a str) -> Said<'a> {
        let region = self.nest.region();
        let is_first = self.console.lines == 1;
        if let Some(said) = tap::read(self.nest.last(), is_first, text) {
            return said;
        }
        let rule = shape::rule(text);
        if let Some(said) = rule.as_ref().and_then(|rule| self.read_rule(rule)) {
            return said;
        }
        if rule.is_none()
            && let Some(said) = self.read_closing(text)
        {
            return said;
        }
        match region {
            Region::Quiet => Said::Text,
            Region::Summary => match shape::summary(text) {
                Some(entry) => Said::Entry(entry),
                None => Said::Text,
            },
            Region::Report => self.read_in_report(text),
            Region::Before | Region::Progress | Region::Closed => self.read_row(text),
        }
    }

    /// Reads a title between rules; `None` for one that is none of this session's.
    fn read_rule<'a>(&self, rule: &Rule<'a>) -> Option<Said<'a>> {
        let region = self.nest.region();
        let last = self.nest.last();
        let fits = last.is_none_or(|session| session.fits(rule.width, rule.is_tight));
        let title = rule.title;
        match rule.fill {
            '=' => self.read_title(rule, fits),
            '!' => {
                let is_printed = self.part == Part::Captured && last.is_some_and(|session| session.width.is_none());
                let is_known = STOPS.iter().any(|words| title.contains(words));
                (is_known && fits && !is_printed).then_some(Said::Stopped(title))
            }
            '+' if title == "Timeout" && matches!(region, Region::Before | Region::Progress | Region::Closed) => {
                Some(Said::TimeoutBanner)
            }
            '-' if title.starts_with("Captured ") && matches!(region, Region::Report | Region::Quiet) => {
                Some(Said::Captured)
            }
            '_' | '―' if !title.contains(char::is_alphanumeric) => None,
            '_' | '―' => match region {
                // Where a test's own output cannot have printed it, it is a title whatever its width.
                Region::Report if self.is_instant => self.is_instant_title(rule).then_some(Said::Title(title, false)),
                Region::Report => (fits || self.part != Part::Captured).then_some(Said::Title(title, !fits)),
                Region::Quiet => fits.then_some(Said::Title(title, false)),
                Region::Before => (rule.width >= 40).then_some(Said::Title(title, false)),
                Region::Progress => self.is_instant_title(rule).then_some(Said::Title(title, false)),
                Region::Summary | Region::Closed => None,
            },
            _ => None,
        }
    }

    /// Whether a title opens the section of a test that has just failed, as some reporters print it.
    fn is_instant_title(&self, rule: &Rule<'_>) -> bool {
        let Some(session) = self.nest.last() else { return false };
        let is_exact = session.width.is_none_or(|own| own == rule.width) && rule.width >= 40;
        // pytest-progress counts between rules.
        let is_sugars = rule.fill == '―';
        is_exact && (is_sugars || session.has_shown_failure()) && !rule.title.contains(" completed, ")
    }

    fn read_title<'a>(&self, rule: &Rule<'a>, fits: bool) -> Option<Said<'a>> {
        let title = rule.title;
        let last = self.nest.last();
        if title == "test session starts" {
            return Some(Said::Start(Some(rule.width)));
        }
        let may_fit = last.is_none_or(|session| session.may_fit(rule.width, rule.is_tight));
        if let Some(closing) = closing::closing(title) {
            // Captured output may hold another session's closing line; only one as wide as our own rules ends ours.
            let fits = match last.map(|session| session.region) {
                Some(Region::Closed) if self.nest.depth() > 1 => self.nest.outer_fits(rule.width, rule.is_tight),
                _ => fits,
            };
            let is_closed = last.is_some_and(|session| session.closing.is_some());
            let is_ours = may_fit && (fits || (self.part != Part::Captured && !is_closed));
            return is_ours.then_some(Said::Closing(closing, false));
        }
        let known = TITLES
            .iter()
            .find(|(known, _)| *known == title)
            .map(|(_, region)| *region);
        let quiet = || {
            QUIET
                .iter()
                .any(|start| title.starts_with(start))
                .then_some(Region::Quiet)
        };
        // A plugin's own section: it explains no failure of a test.
        let is_plugins = |session: &Session| {
            let is_after = matches!(session.region, Region::Report | Region::Summary | Region::Quiet);
            is_after && session.width == Some(rule.width) && self.part != Part::Captured
        };
        let plugins = || last.is_some_and(is_plugins).then_some(Region::Quiet);
        let region = known.or_else(quiet).or_else(plugins)?;
        let is_in_output = last.is_some() && self.is_in_output();
        let is_ours = may_fit && (fits || !is_in_output);
        let is_uneven = if last.is_some() { !fits } else { rule.width < 70 };
        is_ours.then_some(Said::Enter(region, title == "ERRORS", is_uneven))
    }

    fn read_in_report<'a>(&self, text: &'a str) -> Said<'a> {
        if self.part != Part::Captured
            && let Some(rest) = text.strip_prefix("INTERNALERROR>")
        {
            return Said::Internal(rest);
        }
        // A rule that a test printed looked like pytest's; the progress goes on, so it was not.
        let has_none = self.nest.last().is_none_or(|session| session.sections.is_empty());
        let is_piece = self.nest.last().is_some_and(|session| !session.has_header) && self.part != Part::Captured;
        if let Some(entry) = shape::summary(text).filter(|_| is_piece)
            && (nodeid::starts(entry) || is_collection_error(entry))
        {
            return Said::Entry(entry);
        }
        let may_go_on = self.part == Part::Outside && has_none;
        match shape::letters(text) {
            Some(row) if may_go_on && row.percent.is_some() => Said::Letters(row),
            Some(row) if self.is_instant && row.file.is_some() && row.rest.is_empty() => Said::Letters(row),
            // Three dots stand for what a traceback leaves out.
            Some(row) if self.is_instant && row.rest.is_empty() && row.letters.len() > 3 && text == row.letters => {
                Said::Letters(row)
            }
            Some(row) if self.is_instant && row.percent.is_some() && !text.starts_with('E') => Said::Letters(row),
            _ => match shape::progress(text).filter(|_| self.is_instant) {
                Some(result) if result.status.is_some() || (result.rest.is_empty() && self.part != Part::Captured) => {
                    Said::Result(result)
                }
                _ => Said::Text,
            },
        }
    }

    /// Reads a line of the progress.
    fn read_row<'a>(&self, text: &'a str) -> Said<'a> {
        let region = self.nest.region();
        if let Some(rest) = text.strip_prefix("INTERNALERROR>") {
            return Said::Internal(rest);
        }
        let has_id = memchr::memmem::find(text.as_bytes(), b"::").is_some();
        if let Some(result) = has_id.then(|| shape::progress(text)).flatten() {
            // After the end a wrapper may name tests in words of its own; only a result with pytest's tail counts.
            let may_begin = match region {
                // A log that lost its head may begin with the test that its session died in.
                Region::Before => result.rest.is_empty() || phrases::find(result.rest).is_some(),
                Region::Closed => result.rest.is_empty() && self.nest.depth() > 1,
                _ => true,
            };
            return if result.status.is_some() || may_begin {
                Said::Result(result)
            } else {
                Said::Text
            };
        }
        if let Some(row) = shape::letters(text) {
            let is_certain = row.percent.is_some();
            let may_be = region != Region::Closed && (row.file.is_some() || self.takes_bare_letters(row.letters));
            return if is_certain || may_be {
                Said::Letters(row)
            } else {
                Said::Text
            };
        }
        if region == Region::Before {
            if super::header::is_workers(text) {
                // A quiet session of workers begins without a header.
                return Said::Workers;
            }
            return match shape::summary(text).filter(|entry| nodeid::starts(entry) || is_collection_error(entry)) {
                Some(entry) => Said::Entry(entry),
                None => Said::Text,
            };
        }
        let is_running = |session: &Session| !session.running.is_empty() && !session.is_xdist;
        let may_be_late = region == Region::Progress && self.nest.last().is_some_and(is_running);
        match shape::late_status(text).filter(|_| may_be_late) {
            Some(status) => Said::Late(status),
            None => Said::Text,
        }
    }

    /// Whether a line of nothing but letters is a row of results: after a header's end, or a long one at the start.
    fn takes_bare_letters(&self, letters: &str) -> bool {
        match self.nest.last() {
            None => letters.starts_with(['.', 's', 'x', 'F', 'E']) && letters.len() >= 2,
            Some(session) => !session.is_verbose && (session.is_xdist || !session.has_header || session.is_row_open),
        }
    }
}

/// Whether what follows `ERROR` is a file that could not be collected, alone or with its exception.
fn is_collection_error(entry: &str) -> bool {
    let (file, reason) = entry.split_once(" - ").unwrap_or((entry, ""));
    let is_told = reason.is_empty() || (is_exception(reason) && reason.contains("Error"));
    nodeid::is_file(file.trim_end()) && is_told
}

/// Whether a line of the short summary says that a test did not fail.
pub(super) fn is_fine(text: &str) -> bool {
    FINE.iter().any(|word| text.starts_with(word))
}

/// What a line says together with the next one: a lost worker's test, whose id somebody may have broken too, or the
/// status that somebody asks the shell for.
pub(super) fn continued(text: &str) -> Option<&str> {
    const ASKED: [&str; 4] = ["echo $?", "echo $status", "$LASTEXITCODE", "echo %ERRORLEVEL%"];
    let crash = text.trim_start().strip_prefix("worker ").filter(|_| text.len() < 400);
    if let Some((_, id)) = crash.and_then(|crash| crash.split_once("crashed while running"))
        && (id.is_empty() || (id.starts_with(" '") && id.matches('\'').count() == 1 && !id.ends_with("...")))
    {
        return Some(text);
    }
    ASKED
        .iter()
        .any(|command| text.trim_end().ends_with(command))
        .then_some("exit code:")
}

/// A test as pytest 2 showed it, `tests/a.py:12: test_x PASSED`, in today's form.
pub(super) fn modern(text: &str) -> Option<String> {
    let (file, rest) = text.split_once(".py:")?;
    let (line, rest) = rest.split_once(": ")?;
    let name = rest.split([' ', '[']).next().unwrap_or(rest);
    let is_test = name.rsplit('.').next().is_some_and(|name| name.starts_with("test_"));
    let is_line = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    (is_test && is_line && !file.contains(char::is_whitespace))
        .then(|| format!("{file}.py::{}{}", name.replace('.', "::"), &rest[name.len()..]))
}

/// Where a header or a timeout's banner begins on a line that holds something else before it.
pub(super) fn middle(text: &str) -> Option<usize> {
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

/// Whether a line of a traceback is pytest's own entry: what a test catches and prints does not reach that far up.
pub(super) fn is_pytests_entry(text: &str) -> bool {
    let is_main = || {
        ["console_main", "in pytest_cmdline_main", "in wrap_session"]
            .iter()
            .any(|end| text.ends_with(end))
    };
    let is_program = || {
        text.ends_with("in <module>")
            && ["/pytest/__main__.py\"", "/bin/pytest\"", "\\pytest.exe"]
                .iter()
                .any(|end| text.contains(end))
    };
    text.starts_with("  File \"") && (text.contains("_pytest") && is_main() || is_program())
}

/// A fatal block's head, without what stood on the line before it.
pub(super) fn fatal(text: &str) -> &str {
    let heads = [
        "Fatal Python error:",
        "Windows fatal exception: ",
        "Fatal RPython error:",
    ];
    let at = heads.iter().find_map(|head| text.find(head));
    &text[at.unwrap_or(0)..]
}

/// xdist's words for a lost worker, without letters of progress and a replaced worker's state before them.
pub(super) fn worker(text: &str) -> &str {
    let lost = text.find("node down").and_then(|at| text[..at].rfind("[gw"));
    let given_up = || text.find("aximum crashed").map(|at| at.saturating_sub(1));
    let at = lost.or_else(given_up).unwrap_or(0);
    text.get(at..).unwrap_or(text)
}
