//! ERRORS and FAILURES: a section a failure, its `E` lines, the file that its traceback shows, the worker it ran on.

use super::session::Text;
use crate::judge::pytest::nodeid;

/// What a section is about.
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

/// Where inside a section a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// Between the rule that begins the report and the first title.
    #[default]
    Outside,
    /// In a traceback or a message.
    Trace,
    /// In a traceback as the interpreter prints it, which has no `E` lines.
    Native,
    /// In what the test printed.
    Captured,
}

/// A failure as ERRORS or FAILURES tells it.
#[derive(Clone, Debug)]
pub struct Section {
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
    e_indent: Option<usize>,
    /// The test that a worker died of, where the section says so.
    pub crashed: Option<String>,
    /// Whether a forked child died.
    pub is_forked_crash: bool,
}

/// First words of a title that say in which phase a test failed.
const PHASES: [&str; 3] = ["ERROR at setup of ", "ERROR at teardown of ", "ERROR at call of "];

/// What pytest-forked says of a child that ended without finishing its test.
const FORKED: [&str; 2] = [
    ": running the test CRASHED with signal ",
    ": running the test EXITED with status ",
];

impl Section {
    pub(super) fn new(kind: SectionKind, title: &str, line: u64) -> Section {
        Section {
            kind,
            title: title.to_owned(),
            line,
            worker: None,
            file: None,
            is_test_file: false,
            text: Text::default(),
            e_indent: None,
            crashed: None,
            is_forked_crash: false,
        }
    }

    /// The section that a title between rules opens.
    pub(super) fn open(is_errors: bool, title: &str, line: u64) -> Section {
        if let Some(file) = title.strip_prefix("ERROR collecting ") {
            return Section::new(SectionKind::Collection, file, line);
        }
        if let Some(name) = PHASES.iter().find_map(|start| title.strip_prefix(start)) {
            return Section::new(SectionKind::Fixture, name, line);
        }
        let kind = if is_errors {
            SectionKind::Fixture
        } else {
            SectionKind::Call
        };
        Section::new(kind, title, line)
    }

    /// Whether it is a failure of `--tb=line` whose place is still to come.
    pub(super) fn is_untold(&self) -> bool {
        self.title.is_empty() && self.file.is_none() && self.kind == SectionKind::Call
    }

    /// Reads one line of a traceback or a message.
    pub(super) fn take(&mut self, part: &mut Part, number: u64, text: &str) {
        if let Some(message) = e_line(text) {
            // A block is indented as deep as the statement that failed; what stands deeper in it is detail.
            let indent = message.len() - message.trim_start().len();
            let indent = indent.min(*self.e_indent.get_or_insert(indent));
            self.text.push(number, &message[indent..]);
            return;
        }
        self.e_indent = None;
        if let Some((worker, id)) = worker_crash(text) {
            self.worker = Some(worker.to_owned());
            self.crashed = Some(id.to_owned());
            self.text.push(number, text);
        } else if FORKED.iter().any(|words| text.contains(words)) {
            self.is_forked_crash = true;
            self.text.push(number, text);
        } else if let Some(worker) = worker_line(text) {
            self.worker.get_or_insert_with(|| worker.to_owned());
        } else if let Some((file, _, _)) = location(text) {
            self.place(file);
        } else if text == "Traceback (most recent call last):" {
            *part = Part::Native;
        } else if let Some((file, _)) = text.strip_prefix("  File \"").and_then(|rest| rest.split_once('"')) {
            self.place(file);
        } else if is_exception(text) && (*part == Part::Native || self.text.is_empty()) {
            // An interpreter's own traceback ends in an unindented message; so do messages that are no traceback at all.
            self.text.push(number, text);
        }
    }

    /// Notes a file that the traceback passes through; one that is named like a test file outweighs a helper.
    pub(super) fn place(&mut self, file: &str) {
        let is_test_file = is_test_file(file);
        // A plugin's frame is not where the test lives.
        let is_installed = file.contains("site-packages") || file.contains("dist-packages");
        if is_installed && !is_test_file {
            return;
        }
        if !self.is_test_file && (is_test_file || self.file.is_none()) {
            self.file = Some(file.to_owned());
            self.is_test_file = is_test_file;
        }
    }
}

/// Text of an `E` line; pytest sets it off by three blanks.
pub(in crate::judge) fn e_line(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('E')?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix("   ")
}

/// Whether a line begins as the last one of a traceback does: with the name of an exception.
pub(super) fn is_exception(text: &str) -> bool {
    let head = text.split([':', ' ']).next().unwrap_or("");
    let is_name = |char: char| char.is_alphanumeric() || matches!(char, '.' | '_');
    head.chars().all(is_name)
        && head
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(char::is_uppercase))
}

/// Whether pytest's default patterns take a file for a test file.
fn is_test_file(file: &str) -> bool {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    (name.starts_with("test_") && nodeid::is_file(name)) || name.ends_with("_test.py")
}

/// Reads `tests/a.py:12: AssertionError` and `tests/a.py:12: in test_x`.
pub(super) fn location(text: &str) -> Option<(&str, u64, &str)> {
    if text.starts_with(' ') {
        return None;
    }
    for (at, _) in text.match_indices(':') {
        let (file, rest) = (&text[..at], &text[at + 1..]);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest[digits..].starts_with(':') && nodeid::is_file(file) {
            return Some((file, rest[..digits].parse().ok()?, rest[digits + 1..].trim_start()));
        }
    }
    None
}

/// Reads `worker 'gw6' crashed while running 'tests/a.py::test_x'`.
pub(in crate::judge) fn worker_crash(text: &str) -> Option<(&str, &str)> {
    // Workers had another name before xdist 2.
    let word = ["orker 'gw", "lave 'gw"].into_iter().find(|word| text.contains(word))?;
    let at = text.find(word)?.checked_sub(1)?;
    let (worker, rest) = text.get(at + word.len() - 1..)?.split_once('\'')?;
    let rest = rest.strip_prefix(" crashed while running ")?;
    let quote = rest.chars().next().filter(|char| matches!(char, '\'' | '"'))?;
    let id = &rest[1..];
    let end = id.rfind(quote).unwrap_or(id.len());
    let is_quoted = text.get(..at).is_none_or(|before| before.contains(['"', '\'']));
    (!is_quoted).then_some((worker, &id[..end]))
}

/// Whether a failure's text is pytest-timeout's.
pub(in crate::judge) fn is_timeout(text: &str) -> bool {
    text.lines().any(|line| {
        let Some(rest) = line.strip_prefix("Failed: ").unwrap_or(line).strip_prefix("Timeout ") else {
            return false;
        };
        let number = rest.trim_start_matches(['(', '>', ' ']);
        let end = number
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(number.len());
        let tail = number[end..].trim_end();
        let is_limit = rest.starts_with(['(', '>']) && end > 0;
        is_limit
            && (tail.contains("from pytest-timeout")
                || matches!(tail, "s" | "s)")
                || (tail.ends_with("...") && line.starts_with("Failed: "))
                || number.ends_with("..."))
    })
}

/// Reads `[gw0] linux -- Python 3.11.7 /usr/bin/python3`.
fn worker_line(text: &str) -> Option<&str> {
    let (worker, rest) = text.strip_prefix('[')?.split_once(']')?;
    (worker.starts_with("gw") && rest.contains(" -- Python ")).then_some(worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_paths_with_a_line() {
        let found = location("tests/a.py:12: AssertionError");
        assert_eq!(found, Some(("tests/a.py", 12, "AssertionError")));
        assert_eq!(location("/w/a.py:3: in test_x"), Some(("/w/a.py", 3, "in test_x")));
        assert_eq!(location("    a.py:3: x"), None);
        assert_eq!(location("E   a: b"), None);
    }

    #[test]
    fn a_worker_is_not_looked_for_in_the_middle_of_a_character() {
        let crash = "worker 'gw0' crashed while running 'a.py::b'";
        assert_eq!(worker_crash(crash), Some(("gw0", "a.py::b")));
        assert_eq!(
            worker_crash("?\u{fffd}orker 'gw0' crashed while running 'a.py::b'"),
            None
        );
    }

    #[test]
    fn a_workers_crash_names_its_test() {
        let text = "worker 'gw6' crashed while running 'tests/a.py::test_x[True-tcp]'";
        assert_eq!(worker_crash(text), Some(("gw6", "tests/a.py::test_x[True-tcp]")));
        assert_eq!(worker_crash("assert \"worker 'gw6' crashed while running 'x'\""), None);
    }
}
