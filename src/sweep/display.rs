//! Live displays: each turns the event stream into something to look at, and decides nothing.

use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use crate::report::shown::short;
use crate::spec::words::words;
use crate::sweep::Event;

pub mod follow;
mod jsonl;
mod plain;
mod progress;

pub use progress::Counting;

words! {
    /// How progress is shown.
    pub enum DisplayKind {
        /// A bar on a terminal, plain lines elsewhere.
        Auto = "auto",
        /// A bar.
        Bar = "bar",
        /// One line for each thing that happens.
        Plain = "plain",
        /// The event stream, on stdout.
        Jsonl = "jsonl",
        /// Nothing but the end.
        None = "none",
    }
}

/// Something that shows a sweep while it runs. Called by one task only, in the order of events; an error switches it off.
pub trait Reporter: Send {
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Shows what is running now, and a line about the evidence so far; called a few times a second.
    fn tick(&mut self, running: &[Running], standing: &str) -> io::Result<()> {
        let _ = (running, standing);
        Ok(())
    }

    /// Leaves the terminal as it was found.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An iteration in flight, as a display sees it.
#[derive(Clone, Debug)]
pub struct Running {
    pub arm: Option<String>,
    pub iteration: u32,
    /// How long its attempt has been running.
    pub elapsed: Duration,
    /// The last line of its log, as printed.
    pub last_line: String,
}

/// The display for `--progress`.
pub fn open(kind: DisplayKind, is_verbose: bool) -> Vec<Box<dyn Reporter>> {
    match kind {
        DisplayKind::Bar => vec![Box::new(progress::Bars::new())],
        DisplayKind::Auto if io::stderr().is_terminal() => vec![Box::new(progress::Bars::new())],
        DisplayKind::Auto | DisplayKind::Plain => vec![Box::new(plain::Lines::new(is_verbose))],
        DisplayKind::Jsonl => vec![Box::new(jsonl::Stream)],
        DisplayKind::None => Vec::new(),
    }
}

/// Says what went wrong beside the sweep, which goes on.
pub fn warn(text: &str) {
    // Errors are ignored: a reader that closed the pipe wants no warnings.
    let _ = writeln!(anstream::stderr().lock(), "warning: {text}");
}

/// Says what a user should know beside the sweep, which goes on.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "note: {text}");
}

/// A line from a log made fit for a terminal: no escapes, no control characters, not longer than a glance takes in.
fn printable(line: &str) -> String {
    short(line.trim(), 160)
}
