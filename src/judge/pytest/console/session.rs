//! What one pytest session said about itself on the console: plain data, bounded in size.

use std::collections::HashMap;

use super::phrases::Says;
pub use super::running::Running;
use super::section::Section;
use super::stack::Stack;
use crate::judge::Counts;
use crate::judge::pytest::closing::Closing;
use crate::judge::pytest::shape::Status;

/// Bytes kept of the text of one failure.
const MAX_TEXT: usize = 16 * 1024;
/// Entries kept in any list of a session.
pub const MAX_ENTRIES: usize = 20_000;
/// Lines of other programs kept of a session: the first and the last.
const MAX_MARKS: usize = 128;
/// Stacks kept of a session: the first and the last.
const MAX_STACKS: usize = 64;

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

    /// The line that holds an offset: its number in the file and its text.
    pub fn line_at(&self, offset: usize) -> Option<(u64, &str)> {
        let after = self.starts.partition_point(|(start, _)| *start <= offset);
        let (start, number) = self.starts[after.checked_sub(1)?];
        let rest = &self.body[start..];
        Some((number, rest.split('\n').next().unwrap_or(rest)))
    }

    /// Number of the first line; 0 where there is none.
    pub fn first(&self) -> u64 {
        self.starts.first().map_or(0, |(_, number)| *number)
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// A line of the short summary with what was wrapped onto the next ones.
#[derive(Clone, Debug)]
pub struct Summary {
    pub line: u64,
    /// Everything after the word on its first line.
    pub raw: String,
    /// The lines that follow.
    pub more: Text,
    /// Whether the log ends inside of it.
    pub is_cut: bool,
}

impl Summary {
    /// What stands before the reason.
    pub fn name(&self) -> &str {
        self.raw.split(" - ").next().unwrap_or_default()
    }
}

/// A line of another program, or of a plugin, that says how things went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub says: Says,
    pub line: u64,
    pub text: String,
    /// Whether pytest went on after it.
    pub is_followed: bool,
    /// The test that xdist reported right after it lost a worker, which ran there.
    pub test: Option<String>,
}

impl Mark {
    /// The worker that xdist says it lost.
    fn lost(&self) -> Option<&str> {
        self.text.split_once(']')?.0.rsplit('[').next()
    }
}

/// A test that the progress shows failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub id: String,
    pub line: u64,
    /// xdist worker.
    pub worker: Option<String>,
    /// Whether no test can have printed it: pytest's percentage or worker stands with it.
    pub is_certain: bool,
    /// Whether it was shown to pass after that.
    pub is_retried: bool,
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

/// One pytest session, or what stands before any.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; any of them may hold together"
)]
pub struct Session {
    /// Line it begins on.
    pub line: u64,
    /// Line of the last thing that was pytest's own.
    pub(super) last_line: u64,
    /// Whether it printed `test session starts`.
    pub has_header: bool,
    /// Width of its rules, where a header showed it.
    pub width: Option<usize>,
    /// Whether its own rules are of several widths, as in a log that somebody copied by hand: width tells nothing then.
    pub(super) is_uneven: bool,
    pub rootdir: Option<String>,
    /// Whether a plugin is there that may print counts of its own instead of the closing line.
    pub(super) has_results: bool,
    /// Whether xdist runs it.
    pub is_xdist: bool,
    /// Whether results are shown with ids.
    pub is_verbose: bool,
    /// pytest-timeout's limit in seconds.
    pub timeout_s: Option<f64>,
    /// Whether pytest-timeout uses a thread.
    pub has_timeout_thread: bool,
    /// Tests that a plan of the Test Anything Protocol announced.
    pub(super) plan: Option<u64>,
    /// Number of collected tests.
    pub collected: Option<u64>,
    /// Tests that have begun and not ended; without xdist at most one.
    pub running: Running,
    /// Tests that failed, as the progress shows them.
    pub failed: Vec<Failed>,
    /// Places in `failed` of those that may still pass.
    pub(super) failed_at: HashMap<String, usize>,
    /// Tests or letters that ended in any way.
    pub finished: u64,
    /// Tests and letters by how they ended.
    pub(super) shown: Counts,
    /// Tests that were shown to be run again.
    pub reran: Vec<String>,
    /// Letters of tests that failed, and files that could not be collected, as the header counts them.
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
    /// The last line of a plugin or another program before the closing line.
    pub last_words: Option<(u64, String)>,
    /// Rules of `!`: why the session stopped early.
    pub stops: Vec<(u64, String)>,
    /// pytest's internal error, or one that kept a session from starting.
    pub internal: Option<Section>,
    /// pytest-timeout's message that stands before a session whose head is lost.
    pub(super) limit: Option<Section>,
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
    pub(super) fn new(line: u64) -> Session {
        Session {
            line,
            last_line: line,
            region: Region::Progress,
            ..Session::default()
        }
    }

    /// Whether a rule of this width can be this session's own.
    pub(super) fn fits(&self, width: usize, is_tight: bool) -> bool {
        // Without a header to compare with, pytest's default of 80 is what narrower rules fall short of.
        self.is_uneven
            || self
                .width
                .map_or(width >= 70, |own| own == width || (is_tight && width >= own))
    }

    /// Whether a rule of another width may still be this session's: somebody copied the log and shortened its rules,
    /// after the tests were through. Tests print rules of their own while they run.
    pub(super) fn may_fit(&self, width: usize, is_tight: bool) -> bool {
        self.fits(width, is_tight) || self.region != Region::Progress || self.percent == Some(100)
    }

    /// Whether the closing line counts no failure. Some plugins leave errors out of their own counts.
    pub fn is_green(&self) -> bool {
        self.closing.is_some_and(|(closing, _)| {
            let is_told = closing.is_replaced && !self.sections.is_empty();
            closing.counts.failed + closing.counts.errors == 0 && !is_told
        })
    }

    /// xdist's words for the workers that it lost.
    pub fn lost(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter(|mark| mark.says == Says::WorkerLost)
    }

    /// Whether the closing line counts a test that passed.
    pub fn has_passed(&self) -> bool {
        self.closing.is_some_and(|(closing, _)| closing.counts.passed > 0)
    }

    /// Whether the closing line counts what the session showed. A test may print one that counts failures of its own.
    pub(super) fn accounts_for_closing(&self) -> bool {
        self.closing.is_none_or(|(closing, _)| {
            let is_shown = !self.sections.is_empty() || !self.summary.is_empty() || !self.failed.is_empty();
            !closing.is_empty && (self.is_green() || is_shown || self.percent == Some(100))
        })
    }

    /// Whether the progress has shown a test that failed.
    pub(super) fn has_shown_failure(&self) -> bool {
        let is_late = self.late.as_ref().is_some_and(|(_, status, _)| !status.is_fine());
        is_late || !self.failed.is_empty() || self.failed_letters > 0
    }

    /// Whether nothing but xdist's lines about its workers has been seen.
    pub(super) fn is_only_workers(&self) -> bool {
        let is_untouched = self.finished == 0 && self.running.is_empty() && self.region == Region::Progress;
        self.is_xdist && !self.has_header && is_untouched
    }

    /// Notes that pytest itself went on, on this line.
    pub(super) fn go_on(&mut self, line: u64) {
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

    pub(super) fn mark(&mut self, says: Says, line: u64, text: &str) {
        if self.marks.len() >= MAX_MARKS {
            self.marks.remove(MAX_MARKS / 2);
        }
        self.marks.push(Mark {
            says,
            line,
            text: text.trim().chars().take(400).collect(),
            is_followed: false,
            test: None,
        });
    }

    pub(super) fn push_stack(&mut self, stack: Stack) {
        if self.stacks.len() >= MAX_STACKS {
            self.stacks.remove(MAX_STACKS / 2);
        }
        self.stacks.push(stack);
    }

    /// The result that stood alone is the test's own, now that another one begins or the session reports.
    pub(super) fn settle_late(&mut self) {
        if let Some((id, status, line)) = self.late.take() {
            self.end(&id, status, None, line, false);
        }
    }

    /// Notes a test that is run again.
    pub(super) fn rerun(&mut self, id: &str) {
        if self.reran.len() < MAX_ENTRIES
            && id.len() < MAX_TEXT
            && !self.reran.iter().rev().take(64).any(|own| own == id)
        {
            self.reran.push(id.to_owned());
        }
    }

    /// How many tests ended in which way: as the closing line counts them, else as far as the progress showed them.
    pub fn counts(&self) -> Option<Counts> {
        let is_shown = self.shown != Counts::default();
        match self.closing {
            // Some reporters print no counts, or not all of them.
            Some((closing, _)) if closing.is_replaced && is_shown && closing.counts.sum() < self.shown.sum() => {
                Some(self.shown)
            }
            Some((closing, _)) => Some(closing.counts),
            None => is_shown.then_some(self.shown),
        }
    }

    /// Notes the end of a test, or of one phase of it.
    pub(super) fn end(&mut self, id: &str, status: Status, worker: Option<&str>, line: u64, is_certain: bool) {
        status.count(&mut self.shown);
        if !status.is_fine() {
            let is_lost = |mark: &&mut Mark| mark.test.is_none() && mark.line + 6 >= line && mark.lost() == worker;
            let mut marks = self.marks.iter_mut().filter(|mark| mark.says == Says::WorkerLost);
            if let Some(mark) = marks.rfind(is_lost).filter(|_| worker.is_some()) {
                mark.test = Some(id.to_owned());
            }
        }
        if status == Status::Rerun {
            self.rerun(id);
            return;
        }
        self.running.end(id);
        self.finished += 1;
        if status.is_fine() {
            if let Some(at) = self.failed_at.remove(id) {
                self.failed[at].is_retried = true;
            }
        } else if self.failed.len() < MAX_ENTRIES && id.len() < MAX_TEXT {
            self.failed_at.insert(id.to_owned(), self.failed.len());
            self.failed.push(Failed {
                id: id.to_owned(),
                line,
                worker: worker.map(str::to_owned),
                is_certain,
                is_retried: false,
            });
        }
    }
}
