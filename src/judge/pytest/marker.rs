//! The marker: the line written into a log before we end a session. What follows the marker is our doing, and no
//! signature reads it.
//!
//! A session can print the same words. Each attempt therefore has a nonce, a random word that the marker carries and
//! `exit.json` keeps; the session has not seen the nonce before the marker is in its log.

use std::time::Duration;

use super::super::{EndedBy, Exit};

/// How every line of ours in a log begins.
pub const PREFIX: &str = "=== reproduce-flaky: ";

/// Who ends the session, in the marker's words; more words may follow these.
const ENDINGS: [(EndedBy, &str); 3] = [
    (EndedBy::Deadline, "deadline"),
    (EndedBy::Silence, "silent for"),
    (EndedBy::Cancel, "interrupted by the user"),
];

/// What stands around the nonce at the end of the line.
const NONCE: (&str, &str) = ("; ending the session [", "] ===");

/// The marker for a total deadline.
pub fn deadline(nonce: &str, total: Duration) -> String {
    let total = humantime::format_duration(total);
    line(nonce, EndedBy::Deadline, &format!(" of {total} passed"))
}

/// The marker for a log that was quiet for too long.
pub fn silence(nonce: &str, quiet: Duration) -> String {
    line(
        nonce,
        EndedBy::Silence,
        &format!(" {}", humantime::format_duration(quiet)),
    )
}

/// The marker for a user who asked to stop.
pub fn cancel(nonce: &str) -> String {
    line(nonce, EndedBy::Cancel, "")
}

/// The marker stands on a line of its own, whatever the session printed last.
fn line(nonce: &str, by: EndedBy, rest: &str) -> String {
    let words = ENDINGS
        .iter()
        .find(|(known, _)| *known == by)
        .map_or("", |(_, words)| words);
    format!("\n{PREFIX}{words}{rest}{}{nonce}{}\n", NONCE.0, NONCE.1)
}

/// The line after a marker that says where it is written down what the session was doing.
pub fn autopsy(file: &str) -> String {
    format!("{PREFIX}what it was doing is in {file} ===\n")
}

/// The line after a marker that says where the session goes on.
pub fn kept(enter: &str) -> String {
    format!("{PREFIX}it goes on; look into it with: {enter} ===\n")
}

/// The line after a marker that says why the session does not go on although it should.
pub fn not_kept(cause: &str) -> String {
    format!("{PREFIX}it could not be kept running: {cause} ===\n")
}

/// A line that reads like a marker, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker<'a> {
    /// Who ended the session; `None` for words that no version of this tool writes.
    pub by: Option<EndedBy>,
    /// The nonce; `None` where the line has none, as in logs of older versions and of the old script.
    pub nonce: Option<&'a str>,
}

impl<'a> Marker<'a> {
    /// Reads a line of a log; `None` for a line that is no marker.
    pub fn read(line: &'a str) -> Option<Marker<'a>> {
        let words = line.trim().strip_prefix(PREFIX)?;
        let by = ENDINGS.iter().find(|(_, known)| words.starts_with(known));
        let nonce = words
            .rsplit_once(NONCE.0)
            .and_then(|(_, rest)| rest.strip_suffix(NONCE.1));
        Some(Marker {
            by: by.map(|(by, _)| *by),
            nonce,
        })
    }

    /// Whether the line is ours, given the exit facts of the run. With facts that have a nonce only that nonce says
    /// so; facts without one are an older version's, and say who ended the session; without facts there is nothing
    /// better than the line.
    pub fn is_ours(&self, exit: Option<&Exit>) -> bool {
        match exit {
            None => true,
            Some(Exit { nonce: Some(nonce), .. }) => self.nonce == Some(nonce),
            Some(exit) => exit.ended_by != EndedBy::Itself,
        }
    }
}

/// The total deadline in the words of our marker, in seconds.
pub(super) fn total(marker: &str) -> Option<f64> {
    let (_, rest) = marker.split_once("deadline of ")?;
    let (total, _) = rest.split_once(" passed")?;
    humantime::parse_duration(total).ok().map(|total| total.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_is_ours_by_its_nonce() {
        let long = Duration::from_mins(11);
        for (by, written) in [
            (EndedBy::Deadline, deadline("5f3a", long)),
            (EndedBy::Silence, silence("5f3a", long)),
            (EndedBy::Cancel, cancel("5f3a")),
        ] {
            let marker = Marker::read(&written).unwrap();
            assert_eq!((marker.by, marker.nonce), (Some(by), Some("5f3a")), "{written}");
            let exit = |nonce: Option<&str>, ended_by| Exit {
                nonce: nonce.map(str::to_owned),
                ended_by,
                ..Exit::default()
            };
            assert!(marker.is_ours(None) && marker.is_ours(Some(&exit(Some("5f3a"), by))));
            assert!(!marker.is_ours(Some(&exit(Some("77aa"), by))), "another iteration's");
            assert!(marker.is_ours(Some(&exit(None, by))), "an older version's");
            assert!(!marker.is_ours(Some(&exit(None, EndedBy::Itself))));
        }
    }

    #[test]
    fn lines_of_older_versions_have_no_nonce_and_other_lines_are_no_markers() {
        let old = Marker::read("=== reproduce-flaky: deadline of 11m passed; ending the session ===").unwrap();
        assert_eq!((old.by, old.nonce), (Some(EndedBy::Deadline), None));
        let other = Marker::read("=== reproduce-flaky: something else ===").unwrap();
        assert_eq!((other.by, other.nonce), (None, None));
        assert_eq!(
            Marker::read("deadline of 11m passed; ending the session [5f3a] ==="),
            None
        );
    }
}
