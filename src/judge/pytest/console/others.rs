//! What other programs write between pytest's lines: stacks, tracebacks, and words for how things went.

use super::Reader;
use super::phrases::{self, Says};
use super::said;
use super::section::{Part, Section, SectionKind, is_timeout, location, worker_crash};
use super::session::Region;
use super::stack::{Stack, StackKind, is_faulthandlers};
use crate::judge::pytest::nodeid;

/// Lines of other processes that may stand between those of one stack.
const MAX_MISSES: u8 = 40;

/// The file and the name of a test's own entry in a traceback: `tests/a.py:12: in test_x`.
fn test_frame(text: &str) -> Option<(&str, &str)> {
    let (file, _, reason) = location(text)?;
    let function = reason.strip_prefix("in ")?.trim_end();
    function.starts_with("test").then_some((file, function))
}

/// The name in the line that defines a test; one of a class has no id without the class.
fn definition(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let (name, rest) = text
        .strip_prefix("async ")
        .unwrap_or(text)
        .strip_prefix("def ")?
        .split_once('(')?;
    (name.starts_with("test") && !rest.starts_with("self")).then_some(name)
}

impl Reader {
    /// Takes a line that stands before any session: what keeps one from starting, or a report whose head is lost.
    pub(super) fn before(&mut self, number: u64, text: &str) {
        if self.in_stack(text) {
            return;
        }
        if text.starts_with("platform ") && text.contains(", pytest-") {
            // A header without its rule.
            self.nest.session(number);
            return;
        }
        if is_faulthandlers(text) {
            // A stack without its head.
            self.push_stack(StackKind::Watchdog, number, text);
            self.in_stack(text);
            return;
        }
        self.others(number, &[text]);
        if nodeid::starts(text) {
            // Perhaps a test of a session whose head is lost, with what the test printed behind it.
            self.nest.before.running.clear();
            self.nest.before.running.begin(&text[..nodeid::length(text)]);
        }
        if let Some(rest) = text.strip_prefix("ImportError while loading conftest '") {
            let file = rest.trim_end().trim_end_matches(['.', '\'']);
            let mut error = Section::new(SectionKind::Collection, file, number);
            error.text.push(number, text);
            self.nest.before.internal = Some(error);
            self.part = Part::Trace;
        } else if let Some(error) = &mut self.nest.before.internal {
            error.take(&mut self.part, number, text);
        } else if text == "Traceback (most recent call last):" {
            self.nest.before.internal = Some(Section::new(SectionKind::Internal, "", number));
            self.part = Part::Native;
        } else if let Some((file, function)) = test_frame(text) {
            // A traceback without its title.
            self.title(number, function, false);
            if let Some(section) = self.nest.here().sections.last_mut() {
                section.place(file);
            }
        } else if text.starts_with("E   ") || worker_crash(text).is_some() {
            let defined = self.defined.take().unwrap_or_default();
            self.title(number, &defined, false);
            self.section(number, text);
        } else if is_timeout(text) {
            let mut limit = Section::new(SectionKind::Internal, "", number);
            limit.text.push(number, text);
            self.nest.before.limit = Some(limit);
        } else if let Some(name) = definition(text) {
            self.defined = Some(name.to_owned());
        }
    }

    /// Reads a traceback that stands below the progress; one of pytest's own explains the missing end.
    pub(super) fn own_traceback(&mut self, number: u64, text: &str) {
        if text.ends_with("Traceback (most recent call last):") {
            self.traceback = Some((Section::new(SectionKind::Internal, "", number), false));
        } else if let Some((_, is_own)) = self.traceback.as_mut().filter(|_| text.starts_with("  ")) {
            *is_own |= said::is_pytests_entry(text);
        } else if let Some((mut section, is_own)) = self.traceback.take_if(|_| !text.trim().is_empty()) {
            section.take(&mut Part::Native, number, text);
            let session = self.nest.session(number);
            if is_own && !section.text.is_empty() && session.internal.is_none() {
                session.internal = Some(section);
            }
        }
    }

    /// Notes what other programs say on a line of progress, or behind pytest's own words on it.
    pub(super) fn others(&mut self, number: u64, parts: &[&str]) {
        for text in parts {
            match phrases::find(text) {
                Some(Says::Fatal) => self.push_stack(StackKind::Fatal, number, said::fatal(text)),
                Some(Says::Watchdog) => self.push_stack(StackKind::Watchdog, number, text),
                Some(says @ (Says::WorkerLost | Says::WorkersGivenUp)) => {
                    // A test of a session without workers may print the words; a log that lost its head may have workers.
                    let session = self.nest.session(number);
                    if session.is_xdist || !session.has_header {
                        session.mark(says, number, said::worker(text));
                    }
                }
                Some(says) => {
                    let session = self.nest.here();
                    // The service that quotes a status had written `ERROR` before.
                    let is_services = |line: u64| matches!(says, Says::Status(_)) && line + 1 == number;
                    session.late.take_if(|(_, _, line)| is_services(*line));
                    session.mark(says, number, text);
                }
                None => {}
            }
        }
    }

    /// Notes the words of the shell and the interpreter, where the session may have died while it reported.
    pub(super) fn other(&mut self, number: u64, text: &str) {
        if self.part == Part::Captured {
            return;
        }
        if text.starts_with("Fatal Python error:") {
            self.push_stack(StackKind::Fatal, number, text);
        } else if !self.in_stack(text)
            && !text.starts_with([' ', 'E', '>', '_', '-'])
            && let Some(says @ (Says::Died | Says::DiedBelow | Says::EndedOutside | Says::Status(_))) =
                phrases::find(text)
        {
            self.nest.here().mark(says, number, text);
        }
    }

    pub(super) fn timeout_banner(&mut self, number: u64) {
        let is_open = |stack: &Stack| stack.kind == StackKind::Timeout && stack.has_frames && !stack.is_followed;
        if self.nest.here().stacks.last().is_some_and(is_open) {
            self.stack = None;
        } else {
            self.push_stack(StackKind::Timeout, number, "Timeout");
        }
    }

    pub(super) fn push_stack(&mut self, kind: StackKind, number: u64, text: &str) {
        let session = self.nest.here();
        let mut stack = Stack::new(kind, number, text, session.region == Region::Closed);
        stack.running = session.running.first().filter(|_| !session.is_xdist).cloned();
        session.push_stack(stack);
        self.stack = Some(0);
    }

    /// Offers a line to the stack being read; true when it belongs to it. Other workers write between its lines.
    pub(super) fn in_stack(&mut self, text: &str) -> bool {
        let (Some(misses), Some(stack)) = (&mut self.stack, self.nest.here().stacks.last_mut()) else {
            return false;
        };
        if stack.take(text) {
            return true;
        }
        *misses += 1;
        if *misses > MAX_MISSES {
            self.stack = None;
        }
        false
    }
}
