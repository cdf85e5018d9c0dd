//! The trail: what a session wrote down about itself while it ran, through our plugin, and how it is read back.
//!
//! A line that was cut, or that another version wrote, is skipped: the trail adds knowledge and never takes any away.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead};
use std::sync::LazyLock;

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

/// Longest line taken in; the plugin's own are below 2 KiB plus the node id.
const MAX_LINE: u64 = 256 * 1024;
/// Most tests remembered.
const MAX_TESTS: usize = 200_000;

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
    #[serde(default)]
    at: Option<f64>,
    #[serde(default)]
    pid: Option<u32>,
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
    /// First line of why, and the line of the trail that has it.
    pub reason: Option<(u64, String)>,
}

/// Everything a trail tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// Tests in the order they began; a rerun is an entry of its own.
    pub tests: Vec<Test>,
    /// Files that could not be collected, why, and the line of the trail.
    pub collect_errors: Vec<(String, String, u64)>,
    /// Files whose collection began and did not end.
    pub collecting: Vec<String>,
    /// Whether the process that runs the session, not one of its workers, reached the session's end.
    pub is_finished: bool,
    /// pytest's own exit status at the end.
    pub exit_status: Option<i32>,
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
    #[must_use]
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
    #[must_use]
    pub fn last_of(&self, worker: Option<&str>) -> Option<&Test> {
        self.tests.iter().rev().find(|test| test.worker.as_deref() == worker)
    }
}

/// Reads a trail to its end.
///
/// # Errors
/// Only the reader's own.
pub fn read(mut reader: impl BufRead) -> io::Result<Trail> {
    let mut trail = Trail::default();
    // Which entry of `tests` a worker's running test is.
    let mut current: HashMap<(Option<String>, String), usize> = HashMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        trail.lines += 1;
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
            let number = trail.lines;
            take(&mut trail, &mut current, entry, number);
        }
    }
    Ok(trail)
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

fn take(trail: &mut Trail, current: &mut HashMap<(Option<String>, String), usize>, entry: Entry, number: u64) {
    let event = entry.event.as_deref().unwrap_or("");
    let is_controlling = entry.role.as_deref() != Some("worker") && entry.worker.is_none();
    match (event, entry.nodeid) {
        ("session_start", _) if is_controlling => {
            trail.is_finished = false;
            trail.collecting.clear();
        }
        ("session_finish", _) if is_controlling => {
            trail.is_finished = true;
            trail.exit_status = entry.exit_status;
        }
        ("interrupted", _) if is_controlling => trail.is_interrupted = true,
        ("internal_error", _) => trail.internal_error = Some((number, entry.reason.unwrap_or_default())),
        ("collect_error", Some(id)) => trail
            .collect_errors
            .push((id, entry.reason.unwrap_or_default(), number)),
        ("collect", Some(id)) if !trail.collecting.contains(&id) => trail.collecting.push(id),
        ("collect", Some(_)) => {}
        ("collected", Some(id)) => trail.collecting.retain(|known| *known != id),
        ("start", Some(id)) => {
            let key = (entry.worker, id);
            if trail.tests.len() < MAX_TESTS {
                trail.tests.push(Test {
                    id: key.1.clone(),
                    worker: key.0.clone(),
                    pid: entry.pid,
                    at: entry.at,
                    is_done: false,
                    is_failed: false,
                    reason: None,
                });
                current.insert(key, trail.tests.len() - 1);
            }
        }
        (_, Some(id)) => {
            let Some(test) = current.get(&(entry.worker, id)).and_then(|at| trail.tests.get_mut(*at)) else {
                return;
            };
            match entry.outcome.as_deref() {
                Some("failed" | "error") => {
                    test.is_failed = true;
                    if let Some(reason) = entry.reason
                        && test.reason.is_none()
                    {
                        test.reason = Some((number, reason));
                    }
                }
                // The attempt ends here; the next one begins with a line of its own.
                Some("rerun") => test.is_failed = false,
                _ => {}
            }
            // A forked child that died is reported without a phase.
            test.is_done |= matches!(entry.when.as_deref(), Some("teardown" | "???") | None)
                || entry.outcome.as_deref() == Some("rerun");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_names_the_test_that_did_not_end() {
        let trail = read(
            br#"{"event":"session_start","role":"main","worker":null,"pid":1,"at":1.0}
{"event":"start","nodeid":"a.py::test_a","worker":null,"pid":1,"at":1.0}
{"event":"phase","nodeid":"a.py::test_a","when":"call","outcome":"failed","reason":"AssertionError: x","worker":null,"pid":1,"at":1.0}
{"event":"phase","nodeid":"a.py::test_a","when":"teardown","outcome":"passed","worker":null,"pid":1,"at":1.0}
{"event":"start","nodeid":"a.py::test_b","worker":null,"pid":1,"at":1.0}
not json
{"event":"phase","nodeid":"a.py::te"#
                .as_slice(),
        )
        .unwrap();
        assert_eq!(trail.tests.len(), 2);
        assert!(trail.tests[0].is_failed && trail.tests[0].is_done);
        assert_eq!(trail.tests[0].reason, Some((3, "AssertionError: x".to_owned())));
        assert_eq!(
            trail.unfinished().map(|test| test.id.as_str()).collect::<Vec<_>>(),
            ["a.py::test_b"]
        );
        assert_eq!(trail.before("a.py::test_b"), Some(vec!["a.py::test_a"]));
        assert_eq!(trail.before("a.py::test_c"), None);
        assert!(!trail.is_finished);
    }

    #[test]
    fn a_file_whose_collection_did_not_end_is_known() {
        let lines = r#"{"event":"collect","nodeid":"a.py","worker":"gw0"}
{"event":"collect","nodeid":"a.py","worker":"gw1"}
{"event":"collected","nodeid":"a.py","worker":"gw0"}
{"event":"collect","nodeid":"b.py","worker":"gw0"}
"#;
        let trail = read(lines.as_bytes()).unwrap();
        assert_eq!(trail.collecting, ["b.py"]);
        assert!(trail.tests.is_empty());
        let anew = format!("{lines}{}", r#"{"event":"session_start","role":"main"}"#);
        assert!(read(anew.as_bytes()).unwrap().collecting.is_empty());
    }

    #[test]
    fn a_worker_that_was_replaced_starts_anew_and_reruns_count_once() {
        let lines: Vec<String> = [
            ("a", "gw0", 10),
            ("b", "gw1", 11),
            ("c", "gw0", 10),
            ("d", "gw0", 12),
            ("e", "gw0", 12),
            ("e", "gw0", 12),
            ("f", "gw0", 12),
        ]
        .map(|(id, worker, pid)| {
            format!("{{\"event\":\"start\",\"nodeid\":\"{id}\",\"worker\":\"{worker}\",\"pid\":{pid}}}\n")
        })
        .to_vec();
        let lines = lines.concat();
        let trail = read(lines.as_bytes()).unwrap();
        assert_eq!(trail.before("c"), Some(vec!["a"]));
        assert_eq!(trail.before("f"), Some(vec!["d", "e"]));
        assert_eq!(trail.last_of(Some("gw1")).map(|test| test.id.as_str()), Some("b"));
    }

    #[test]
    fn the_tests_that_began_are_those_of_the_whole_reading() {
        let log = br#"{"event":"session_start","role":"main","worker":null}
{"nodeid": "t.py::test_a[\"start\"]", "event": "start", "worker": null}
{"event":"phase","nodeid":"t.py::test_phase_of_none","when":"call","outcome":"failed","reason":"\"start\""}
{"event":"start","nodeid":"t.py::test_b","worker":"gw0","pid":1,"at":1.0}
{"event":"start","nodeid":"t.py::test_b","worker":"gw0","pid":1,"at":2.0}
{"event":"start","nodeid":"t.py::te"#
            .as_slice();
        let all: BTreeSet<String> = read(log).unwrap().tests.into_iter().map(|test| test.id).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(started(log).unwrap(), Some(all));
        assert_eq!(started(b"".as_slice()).unwrap(), None);
        assert_eq!(started(b"not json\n".as_slice()).unwrap(), Some(BTreeSet::new()));
    }

    #[test]
    fn only_the_session_itself_and_no_worker_says_that_it_ended() {
        let worker = br#"{"event":"session_finish","role":"worker","exit_status":0,"worker":"gw0"}"#;
        assert!(!read(worker.as_slice()).unwrap().is_finished);
        let main = br#"{"event":"session_finish","role":"controller","exit_status":0,"worker":null}"#;
        assert!(read(main.as_slice()).unwrap().is_finished);
    }
}
