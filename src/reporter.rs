//! Live displays: each turns the event stream into something to look at, and decides nothing.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::cli::sweep::Progress;
use crate::model::Event;
use crate::model::stop::Live;
use crate::render::visible::short;

mod jsonl;
mod plain;
mod progress;

pub use progress::Counting;

/// Something that shows a sweep while it runs. Called by one task only, in the order of events; an error switches it off.
pub trait Reporter: Send {
    /// Shows one event.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Shows what is running now, and what the counts so far carry; called a few times a second.
    fn tick(&mut self, running: &[Running], live: &Live) -> io::Result<()> {
        let _ = (running, live);
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
    /// Its arm, in a sweep of several.
    pub arm: Option<String>,
    /// Its number.
    pub iteration: u32,
    /// How long its attempt has been running.
    pub elapsed: Duration,
    /// The last line of its log, as printed.
    pub last_line: String,
}

/// The display for `--progress`.
#[must_use]
pub fn open(progress: Progress, is_verbose: bool) -> Vec<Box<dyn Reporter>> {
    match progress {
        Progress::Bar => vec![Box::new(progress::Bars::new())],
        Progress::Auto if io::stderr().is_terminal() => vec![Box::new(progress::Bars::new())],
        Progress::Auto | Progress::Plain => vec![Box::new(plain::Lines::new(is_verbose))],
        Progress::Jsonl => vec![Box::new(jsonl::Stream)],
        Progress::None => Vec::new(),
    }
}

/// Says what went wrong beside the sweep, which goes on.
pub fn warn(text: &str) {
    anstream::eprintln!("warning: {text}");
}

/// A line from a log made fit for a terminal: no escapes, no control characters, not longer than a glance takes in.
fn printable(line: &str) -> String {
    short(line.trim(), 160)
}
