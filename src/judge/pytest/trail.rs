//! The trail: what a session wrote down about itself while it ran, through our plugin, and how it is read back.
//!
//! A line that was cut, or that another version wrote, is skipped: the trail adds knowledge and never takes any away.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead};
use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::Finder;
use serde::Deserialize;

/// Name under which pytest's `-p` loads the plugin.
pub const PLUGIN_MODULE: &str = "reproduce_flaky_trail";
/// The plugin itself, one file that needs nothing but pytest.
pub const PLUGIN_SOURCE: &str = include_str!("reproduce_flaky_trail.py");
/// Variable that names the file the plugin appends to.
pub const TRAIL_ENV: &str = "REPRODUCE_FLAKY_TRAIL";

/// Variable that names the file with the list of tests that the plugin runs, in that order, and no others.
pub const TESTS_ENV: &str = "REPRODUCE_FLAKY_TESTS";
/// Variable that names the conditions that the plugin brings about.
pub const CONDITIONS_ENV: &str = "REPRODUCE_FLAKY_CONDITIONS";
/// Variable with what their draws begin with.
pub const SEED_ENV: &str = "REPRODUCE_FLAKY_SEED";

/// Longest line taken in; the plugin's own are below 2 KiB plus the node id.
const MAX_LINE: u64 = 256 * 1024;
/// Most tests remembered.
const MAX_TESTS: usize = 200_000;
/// Most failures whose reason is remembered, and most files in collection.
const MAX_FAILED: usize = 20_000;
/// Most workers whose end is remembered.
const MAX_WORKERS: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(alias = "kind", alias = "type")]
    event: Option<String>,
    #[serde(alias = "id", alias = "test")]
    nodeid: Option<String>,
    #[serde(alias = "phase")]
    when: Option<String>,
    #[serde(alias = "result")]
    outcome: Option<String>,
    #[serde(default)]
    worker: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    exit_status: Option<i32>,
    /// In seconds, as earlier versions wrote it.
    #[serde(default)]
    at: Option<f64>,
    #[serde(default)]
    at_ns: Option<u64>,
    /// A test that passed in all phases, or failed as lines before this one say, and has ended.
    #[serde(default)]
    ended: Option<String>,
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    gateway: Option<String>,
    #[serde(default)]
    status: Option<i32>,
    #[serde(default)]
    waited_s: Option<f64>,
}

/// The little of a line that says that a test began.
#[derive(Deserialize)]
struct Start {
    #[serde(alias = "kind", alias = "type")]
    event: String,
    #[serde(alias = "id", alias = "test")]
    nodeid: String,
}

static START: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"start\""));

/// One test as the trail tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Its node id.
    pub id: String,
    /// xdist worker it ran on.
    pub worker: Option<String>,
    /// Process that ran it, or forked to do so.
    pub pid: Option<u32>,
    /// When it began, in seconds since the epoch.
    pub at: Option<f64>,
    /// Whether its teardown was reported.
    pub is_done: bool,
    /// Whether a phase failed.
    pub is_failed: bool,
    /// Whether it failed and another attempt follows.
    pub is_rerun: bool,
    /// First line of why, and the line of the trail that has it.
    pub reason: Option<(u64, String)>,
}

/// How a worker of xdist ended, as the process that waited for it says.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerEnd {
    /// Its name, such as `gw0`.
    pub worker: String,
    /// Its exit code; a signal that ended it as a negative number.
    pub status: i32,
    /// How long xdist had waited for all workers to end, in seconds: it kills those that take too long.
    pub waited_s: f64,
    /// Line of the trail.
    pub line: u64,
}

/// Everything a trail tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// Tests in the order they began; a rerun is an entry of its own.
    pub tests: Vec<Test>,
    /// Tests that failed and were run again in the same session, in the order of their first rerun.
    pub reran: Vec<String>,
    /// Tests that were selected to run, where the session got that far.
    pub selected: Option<u64>,
    /// How xdist's workers ended.
    pub workers: Vec<WorkerEnd>,
    /// Files that could not be collected, why, and the line of the trail.
    pub collect_errors: Vec<(String, String, u64)>,
    /// Files whose collection began and did not end.
    pub collecting: BTreeSet<String>,
    /// Whether a child that a test forked went on as a session of its own; its tests are left out.
    pub has_forked: bool,
    /// Whether the process that runs the session, not one of its workers, reached the session's end.
    pub is_finished: bool,
    /// pytest's own exit status at the end.
    pub exit_status: Option<i32>,
    /// When the last line was written, in seconds since the epoch.
    pub last_at: Option<f64>,
    /// Longest time between two lines, in seconds.
    pub longest_gap: f64,
    /// Whether it was interrupted from the keyboard or by SIGINT.
    pub is_interrupted: bool,
    /// pytest's internal error, and the line of the trail.
    pub internal_error: Option<(u64, String)>,
    /// Lines read.
    pub lines: u64,
}

impl Trail {
    /// Tests that began and did not end.
    pub fn unfinished(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(|test| !test.is_done)
    }

    /// Tests that ran before this one in the same process, in the order they first ran; `None` where it never began.
    /// Of several times that it ran the one counts that failed or did not end.
    pub fn before(&self, id: &str) -> Option<Vec<&str>> {
        let ran =
            |is_sought: &dyn Fn(&Test) -> bool| self.tests.iter().position(|test| test.id == id && is_sought(test));
        let at = ran(&|test| test.is_failed || !test.is_done).or_else(|| ran(&|_| true))?;
        let own = &self.tests[at];
        let is_beside = |test: &&Test| test.worker == own.worker && test.pid == own.pid;
        let mut before: Vec<&str> = Vec::new();
        let mut seen = HashSet::from([id]);
        for test in self.tests[..at].iter().filter(is_beside) {
            if seen.insert(&test.id) {
                before.push(&test.id);
            }
        }
        Some(before)
    }

    /// The test that a process ran last: a worker's, or that of the session itself.
    pub fn last_of(&self, worker: Option<&str>) -> Option<&Test> {
        self.tests.iter().rev().find(|test| test.worker.as_deref() == worker)
    }
}

/// Reads a trail to its end.
///
/// # Errors
/// Only the reader's own.
pub fn read(mut reader: impl BufRead) -> io::Result<Trail> {
    let mut reading = Reading::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(reading.finish());
        }
        reading.trail.lines += 1;
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
            reading.take(entry);
        }
    }
}

/// A trail while it is read.
#[derive(Default)]
struct Reading {
    trail: Trail,
    /// Processes that began a session or are its workers. A child that a test forks inherits the trail, and may go on
    /// as a second session: what it writes is not the session's account.
    processes: HashSet<u32>,
    /// The process that runs the session.
    main: Option<u32>,
    /// Tests that failed so far.
    n_failed: usize,
    /// Those of `reran`.
    reran: HashSet<String>,
    /// Places of tests that have begun and not ended.
    running: HashMap<(Option<u32>, Option<String>, String), usize>,
}

impl Reading {
    fn is_own(&self, pid: Option<u32>) -> bool {
        pid.is_none_or(|pid| self.processes.is_empty() || self.processes.contains(&pid))
    }

    fn take(&mut self, mut entry: Entry) {
        if let Some(ended) = entry.ended.take() {
            self.end(&(entry.pid, entry.worker.clone(), ended));
        }
        let trail = &mut self.trail;
        let number = trail.lines;
        let nanoseconds = entry.at_ns.map(|at| Duration::from_nanos(at).as_secs_f64());
        entry.at = entry.at.or(nanoseconds);
        if let Some(at) = entry.at {
            let gap = trail.last_at.map_or(0.0, |last| at - last);
            trail.longest_gap = trail.longest_gap.max(gap);
            trail.last_at = Some(at);
        }
        let is_controlling = entry.role.as_deref() != Some("worker") && entry.worker.is_none();
        let is_main = is_controlling && (self.main.is_none() || entry.pid == self.main);
        match (entry.event.as_deref().unwrap_or(""), entry.nodeid.take()) {
            ("session_start", _) => {
                self.processes.extend(entry.pid);
                if is_controlling {
                    self.main = entry.pid;
                    trail.is_finished = false;
                    trail.collecting.clear();
                }
            }
            ("selected", _) => trail.selected = trail.selected.max(entry.count),
            ("worker_exit", _) if is_main && trail.workers.len() < MAX_WORKERS => {
                if let (Some(worker), Some(status)) = (entry.gateway, entry.status) {
                    let waited_s = entry.waited_s.unwrap_or_default();
                    let line = number;
                    trail.workers.push(WorkerEnd {
                        worker,
                        status,
                        waited_s,
                        line,
                    });
                }
            }
            ("session_finish", _) if is_main => {
                trail.is_finished = true;
                trail.exit_status = entry.exit_status;
            }
            ("interrupted", _) if is_main => trail.is_interrupted = true,
            ("internal_error", _) => trail.internal_error = Some((number, entry.reason.unwrap_or_default())),
            ("collect_error", Some(id)) if trail.collect_errors.len() < MAX_FAILED => {
                let reason = entry.reason.unwrap_or_default();
                trail.collect_errors.push((id, reason, number));
            }
            ("collect", Some(id)) if trail.collecting.len() < MAX_FAILED => {
                trail.collecting.insert(id);
            }
            ("collect" | "collect_error", Some(_)) => {}
            ("collected", Some(id)) => {
                trail.collecting.remove(&id);
            }
            ("start", Some(id)) if trail.tests.len() < MAX_TESTS => {
                trail.tests.push(Test {
                    id: id.clone(),
                    worker: entry.worker.clone(),
                    pid: entry.pid,
                    at: entry.at,
                    is_done: false,
                    is_failed: false,
                    is_rerun: false,
                    reason: None,
                });
                self.running
                    .insert((entry.pid, entry.worker, id), trail.tests.len() - 1);
            }
            (_, Some(id)) => {
                let key = (entry.pid, entry.worker.take(), id);
                self.phase(&key, entry);
            }
            _ => {}
        }
    }

    /// One phase of a test is over.
    fn phase(&mut self, key: &(Option<u32>, Option<String>, String), entry: Entry) {
        let Some(at) = self.running.get(key) else { return };
        let test = &mut self.trail.tests[*at];
        let (outcome, when) = (entry.outcome.as_deref(), entry.when.as_deref());
        match outcome {
            Some("failed" | "error") => {
                self.n_failed += usize::from(!test.is_failed);
                test.is_failed = true;
                if test.reason.is_none() && self.n_failed < MAX_FAILED {
                    test.reason = entry.reason.map(|reason| (self.trail.lines, reason));
                }
            }
            // The attempt ends here; the next one begins with a line of its own.
            Some("rerun") => {
                (test.is_failed, test.is_rerun) = (false, true);
                if self.trail.reran.len() < MAX_FAILED && self.reran.insert(test.id.clone()) {
                    self.trail.reran.push(test.id.clone());
                }
            }
            _ => {}
        }
        // A forked child that died is reported without a phase.
        if matches!(when, Some("teardown" | "???") | None) || outcome == Some("rerun") {
            self.end(key);
        } else {
            test.is_done = false;
        }
    }

    /// A test is over.
    fn end(&mut self, key: &(Option<u32>, Option<String>, String)) {
        if let Some(at) = self.running.remove(key) {
            self.trail.tests[at].is_done = true;
        }
    }

    fn finish(mut self) -> Trail {
        let tests = std::mem::take(&mut self.trail.tests);
        let (own, forked): (Vec<Test>, Vec<Test>) = tests.into_iter().partition(|test| self.is_own(test.pid));
        // Where all tests run in children, as some plugins do it, they are the session's.
        self.trail.has_forked = !own.is_empty() && !forked.is_empty();
        self.trail.tests = if own.is_empty() { forked } else { own };
        self.trail
    }
}

/// The tests that a session began, each once; `None` where nothing was written down. Most lines say how a phase ended
/// and are not looked into, which makes this several times as fast as [`read`].
///
/// # Errors
/// Only the reader's own.
pub fn started(mut reader: impl BufRead) -> io::Result<Option<BTreeSet<String>>> {
    let mut any = false;
    let mut started = BTreeSet::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(any.then_some(started));
        }
        any = true;
        if START.find(&line).is_some()
            && let Ok(Start { event, nodeid }) = serde_json::from_slice(&line)
            && event == "start"
            && started.len() < MAX_TESTS
        {
            started.insert(nodeid);
        }
    }
}

#[cfg(test)]
mod tests;
