//! The order in which tests ran, as a verbose console tells it: for runs that left no trail.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::lines::Lines;
use super::marker::Marker;
use super::shape;
use crate::judge::Exit;

/// The tests that ran in the process of `test` before it, in order; `None` where the console does not name it as
/// having begun or ended. What follows our own marker, which the exit facts tell from one that a test printed, is our
/// doing. xdist names a test when it is handed out, and again, with its worker, when it has ended.
///
/// # Errors
/// Only the reader's own.
pub fn before(reader: impl BufRead, exit: Option<&Exit>, test: &str) -> io::Result<Option<Vec<String>>> {
    let mut lines = Lines::new(reader);
    let mut ended: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    let mut begun: Vec<String> = Vec::new();
    while let Some(line) = lines.next_line()? {
        if Marker::read(line.text).is_some_and(|marker| marker.is_ours(exit)) {
            break;
        }
        let Some(progress) = shape::progress(line.text.trim_start()) else {
            continue;
        };
        let (id, worker) = (progress.id.to_owned(), progress.worker.map(str::to_owned));
        if progress.status.is_none() && worker.is_none() {
            begun.push(id);
        } else {
            let tests = ended.entry(worker).or_default();
            if tests.last() != Some(&id) {
                tests.push(id);
            }
        }
    }
    for tests in ended.values() {
        if let Some(at) = tests.iter().position(|id| id == test) {
            return Ok(Some(tests[..at].to_vec()));
        }
    }
    // It never ended. Without workers everything that ended ran before it.
    let is_alone = ended.keys().all(Option::is_none);
    Ok((is_alone && begun.iter().any(|id| id == test)).then(|| ended.remove(&None).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str, test: &str) -> Option<Vec<String>> {
        before(text.as_bytes(), None, test).unwrap()
    }

    #[test]
    fn a_serial_session_tells_what_ran_before_the_test_it_died_in() {
        let log = "t.py::a PASSED  [ 33%]\nt.py::b[x y] FAILED  [ 66%]\nt.py::c Fatal Python error: Aborted\n";
        assert_eq!(
            order(log, "t.py::c"),
            Some(vec!["t.py::a".into(), "t.py::b[x y]".into()])
        );
        assert_eq!(order(log, "t.py::b[x y]"), Some(vec!["t.py::a".into()]));
        assert_eq!(order(log, "t.py::d"), None);
    }

    #[test]
    fn workers_are_kept_apart() {
        let log = "t.py::a \nt.py::b \n[gw1] [ 25%] PASSED t.py::b \n[gw0] [ 50%] PASSED t.py::a \n\
            [gw0] [ 75%] FAILED t.py::c \n[gw1] [100%] PASSED t.py::d \n";
        assert_eq!(order(log, "t.py::c"), Some(vec!["t.py::a".into()]));
        assert_eq!(order(log, "t.py::d"), Some(vec!["t.py::b".into()]));
    }

    #[test]
    fn what_follows_a_marker_counts_unless_the_marker_is_another_sessions() {
        let log = "t.py::a PASSED\n=== reproduce-flaky: deadline of 1s passed; ending the session [5f3a] ===\n\
            t.py::b PASSED\nt.py::c PASSED\n";
        let exit = |nonce: &str| Exit {
            nonce: Some(nonce.to_owned()),
            ..Exit::default()
        };
        let order = |nonce: &str| before(log.as_bytes(), Some(&exit(nonce)), "t.py::c").unwrap();
        assert_eq!(order("77aa"), Some(vec!["t.py::a".into(), "t.py::b".into()]));
        assert_eq!(order("5f3a"), None);
    }

    #[test]
    fn dots_tell_nothing() {
        assert_eq!(order("t.py ..F.   [100%]\n", "t.py::a"), None);
    }
}
