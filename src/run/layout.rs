//! Names of files and directories, and the order in which people expect them.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The trail: what ran and how, written by the session itself.
pub const TRAIL: &str = "tests.jsonl";

pub(super) const SPEC: &str = "sweep.json";
pub(super) const LOCK: &str = ".lock";
pub(super) const CLAIMS: &str = ".claims";
/// Where a run was merged from.
pub(super) const MERGED: &str = "merged.json";
/// What bundle a run came in with.
pub(super) const IMPORTED: &str = "imported.json";
/// What was handed to engines, a file for each.
pub(super) const TICKETS: &str = "tickets";
pub(super) const ATTEMPTS: &str = ".attempts";
/// What stands between a run's name and a number in the name of an answer that `--retry` set aside.
pub(super) const RETRIED: &str = ".retried-";
pub(super) const RESULTS: &str = "results.txt";
pub(super) const RESULTS_CSV: &str = "results.csv";
pub(super) const SUMMARY: &str = "summary.txt";
/// Ending of what the script had written under a name of ours.
pub(super) const OF_THE_SCRIPT: &str = ".script";
pub(super) const EVENTS: &str = "events.jsonl";

/// What the session of an attempt sees, in the tool's own directory of the attempt.
pub(super) const SESSION: &str = "session";
pub(super) const LOG: &str = "run.log";
/// The script's name for the log.
pub(super) const OLD_LOG: &str = "pytest.log";
pub(super) const EXIT: &str = "exit.json";
pub(super) const OUTCOME: &str = "outcome.json";
pub(super) const EXIT_CODE: &str = ".exit_code";
/// What was stopped for a while by the sweep's own condition, and when.
pub(super) const STARVED: &str = "starved.jsonl";
/// Why an attempt is no result; only in directories of lost attempts.
pub(super) const LOST: &str = "lost.txt";
/// Where processes write their stacks when they are asked for them; no part of a run that is recorded.
pub const STACKS: &str = ".stacks";
/// What was collected before a session was ended from outside.
pub const AUTOPSY: &str = "autopsy";

/// What only the tool writes in a run's directory: of these names a session's files are never taken for its own.
pub(super) const OURS: [&str; 11] = [
    LOG, OLD_LOG, EXIT, OUTCOME, EXIT_CODE, LOST, AUTOPSY, MERGED, IMPORTED, STARVED, SESSION,
];

/// Directory of an iteration: `run007`, and `run1000` where three digits are not enough.
pub fn run_name(iteration: u32) -> String {
    format!("run{iteration:03}")
}

/// The iteration a directory is named after; iterations count from 1.
pub fn iteration_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("run")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|iteration| is_number && *iteration > 0)
}

/// Where an iteration may have been recorded: our name, and those of trees that pad otherwise.
pub(super) fn run_paths(sweep: &Path, iteration: u32) -> [PathBuf; 4] {
    [
        sweep.join(run_name(iteration)),
        sweep.join(format!("run{iteration}")),
        sweep.join(format!("run{iteration:02}")),
        sweep.join(format!("run{iteration:04}")),
    ]
}

/// Orders names as people do: `n4_fix8` before `n4_fix13`, `run99` before `run100`.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, other) = (digits(&mut left), digits(&mut right));
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            left = &left[x.len_utf8()..];
            right = &right[y.len_utf8()..];
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes the digits off the front; without leading zeros, longer means larger.
fn digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    number.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_are_read_back_from_their_directories_names() {
        for iteration in [1, 7, 99, 100, 999, 1000, 123_456] {
            assert_eq!(iteration_of(&run_name(iteration)), Some(iteration));
        }
        assert_eq!(run_name(7), "run007");
        assert_eq!(run_name(1000), "run1000");
        for name in [
            "run",
            "run000",
            "run-1",
            "run+1",
            "run1.bak",
            "xrun1",
            "runs",
            "run99999999999",
        ] {
            assert_eq!(iteration_of(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_ordered_by_the_numbers_in_them() {
        let mut names = ["n16", "n4_fix13", "n4_fix8", "serial", "n4", "n4_fix08", "n1"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["n1", "n4", "n4_fix08", "n4_fix8", "n4_fix13", "n16", "serial"]);
    }
}
