//! What one pytest session said about itself on the console: plain data, bounded in size.

use super::stack::Stack;
use crate::pytest::row::{Closing, Status};

/// Bytes kept of the text of one failure.
const MAX_TEXT: usize = 16 * 1024;
/// Entries kept in any list of a session.
pub const MAX_ENTRIES: usize = 20_000;

/// Lines of text that remember where they stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The lines, joined by newlines.
    pub body: String,
    /// Offset of each line in `body`, and its number in the file.
    starts: Vec<(usize, u64)>,
}

impl Text {
    /// Adds one line; beyond the bound lines are dropped.
    pub fn push(&mut self, number: u64, line: &str) {
        if self.body.len() + line.len() > MAX_TEXT {
            return;
        }
        if !self.starts.is_empty() {
            self.body.push('\n');
        }
        self.starts.push((self.body.len(), number));
        self.body.push_str(line);
    }

    /// Adds to the last line, for text that a terminal wrapped.
    pub fn extend(&mut self, text: &str) {
        if self.body.len() + text.len() <= MAX_TEXT {
            self.body.push_str(text);
        }
    }

    /// The line that holds an offset: its number in the file and its text.
    #[must_use]
    pub fn line_at(&self, offset: usize) -> Option<(u64, &str)> {
        let at = self
            .starts
            .partition_point(|(start, _)| *start <= offset)
            .checked_sub(1)?;
        let (start, number) = self.starts[at];
        let end = self.body[start..]
            .find('\n')
            .map_or(self.body.len(), |length| start + length);
        Some((number, &self.body[start..end]))
    }

    /// Number of the first line.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.starts.first().map(|(_, number)| *number)
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// What a section of ERRORS or FAILURES is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// A test's own failure.
    Call,
    /// An error in setup or teardown.
    Fixture,
    /// A file that could not be collected.
    Collection,
    /// pytest's own internal error, or an error before the session began.
    Internal,
}

/// A failure as ERRORS or FAILURES tells it.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is about.
    pub kind: SectionKind,
    /// The title without `ERROR at setup of`; for a collection error the file. Empty under `--tb=line`.
    pub title: String,
    /// Line of the title.
    pub line: u64,
    /// xdist worker.
    pub worker: Option<String>,
    /// File that the traceback places the test in.
    pub file: Option<String>,
    /// Whether `file` is named like a test file and not a helper.
    pub is_test_file: bool,
    /// The `E` lines, without the `E` and their common indentation.
    pub text: Text,
    /// Indentation of the block of `E` lines being read; `None` outside of one.
    pub(super) e_indent: Option<usize>,
    /// The test that a worker died of, where the section says so.
    pub crashed: Option<String>,
    /// Whether a forked child died.
    pub is_forked_crash: bool,
}

/// A line of the short summary with what was wrapped onto the next ones.
#[derive(Clone, Debug)]
pub struct Summary {
    /// `Failed` or `Error`.
    pub status: Status,
    /// Number of the line.
    pub line: u64,
    /// Everything after the word on its first line.
    pub raw: String,
    /// The lines that follow.
    pub more: Text,
    /// Whether the log ends inside of it.
    pub is_cut: bool,
}

/// One line worth keeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it says.
    pub kind: MarkKind,
    /// Number of the line.
    pub line: u64,
    /// Its text.
    pub text: String,
    /// Whether pytest went on after it.
    pub is_followed: bool,
}

/// What a line outside pytest's own text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A process died: the shell, the allocator, the loader or a runtime says so.
    Died,
    /// The session was ended from outside.
    EndedOutside,
    /// An exit code that a wrapper printed.
    Code(i32),
    /// The engine could not run the container, or there is no pytest in it.
    Engine,
    /// pytest was called wrongly.
    Usage,
    /// A worker is gone.
    WorkerLost,
    /// The controller gave up on crashed workers.
    WorkersGivenUp,
    /// A rule of `!` that says why the session stopped early.
    Stopped,
}

/// A test that the progress shows failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedProgress {
    /// Its id.
    pub id: String,
    /// `Failed` or `Error`.
    pub status: Status,
    /// Number of the line.
    pub line: u64,
    /// xdist worker.
    pub worker: Option<String>,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// Nothing of pytest's yet.
    #[default]
    Before,
    /// Header, collection and progress.
    Progress,
    /// ERRORS and FAILURES.
    Report,
    /// Sections that explain no failure: passes, warnings, durations, coverage.
    Quiet,
    /// The short summary.
    Summary,
    /// After the closing line.
    Closed,
}

/// One pytest session.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; any of them may hold together"
)]
pub struct Session {
    /// Line it begins on.
    pub line: u64,
    /// Line of the last thing that was pytest's own.
    pub last_line: u64,
    /// Whether it printed `test session starts`.
    pub has_header: bool,
    /// Width of its rules, where a header showed it.
    pub width: Option<usize>,
    /// Whether its own rules are of several widths, as in a log that somebody copied by hand: width tells nothing then.
    pub(super) is_uneven: bool,
    /// pytest's root directory.
    pub rootdir: Option<String>,
    /// pytest's version.
    pub pytest: Option<String>,
    /// Whether xdist runs it.
    pub is_xdist: bool,
    /// Whether results are shown with ids.
    pub is_verbose: bool,
    /// pytest-timeout's limit in seconds.
    pub timeout_s: Option<f64>,
    /// Whether pytest-timeout uses a thread.
    pub has_timeout_thread: bool,
    /// Number of collected tests.
    pub collected: Option<u64>,
    /// Tests that have begun and not ended; without xdist at most one.
    pub running: Vec<String>,
    /// Tests that failed, as the progress shows them.
    pub failed: Vec<FailedProgress>,
    /// Tests or letters that ended in any way.
    pub finished: u64,
    /// Letters `F` and `E`.
    pub failed_letters: u64,
    /// Those of them that no test can have printed: a percentage ends their row, or a fatal error.
    pub certain_letters: u64,
    /// Line of the first such letter.
    pub failed_letters_line: Option<u64>,
    /// Percentage reached.
    pub percent: Option<u32>,
    /// File of the last row of letters.
    pub last_file: Option<String>,
    /// Number of files that rows of letters named.
    pub n_files: usize,
    /// Whether the last row of letters is still open: no percentage ended it.
    pub is_row_open: bool,
    /// ERRORS and FAILURES.
    pub sections: Vec<Section>,
    /// The short summary.
    pub summary: Vec<Summary>,
    /// Stacks: fatal errors, watchdogs, pytest-timeout's banners.
    pub stacks: Vec<Stack>,
    /// Lines of other processes: shell, engine, runtimes, xdist.
    pub marks: Vec<Mark>,
    /// Test in which a rule of `!` places the interrupt.
    pub stop_location: Option<String>,
    /// pytest's internal error.
    pub internal: Option<Section>,
    /// A result that stood alone after a test's own output: the test may have printed the word itself, so that the
    /// last one before the next test holds.
    pub(super) late: Option<(String, Status, u64)>,
    /// Whether the lines before the first test are over.
    pub(super) is_header_over: bool,
    /// The id at the end of the last line, where a terminal of this width may have wrapped it.
    pub(super) wrapped: Option<String>,
    /// The closing line.
    pub closing: Option<(Closing, u64)>,
    /// Whether it stood without rules, as a quiet session prints it.
    pub(super) is_plain: bool,
    /// How far it came.
    pub region: Region,
}

impl Session {
    /// A session that begins on a line.
    #[must_use]
    pub fn new(line: u64) -> Session {
        Session {
            line,
            last_line: line,
            region: Region::Progress,
            ..Session::default()
        }
    }

    /// Whether a rule of this width can be this session's own.
    #[must_use]
    pub fn fits(&self, width: usize, is_tight: bool) -> bool {
        // Without a header to compare with, pytest's default of 80 is what narrower rules fall short of.
        self.is_uneven
            || self
                .width
                .map_or(width >= 70, |own| own == width || (is_tight && width >= own))
    }

    /// Whether a rule of another width may still be this session's: somebody copied the log and shortened its rules,
    /// after the tests were through. Tests print rules of their own while they run.
    #[must_use]
    pub fn may_fit(&self, width: usize, is_tight: bool) -> bool {
        self.fits(width, is_tight) || (self.region != Region::Progress || self.percent == Some(100))
    }

    /// Whether the closing line counts what the session showed. A test may print one that counts failures of its own.
    #[must_use]
    pub fn accounts_for_closing(&self) -> bool {
        self.closing.is_none_or(|(closing, _)| {
            let failed = closing.counts.failed + closing.counts.errors;
            let is_shown = !self.sections.is_empty() || !self.summary.is_empty() || !self.failed.is_empty();
            !closing.is_empty && (failed == 0 || is_shown || self.percent == Some(100))
        })
    }

    /// Notes that pytest itself went on, on this line.
    pub fn go_on(&mut self, line: u64) {
        if self.last_line == line {
            return;
        }
        self.last_line = line;
        for mark in self.marks.iter_mut().rev().take_while(|mark| !mark.is_followed) {
            mark.is_followed = true;
        }
        for stack in self.stacks.iter_mut().rev().take_while(|stack| !stack.is_followed) {
            stack.is_followed = true;
        }
    }

    /// Keeps a mark; of very many the first and the last stay.
    pub fn mark(&mut self, kind: MarkKind, line: u64, text: &str) {
        push_mark(&mut self.marks, kind, line, text);
    }
}

/// Keeps a mark in a bounded list.
pub(super) fn push_mark(marks: &mut Vec<Mark>, kind: MarkKind, line: u64, text: &str) {
    if marks.len() >= 512 {
        marks.remove(256);
    }
    let text = text.trim().chars().take(400).collect();
    marks.push(Mark {
        kind,
        line,
        text,
        is_followed: false,
    });
}
