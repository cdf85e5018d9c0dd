//! Color, for a terminal only: files get the same words without it.

use owo_colors::OwoColorize;

/// Whether text is colored. Where the reader is no terminal, or `NO_COLOR` is set, the stream takes color out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Words only.
    Plain,
    /// Words in color.
    Color,
}

impl Paint {
    /// A heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with(text, text.bold().to_string())
    }

    /// What is good.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.with(text, text.green().to_string())
    }

    /// What is bad.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.with(text, text.red().to_string())
    }

    /// What needs a look.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.with(text, text.yellow().to_string())
    }

    /// What is there for those who look for it.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with(text, text.dimmed().to_string())
    }

    fn with(self, plain: &str, colored: String) -> String {
        match self {
            Paint::Plain => plain.to_owned(),
            Paint::Color => colored,
        }
    }
}
