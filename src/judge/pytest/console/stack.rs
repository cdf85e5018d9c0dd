//! Stacks that a dying or stuck interpreter prints: faulthandler's fatal block and watchdog, pytest-timeout's banner.

use crate::judge::pytest::nodeid;

/// Packages of those who run tests, and how plugins of theirs are called.
const RUNNERS: [&str; 5] = ["_pytest", "pluggy", "xdist", "execnet", "pytest"];
const PLUGINS: &str = "pytest_";
/// Parts of paths of a process that a test started.
const CHILDREN: [&str; 2] = ["/multiprocessing/", "/concurrent/futures/process.py"];
/// First words of what the interpreter prints between and after the frames.
const COMPANY: [&str; 8] = [
    "<no Python frame>",
    "Extension modules:",
    "Current thread's C stack trace",
    "Binary file \"",
    "Python runtime state:",
    "<tstate is freed>",
    "Garbage-collecting",
    "<cannot get C stack",
];

/// What printed a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackKind {
    /// `Fatal Python error`: the process is dying.
    Fatal,
    /// `Timeout (0:00:05)!`: faulthandler's watchdog looks and goes on.
    Watchdog,
    /// pytest-timeout's `+++ Timeout +++`.
    Timeout,
}

/// A stack and what it tells.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; any of them may hold together"
)]
pub struct Stack {
    /// What printed it.
    pub kind: StackKind,
    /// Line of its head.
    pub line: u64,
    /// The head itself.
    pub text: String,
    /// Whether it is a pytest process's own: a frame of pytest's is in it.
    pub is_pytest: bool,
    /// Whether the dying thread is that of a process which a test started.
    pub is_child: bool,
    /// Whether any frame was there.
    pub has_frames: bool,
    /// The test that the progress showed running; `None` under xdist and without ids.
    pub running: Option<String>,
    /// The test it passes through: file and function.
    pub test: Option<(String, String)>,
    /// The file that was being imported for its tests.
    pub module: Option<String>,
    /// The innermost frame of the thread that died.
    pub top: Option<String>,
    /// Whether pytest went on after it.
    pub is_followed: bool,
    /// Whether it came after the closing line.
    pub is_late: bool,
    /// The file of the frame before, where that is a module's own.
    last_module: Option<String>,
    /// Whether the thread being read is the one that died.
    is_current: bool,
    /// A test found in the thread being read.
    candidate: Option<(String, String)>,
    /// Whether a frame of pytest's was seen in the thread being read.
    is_inside: bool,
}

impl Stack {
    /// A stack with nothing but its head.
    pub(super) fn new(kind: StackKind, line: u64, text: &str, is_late: bool) -> Stack {
        Stack {
            kind,
            line,
            text: text.trim().chars().take(400).collect(),
            is_pytest: false,
            is_child: false,
            has_frames: false,
            running: None,
            test: None,
            module: None,
            last_module: None,
            top: None,
            is_followed: false,
            is_late,
            is_current: true,
            candidate: None,
            is_inside: false,
        }
    }

    /// Takes one more line; false when it does not belong to the stack.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let body = text.trim();
        if let Some((file, function)) = frame(body) {
            self.frame(file, function, body);
            return true;
        }
        let is_current = body.starts_with("Current thread 0x");
        if is_current {
            // The others are printed for company.
            self.top = None;
        }
        if is_current || body.starts_with("Thread 0x") {
            self.is_current = is_current;
        }
        if is_current || body.starts_with("Thread 0x") || body.starts_with("~~~") {
            self.candidate = None;
            self.is_inside = false;
            return true;
        }
        // Only a fatal error lists them; its head may have been cut away.
        if self.kind == StackKind::Watchdog && body.starts_with("Extension modules:") {
            self.kind = StackKind::Fatal;
        }
        // pytest-timeout shows the source of each frame and a notice when the handler is not the default one.
        let is_source = self.kind == StackKind::Timeout && (text.starts_with("    ") || body.starts_with("~~"));
        body.is_empty() || body == "..." || is_source || COMPANY.iter().any(|start| body.starts_with(start))
    }

    fn frame(&mut self, file: &str, function: &str, body: &str) {
        self.has_frames = true;
        if self.top.is_none() && (self.is_current || self.kind != StackKind::Fatal) {
            self.top = Some(body.to_owned());
        }
        let is_runner = is_runner(file);
        // pytest imports test files through its own loader.
        if matches!(function, "exec_module" | "load_module")
            && file.ends_with("rewrite.py")
            && self.is_current
            && self.module.is_none()
        {
            self.module = self.last_module.take();
        }
        self.last_module = (function == "<module>" && !is_runner).then(|| file.to_owned());
        let is_test = function.starts_with("test") && nodeid::is_file(file) && !is_runner;
        // A child of multiprocessing inherits the test's frames; it is the child that died.
        self.is_child |= !self.is_pytest && CHILDREN.iter().any(|part| file.contains(part));
        self.is_pytest |= is_runner && !self.is_child;
        if self.kind == StackKind::Timeout {
            // Oldest first: the test is the first one after pytest's own frames.
            if is_runner {
                self.candidate = None;
                self.is_inside = true;
            } else if is_test && self.candidate.is_none() && self.is_inside {
                self.candidate = Some((file.to_owned(), function.to_owned()));
                self.test.clone_from(&self.candidate);
            }
            return;
        }
        // Newest first: the test is the last one before pytest's own frames.
        if is_runner && !self.is_inside {
            self.is_inside = true;
            if self.test.is_none() {
                self.test = self.candidate.take();
            }
        } else if is_test && !self.is_inside {
            self.candidate = Some((file.to_owned(), function.to_owned()));
        }
    }

    /// The test, also where the stack broke off before pytest's own frames.
    pub fn test(&self) -> Option<&(String, String)> {
        self.test.as_ref().or(self.candidate.as_ref())
    }
}

/// Whether a file is pytest's own, or an installed plugin's.
fn is_runner(file: &str) -> bool {
    let mut parts = file.split(['/', '\\']);
    let installed = parts.clone().skip_while(|part| !part.ends_with("-packages")).nth(1);
    let name = parts.next_back();
    name.is_some() && parts.any(|part| RUNNERS.contains(&part))
        || installed.is_some_and(|part| part.starts_with(PLUGINS))
        || name == Some("pytest_timeout.py")
}

/// Whether a line is a frame as faulthandler prints it, which sets no comma before the function.
pub(super) fn is_faulthandlers(text: &str) -> bool {
    text.starts_with("  File \"") && frame(text.trim()).is_some() && !text.contains(", in ")
}

/// Reads `File "…", line 3 in f` and `File "…", line 3, in f`.
fn frame(body: &str) -> Option<(&str, &str)> {
    let rest = body.strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let rest = rest.trim_start_matches(|char: char| char.is_ascii_digit());
    let function = rest.strip_prefix(", in ").or_else(|| rest.strip_prefix(" in "))?;
    Some((file, function.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_the_frame_next_to_pytests_own() {
        let mut stack = Stack::new(StackKind::Fatal, 1, "Fatal Python error: Aborted", false);
        for line in [
            "",
            "Current thread 0x00007f (most recent call first):",
            "  File \"/w/tests/helpers.py\", line 3 in test_helper",
            "  File \"/w/tests/test_a.py\", line 9 in test_abort",
            "  File \"/v/_pytest/python.py\", line 194 in pytest_pyfunc_call",
            "  File \"/w/tests/test_other.py\", line 9 in test_outer",
            "",
            "Extension modules: numpy (total: 1)",
        ] {
            assert!(stack.take(line), "{line}");
        }
        assert!(!stack.take("tests/a.py::test_x PASSED"));
        assert_eq!(stack.test().unwrap().1, "test_abort");
        assert!(stack.is_pytest);
    }
}
