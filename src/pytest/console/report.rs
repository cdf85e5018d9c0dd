//! ERRORS and FAILURES: a section a failure, its `E` lines, the file its traceback shows, the worker it ran on.

use super::session::{MAX_ENTRIES, Section, SectionKind, Session, Text};
use crate::pytest::nodeid;
use crate::pytest::row::Banner;

/// Where inside a section the reader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// Between the banner and the first title.
    #[default]
    Outside,
    /// In a traceback or a message.
    Trace,
    /// In a traceback as the interpreter prints it, which has no `E` lines.
    Native,
    /// In what the test printed.
    Captured,
}

/// Which of the two the reader is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Report {
    /// ERRORS.
    Errors,
    /// FAILURES.
    #[default]
    Failures,
}

/// An empty section.
pub(super) fn section(kind: SectionKind, title: &str, line: u64) -> Section {
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

/// Opens a section for a title between rules of `_`.
pub(super) fn open(session: &mut Session, report: Report, title: &str, line: u64) {
    if session.sections.len() >= MAX_ENTRIES {
        return;
    }
    let (kind, title) = if let Some(file) = title.strip_prefix("ERROR collecting ") {
        (SectionKind::Collection, file)
    } else if let Some(name) = ["ERROR at setup of ", "ERROR at teardown of "]
        .iter()
        .find_map(|start| title.strip_prefix(start))
    {
        (SectionKind::Fixture, name)
    } else if report == Report::Errors {
        (SectionKind::Fixture, title)
    } else {
        (SectionKind::Call, title)
    };
    session.sections.push(section(kind, title, line));
}

/// Whether a banner opens what a test printed, or a log, which no signature may match in.
pub(super) fn is_captured(banner: &Banner<'_>) -> bool {
    banner.fill == '-' && banner.title.starts_with("Captured ")
}

/// Reads one line of a section.
pub(super) fn take(session: &mut Session, part: &mut Part, number: u64, text: &str) {
    if *part == Part::Outside {
        // `--tb=line` prints a failure a line, without a title.
        if let Some((file, _, reason)) = location(text) {
            let mut found = section(SectionKind::Call, "", number);
            found.file = Some(file.to_owned());
            found.is_test_file = is_test_file(file);
            found.text.push(number, reason);
            if session.sections.len() < MAX_ENTRIES {
                session.sections.push(found);
            }
        } else if let Some(found) = session.sections.last_mut().filter(|found| found.title.is_empty()) {
            found.text.push(number, text);
        } else if let Some((worker, id)) = worker_crash(text) {
            let mut found = section(SectionKind::Call, "", number);
            found.worker = Some(worker.to_owned());
            found.crashed = Some(id.to_owned());
            found.text.push(number, text);
            session.sections.push(found);
        }
        return;
    }
    let Some(found) = session.sections.last_mut() else {
        return;
    };
    take_into(found, part, number, text);
}

/// Reads one line of a traceback into a section.
pub(super) fn take_into(found: &mut Section, part: &mut Part, number: u64, text: &str) {
    if let Some(message) = e_line(text) {
        // A block is indented as deep as the statement that failed; what stands deeper in it is detail.
        let indent = message.len() - message.trim_start().len();
        let indent = indent.min(*found.e_indent.get_or_insert(indent));
        found.text.push(number, &message[indent..]);
        return;
    }
    found.e_indent = None;
    if let Some((worker, id)) = worker_crash(text) {
        found.worker = Some(worker.to_owned());
        found.crashed = Some(id.to_owned());
        found.text.push(number, text);
        return;
    }
    if text.contains(": running the test CRASHED with signal ") {
        found.is_forked_crash = true;
        found.text.push(number, text);
        return;
    }
    if found.worker.is_none()
        && let Some(worker) = worker_line(text)
    {
        found.worker = Some(worker.to_owned());
        return;
    }
    if let Some((file, _, _)) = location(text) {
        place(found, file);
        return;
    }
    if text == "Traceback (most recent call last):" {
        *part = Part::Native;
        return;
    }
    if let Some(file) = text
        .strip_prefix("  File \"")
        .and_then(|rest| rest.split_once('"'))
        .map(|(file, _)| file)
    {
        place(found, file);
        return;
    }
    // An interpreter's own traceback ends in an unindented message; so do messages that are no traceback at all.
    let is_message = !text.starts_with([' ', '>', '_']) && !text.trim().is_empty();
    if is_message && (*part == Part::Native || found.text.is_empty()) && is_exception(text) {
        found.text.push(number, text);
    }
}

/// Text of an `E` line; pytest sets it off by three blanks.
pub(super) fn e_line(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('E')?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix("   ")
}

/// Whether a line begins as the last one of a traceback does: with the name of an exception.
pub(super) fn is_exception(text: &str) -> bool {
    let head = text.split([':', ' ']).next().unwrap_or("");
    !head.is_empty()
        && head
            .chars()
            .all(|char| char.is_alphanumeric() || matches!(char, '.' | '_'))
        && head
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(char::is_uppercase))
}

fn place(found: &mut Section, file: &str) {
    if found.is_test_file {
        return;
    }
    let is_test_file = is_test_file(file);
    if is_test_file || found.file.is_none() {
        found.file = Some(file.to_owned());
        found.is_test_file = is_test_file;
    }
}

/// Whether pytest's default patterns take a file for a test file.
pub(super) fn is_test_file(file: &str) -> bool {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    (name.starts_with("test_") && nodeid::is_file(name)) || name.ends_with("_test.py")
}

/// Reads `tests/a.py:12: AssertionError` and `tests/a.py:12: in test_x`.
pub(super) fn location(text: &str) -> Option<(&str, u64, &str)> {
    if text.starts_with(' ') {
        return None;
    }
    let mut from = 0;
    while let Some(at) = text[from..].find(':').map(|at| from + at) {
        let file = &text[..at];
        let rest = &text[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && nodeid::is_file(file) && rest[digits..].starts_with(':') {
            return Some((file, rest[..digits].parse().ok()?, rest[digits + 1..].trim_start()));
        }
        from = at + 1;
    }
    None
}

/// Reads `worker 'gw6' crashed while running 'tests/a.py::test_x'`.
pub(super) fn worker_crash(text: &str) -> Option<(&str, &str)> {
    // Workers had another name before xdist 2.
    let word = ["orker 'gw", "lave 'gw"].into_iter().find(|word| text.contains(word))?;
    let at = text.find(word)?.checked_sub(1)?;
    let (worker, rest) = text.get(at + word.len() - 1..)?.split_once('\'')?;
    let rest = rest.strip_prefix(" crashed while running ")?;
    let quote = rest.chars().next().filter(|char| matches!(char, '\'' | '"'))?;
    let id = &rest[1..];
    let end = id.rfind(quote).unwrap_or(id.len());
    (at == 0 || !text[..at].contains(['"', '\''])).then_some((worker, &id[..end]))
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
        assert_eq!(
            location("tests/a.py:12: AssertionError"),
            Some(("tests/a.py", 12, "AssertionError"))
        );
        assert_eq!(location("/w/a.py:3: in test_x"), Some(("/w/a.py", 3, "in test_x")));
        assert_eq!(location("    a.py:3: x"), None);
        assert_eq!(location("E   a: b"), None);
    }

    #[test]
    fn a_workers_crash_names_its_test() {
        let text = "worker 'gw6' crashed while running 'tests/a.py::test_x[True-tcp]'";
        assert_eq!(worker_crash(text), Some(("gw6", "tests/a.py::test_x[True-tcp]")));
        assert_eq!(worker_crash("assert \"worker 'gw6' crashed while running 'x'\""), None);
    }
}
