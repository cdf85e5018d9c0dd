//! Color, for a terminal only: files get the same words without it.

use crate::judge::Verdict;

/// Whether text is colored. Where the reader is no terminal, or `NO_COLOR` is set, the stream takes color out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Color,
}

impl Paint {
    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.with("1", "0", text)
    }

    /// What is good.
    pub fn green(self, text: &str) -> String {
        self.with("32", "39", text)
    }

    /// What is bad.
    pub fn red(self, text: &str) -> String {
        self.with("31", "39", text)
    }

    /// What needs a look.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", "39", text)
    }

    /// What is there for those who look for it.
    pub fn dim(self, text: &str) -> String {
        self.with("2", "0", text)
    }

    /// A word in the color of a verdict.
    pub fn verdict(self, verdict: Verdict, text: &str) -> String {
        match verdict {
            Verdict::Passed => self.green(text),
            Verdict::Failed => self.red(text),
            Verdict::Errored => self.yellow(text),
        }
    }

    /// The text between two codes of "select graphic rendition" (ECMA-48).
    fn with(self, on: &str, off: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Color => format!("\u{1b}[{on}m{text}\u{1b}[{off}m"),
        }
    }
}
