//! What of a session was stopped for a while by `--starve`, and when: one line of JSON for each window, told by process 1
//! of its container and written down by the tool.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

/// Most windows of one run that are kept: a day at a share of nine tenths has no more.
pub const MOST_WINDOWS: usize = 600_000;

/// How a session was starved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Means {
    /// The session was not starved, or process 1 did not say.
    #[default]
    None,
    /// Neither way was allowed: stopping threads and letting them come last were both refused.
    Refused,
    /// Threads were stopped.
    Stop,
    /// Threads got the CPUs that no other thread wanted: to stop them was refused.
    Idle,
}

impl Means {
    /// Whether anything was kept from running.
    pub fn is_had(self) -> bool {
        matches!(self, Means::Stop | Means::Idle)
    }
}

/// A stretch of time in which something was stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// When it began, in seconds since the epoch.
    pub at: f64,
    pub duration_s: f64,
    /// Name of the process.
    pub process: String,
    /// Its number inside the container.
    pub pid: i32,
    /// Name of the one thread that was stopped; `None` where the whole process was.
    pub thread: Option<String>,
    /// The thread's number inside the container.
    pub tid: Option<i32>,
    /// How many threads were stopped.
    pub threads: u32,
}

impl Window {
    /// What was stopped, in words; threads and processes that differ by a number alone have one name.
    pub fn what(&self) -> String {
        match &self.thread {
            Some(thread) => format!("thread {}", numberless(thread)),
            None => format!("process {}", numberless(&self.process)),
        }
    }

    /// Whether it lies at least in part between two times, in seconds since the epoch.
    pub fn meets(&self, from: f64, to: f64) -> bool {
        self.at < to && self.at + self.duration_s > from
    }
}

/// A name with `*` for each number that stands apart from it: `worker-3` is one of many, `python3` is not.
fn numberless(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if !c.is_ascii_digit()
            || shown
                .chars()
                .next_back()
                .is_none_or(|last| last.is_ascii_alphanumeric() || last == '.')
        {
            shown.push(c);
        } else if !shown.ends_with('*') {
            shown.push('*');
        }
    }
    shown
}

/// Reads the windows of a run. A line that cannot be read is passed over.
///
/// # Errors
/// Only the reader's own.
pub fn read(reader: impl BufRead) -> io::Result<Vec<Window>> {
    /// No line of ours is nearly as long.
    const LONGEST: usize = 4096;
    let mut windows = Vec::new();
    for line in reader.split(b'\n').take(MOST_WINDOWS) {
        let line = line?;
        if line.len() <= LONGEST
            && let Ok(window) = serde_json::from_slice(&line)
        {
            windows.push(window);
        }
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(thread: Option<&str>, process: &str) -> String {
        let window = Window {
            process: process.to_owned(),
            thread: thread.map(str::to_owned),
            ..Window::default()
        };
        window.what()
    }

    #[test]
    fn threads_that_differ_by_their_number_have_one_name() {
        assert_eq!(named(Some("ThreadPoolExecu"), ""), "thread ThreadPoolExecu");
        assert_eq!(named(Some("worker-12"), "x"), "thread worker-*");
        assert_eq!(named(Some("pool_3-4"), "x"), "thread pool_*-*");
        assert_eq!(named(None, "python3"), "process python3");
        assert_eq!(named(None, "python3.11"), "process python3.11");
    }

    #[test]
    fn windows_are_read_back_and_what_is_no_window_is_passed_over() {
        let window = Window {
            at: 10.0,
            duration_s: 0.5,
            process: "python3".to_owned(),
            pid: 7,
            threads: 3,
            ..Window::default()
        };
        let text = format!("{}\nnonsense\n", serde_json::to_string(&window).unwrap());
        assert_eq!(read(text.as_bytes()).unwrap(), std::slice::from_ref(&window));
        assert!(window.meets(10.4, 11.0) && window.meets(9.0, 10.1));
        assert!(!window.meets(10.5, 11.0) && !window.meets(9.0, 10.0));
    }
}
