//! Words of other programs that say how a session ended: the table `phrases.toml`, searched as a whole.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

/// What a line outside of pytest's own text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The head of an interpreter's fatal block.
    Fatal,
    /// The head of faulthandler's watchdog: it looks and goes on.
    Watchdog,
    /// xdist: a worker is gone.
    WorkerLost,
    /// xdist: the controller gave up on crashed workers.
    WorkersGivenUp,
    /// A process died: a shell, an allocator, a loader, a runtime, a debugger or a test runner says so.
    Died,
    /// The same of a process whose output may stand below.
    DiedBelow,
    /// The session was ended from outside.
    EndedOutside,
    /// How a process ended, as a wrapper quotes it; the number is what a POSIX shell would say.
    #[serde(skip)]
    Status(i32),
    /// A wrapper quotes an exit status; the pattern's first group is the number.
    Code,
    /// A wrapper says that the session's process ended well, or goes on with its next step.
    Ended,
    /// A status or a signal of a death, whosever it is.
    Hint,
    /// The engine could not run the container, or there is no pytest in it.
    Engine,
    /// pytest was called wrongly.
    Usage,
    /// Another program's words, or pytest's where it runs no session.
    Other,
}

/// Signals by which a process is asked to end.
const TOLD: [&str; 6] = ["1", "2", "15", "SIGHUP", "SIGINT", "SIGTERM"];

impl Says {
    /// Whether a wrapper quotes the status of a process that died.
    pub(crate) fn is_status_of_death(self) -> bool {
        matches!(self, Says::Status(status) if is_death(status))
    }

    /// Whether a process died.
    pub(crate) fn is_death(self) -> bool {
        matches!(self, Says::Died | Says::DiedBelow)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    phrase: Vec<Row>,
    /// Words of a command that runs tests.
    sessions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    says: Says,
    /// Texts that a line contains.
    #[serde(default)]
    words: Vec<String>,
    /// Patterns; a group called `command` is what a shell ran.
    #[serde(default)]
    like: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "examples are for the test"))]
    matches: Vec<String>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "examples are for the test"))]
    rejects: Vec<String>,
}

struct Phrases {
    /// One search for all patterns decides whether a line is looked at closer.
    set: RegexSet,
    patterns: Vec<(Says, Regex)>,
    sessions: Vec<String>,
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(include_str!("phrases.toml")).expect("the table of phrases is valid"));

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let patterns: Vec<(Says, String)> = TABLE
        .phrase
        .iter()
        .flat_map(|row| {
            let words = row.words.iter().map(|word| regex::escape(word));
            words.chain(row.like.iter().cloned()).map(|pattern| (row.says, pattern))
        })
        .collect();
    let build = |pattern: &String| RegexBuilder::new(pattern).unicode(false).build();
    Phrases {
        set: RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| pattern))
            .unicode(false)
            .build()
            .expect("the patterns are valid together"),
        patterns: patterns
            .iter()
            .map(|(says, pattern)| (*says, build(pattern).expect("the pattern is valid")))
            .collect(),
        sessions: TABLE.sessions.clone(),
    }
});

/// Looks at one line outside of pytest's reports; where it says several things, the first row of the table counts.
pub(super) fn find(text: &str) -> Option<Says> {
    let phrases = &*PHRASES;
    if !phrases.set.is_match(text.as_bytes()) {
        return None;
    }
    let rows = phrases.set.matches(text.as_bytes());
    rows.iter().find_map(|row| {
        let (says, pattern) = &phrases.patterns[row];
        if pattern.captures_len() == 1 {
            return Some(*says);
        }
        let found = pattern.captures(text.as_bytes())?;
        if pattern.capture_names().flatten().any(|name| name == "signal") {
            let signal = found.name("signal").map_or(&b""[..], |signal| signal.as_bytes());
            let is_told = TOLD.iter().any(|told| told.as_bytes() == signal);
            return Some(if is_told { Says::EndedOutside } else { *says });
        }
        if let Some(command) = found.name("command") {
            let command = String::from_utf8_lossy(command.as_bytes());
            return phrases.is_session(&command).then_some(*says);
        }
        let Some(number) = found.iter().skip(1).flatten().next() else {
            return Some(*says);
        };
        let status = status(&String::from_utf8_lossy(number.as_bytes()))?;
        match says {
            Says::Hint => is_death(status).then_some(Says::Hint),
            _ => Some(Says::Status(status)),
        }
    })
}

impl Phrases {
    /// Whether a job that a shell reports on is the session, and not a service that a script ended after it.
    fn is_session(&self, command: &str) -> bool {
        let command = command.trim();
        command.is_empty() || self.sessions.iter().any(|word| command.contains(word.as_str()))
    }
}

/// Whether a status says that a process died, and not that it was asked to end.
pub(crate) fn is_death(status: i32) -> bool {
    matches!(status, 129..=159) && !matches!(status, 129 | 130 | 141 | 143)
}

/// What a POSIX shell would say of a status: 128 and the signal's number where a signal ended the process. Windows tells
/// an exception by its own number, as hexadecimal, as a negative or as a large positive one.
fn status(number: &str) -> Option<i32> {
    let number = match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 32 bits are meant"
    )]
    let windows = number as u32;
    Some(match (number, windows) {
        (-64..=-1, _) => 128 + i32::try_from(-number).ok()?,
        // What is left of a negative status after a second process has passed it on.
        (245 | 247 | 250, _) => 384 - i32::try_from(number).ok()?,
        (0..=255, _) => i32::try_from(number).ok()?,
        // The console was closed, or Control-C was pressed.
        (_, 0xC000_013A) => 130,
        // Stack overrun and fail-fast are how an abort shows, anything else of this kind is a fault.
        (_, 0xC000_0409 | 0x8000_0003) => 134,
        (_, 0xC000_0000..=0xCFFF_FFFF | 0xE06D_7363) => 139,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_matches_its_examples_and_no_text_that_it_rejects() {
        let mut wrong = Vec::new();
        for row in &TABLE.phrase {
            let fits = |text: &str| match find(text) {
                Some(Says::Status(_)) => row.says == Says::Code,
                found => found == Some(row.says),
            };
            wrong.extend(
                row.matches
                    .iter()
                    .filter(|text| !fits(text))
                    .map(|text| format!("{:?} misses {text}", row.says)),
            );
            wrong.extend(
                row.rejects
                    .iter()
                    .filter(|text| fits(text))
                    .map(|text| format!("{:?} takes {text}", row.says)),
            );
            assert!(!row.matches.is_empty(), "{:?} has no example", row.says);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_status_that_a_wrapper_quotes_is_read_in_every_form() {
        for (text, status) in [
            ("##[error]Process completed with exit code 134.", 134),
            ("ERROR: Job failed: exit code 1", 1),
            ("py311: exit -6 (0.42 seconds) /w> pytest pid=1234", 134),
            ("nox > Command pytest failed with exit code -11", 139),
            ("##[error]Bash exited with code '139'.", 139),
            ("script returned exit code -1073741819", 139),
            ("Command exited with code 3221225477", 139),
            ("Process finished with exit code 0xC0000409", 134),
            ("run024: FAILED (exit 1)", 1),
        ] {
            assert_eq!(find(text), Some(Says::Status(status)), "{text}");
        }
    }
}
