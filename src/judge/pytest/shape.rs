//! What one console line is: a title between rules, a test's result, a row of letters, a line of the short summary.
//!
//! Each function looks at a line alone; what the line means where it stands is `console`'s to say.

use super::nodeid;
use crate::judge::Counts;

/// A title between two rules of one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The character the rules are made of.
    pub fill: char,
    pub title: &'a str,
    /// Width of the whole line in characters, which is that of the terminal pytest assumed.
    pub width: usize,
    /// Whether the title left room for one character of rule only.
    pub is_tight: bool,
}

/// Reads `===== FAILURES =====` and its relatives with `!`, `_`, `-`, `+`, `~`, and pytest-sugar's horizontal bar.
pub fn rule(text: &str) -> Option<Rule<'_>> {
    let mut text = text.trim_end();
    // A log that somebody pasted may be indented.
    if let Some(rule) = text.strip_prefix("  ").or_else(|| text.strip_prefix(' '))
        && rule.starts_with("==========")
    {
        text = rule;
    }
    let fill = text.chars().next()?;
    if !matches!(fill, '=' | '!' | '_' | '-' | '+' | '~' | '―') {
        return None;
    }
    let title = text.trim_start_matches(fill);
    let left = text.len() - title.len();
    let title = title.trim_end_matches(fill);
    if left + title.len() == text.len() {
        return None;
    }
    let title = title.strip_prefix(' ')?.strip_suffix(' ')?;
    // `_ _ _ _` divides the entries of a traceback and names nothing.
    if title.is_empty() || (fill == '_' && title.bytes().all(|byte| byte == b'_' || byte == b' ')) {
        return None;
    }
    Some(Rule {
        fill,
        title,
        width: text.chars().count(),
        is_tight: left == fill.len_utf8(),
    })
}

/// How one test, or one phase of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Passed,
    Skipped,
    /// Failed as expected.
    XFailed,
    /// Passed unexpectedly.
    XPassed,
    /// A part of a test that did not fail.
    Part,
    Failed,
    /// Setup or teardown failed.
    Error,
    /// Failed and will be tried again.
    Rerun,
}

impl Status {
    /// Whether there is nothing to explain.
    pub fn is_fine(self) -> bool {
        !matches!(self, Status::Failed | Status::Error | Status::Rerun)
    }

    /// Counts it once.
    pub fn count(self, counts: &mut Counts) {
        match self {
            Status::Passed => counts.passed += 1,
            Status::Skipped => counts.skipped += 1,
            Status::XFailed => counts.xfailed += 1,
            Status::XPassed => counts.xpassed += 1,
            Status::Part => {}
            Status::Failed => counts.failed += 1,
            Status::Error => counts.errors += 1,
            Status::Rerun => counts.rerun += 1,
        }
    }
}

/// Words for a result, pytest's and those of its plugins.
const STATUS: &[(&str, Status)] = &[
    ("PASSED", Status::Passed),
    ("SKIPPED", Status::Skipped),
    ("XFAIL", Status::XFailed),
    ("xfail", Status::XFailed),
    ("XPASS", Status::XPassed),
    ("SUBPASSED", Status::Part),
    ("SUBPASS", Status::Part),
    ("SUBSKIPPED", Status::Part),
    ("SUBSKIP", Status::Part),
    ("SUBXFAIL", Status::Part),
    ("SUBXPASS", Status::Part),
    ("FAILED", Status::Failed),
    ("SUBFAILED", Status::Failed),
    ("SUBFAIL", Status::Failed),
    ("ERROR", Status::Error),
    ("RERUN", Status::Rerun),
    ("RETRY", Status::Rerun),
    ("RETRIED", Status::Rerun),
];

/// The first half of pytest-run-parallel's words.
const PARALLEL: &str = "PARALLEL ";

fn status(word: &str) -> Option<Status> {
    STATUS
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, status)| *status)
}

/// A line about one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    pub id: &'a str,
    /// How it ended; `None` when it has only begun.
    pub status: Option<Status>,
    /// The xdist worker it ran on.
    pub worker: Option<&'a str>,
    /// How much of the session was done then.
    pub percent: Option<u32>,
    /// What other processes wrote on the line before pytest's words.
    pub before: &'a str,
    /// What else stands on the line after the id or the result.
    pub rest: &'a str,
}

/// Reads `tests/a.py::test_x PASSED [ 50%]`, `[gw0] [ 50%] PASSED tests/a.py::test_x` and a test that has begun.
pub fn progress(text: &str) -> Option<Progress<'_>> {
    let is_started = nodeid::starts(text);
    let end = if is_started { nodeid::length(text) } else { 0 };
    // An id may quote a worker's line.
    if let Some(at) = text[end..].find("[gw").map(|at| end + at)
        && at < 200
        && let Some(found) = worker_progress(text, at)
    {
        return Some(found);
    }
    if !is_started {
        return None;
    }
    let (id, rest) = text.split_at(end);
    let of = |id, status, rest| Progress {
        id: below_root(id),
        status: Some(status),
        worker: None,
        percent: percent_at_end(rest),
        before: "",
        rest,
    };
    if let Some((status, rest)) = leading_status(rest.trim_start()) {
        return Some(of(id, status, rest));
    }
    for (at, _) in text[end..].match_indices(' ').map(|(at, space)| (end + at, space)) {
        if let Some((status, rest)) = leading_status(&text[at + 1..])
            && is_result_tail(rest)
            && at > end
        {
            // A subtest's description stands behind the id; else a parameter with a blank after a bracket ends later.
            let is_described = text[at + 1..].starts_with("SUB");
            return Some(of(if is_described { id } else { text[..at].trim_end() }, status, rest));
        }
    }
    Some(Progress {
        id: below_root(id),
        status: None,
        worker: None,
        percent: None,
        before: "",
        rest: rest.trim(),
    })
}

/// The id itself: a session that was started in a directory below its root shows paths from there.
fn below_root(id: &str) -> &str {
    id.trim_start_matches("../")
}

fn worker_progress(text: &str, at: usize) -> Option<Progress<'_>> {
    let (before, text) = text.split_at(at);
    let close = text.find(']')?;
    let worker = &text[1..close];
    worker.get(2..)?.parse::<u32>().ok()?;
    let rest = text[close + 1..].trim_start();
    let (done, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']')?;
            (percent(inside), rest.trim_start())
        }
        None => (None, rest),
    };
    let (status, rest) = leading_status(rest)?;
    let rest = rest.trim_start();
    if !nodeid::starts(rest) && !nodeid::is_file(rest.trim_end()) {
        return None;
    }
    let end = nodeid::length(rest);
    // Nothing of pytest's own but a percentage follows the id here: a rest that ends in another bracket is the id's.
    let is_more_id =
        rest[..end].contains('[') && rest.trim_end().ends_with(']') && percent_at_end(&rest[end..]).is_none();
    let end = if is_more_id { rest.trim_end().len() } else { end };
    Some(Progress {
        id: below_root(&rest[..end]),
        status: Some(status),
        worker: Some(worker),
        percent: done,
        before,
        rest: rest[end..].trim(),
    })
}

fn leading_status(text: &str) -> Option<(Status, &str)> {
    let text = text.strip_prefix(PARALLEL).unwrap_or(text);
    let end = text
        .find(|char: char| !char.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let found = status(&text[..end])?;
    let rest = &text[end..];
    // `ERROR: Job failed`, where the cursor stood behind a running test's id, is another program's word.
    (rest.is_empty() || rest.starts_with([' ', '\t', '[', '('])).then_some((found, rest))
}

/// Whether what follows a result is what pytest prints there: nothing, a reason in parentheses, a percentage.
fn is_result_tail(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('(') || text.starts_with('[')
}

/// Reads a result that stands alone, after a test's own output: `PASSED`, `outputFAILED   [ 50%]`.
pub fn late_status(text: &str) -> Option<Status> {
    let text = text.trim_end();
    let (text, has_percent) = match text.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((rest, inside)) if percent(inside).is_some() => (rest.trim_end(), true),
        _ => (text, false),
    };
    let start = text
        .rfind(|char: char| !char.is_ascii_uppercase())
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let word = &text[start..];
    let is_behind = |known: &&(&str, Status)| has_percent && word.ends_with(known.0);
    let found = status(word).or_else(|| STATUS.iter().find(is_behind).map(|(_, status)| *status))?;
    (has_percent || start == 0).then_some(found)
}

/// What stands between the brackets at the end of a row: `50%`, or `5/10` where tests are counted.
fn percent(inside: &str) -> Option<u32> {
    match inside.split_once('/') {
        Some((done, all)) => {
            let (done, all): (u32, u32) = (done.trim().parse().ok()?, all.trim().parse().ok()?);
            u32::try_from(u64::from(done) * 100 / u64::from(all.max(1))).ok()
        }
        None => inside.trim().strip_suffix('%')?.trim().parse().ok(),
    }
}

/// How much of the session was done at the end of a row.
pub fn percent_at_end(row: &str) -> Option<u32> {
    percent(row.trim_end().strip_suffix(']')?.rsplit_once('[')?.1)
}

/// A row of one letter a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letters<'a> {
    /// The file whose tests they are; workers' results carry none.
    pub file: Option<&'a str>,
    pub letters: &'a str,
    /// Percentage at the end of the row.
    pub percent: Option<u32>,
    /// What stands after them that is not pytest's.
    pub rest: &'a str,
}

impl Letters<'_> {
    /// Tests of the row that failed: pytest's own letters, and pytest-run-parallel's small one.
    pub fn failed(&self) -> u64 {
        self.letters
            .bytes()
            .filter(|letter| matches!(letter, b'F' | b'E' | b'e'))
            .count() as u64
    }

    /// Tests of the row by how they ended.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for letter in self.letters.chars() {
            let status = match letter {
                '.' | '\u{b7}' => Status::Passed,
                's' => Status::Skipped,
                'x' => Status::XFailed,
                'X' => Status::XPassed,
                'F' | 'u' => Status::Failed,
                'E' | 'e' => Status::Error,
                'R' => Status::Rerun,
                _ => Status::Part,
            };
            status.count(&mut counts);
        }
        counts
    }
}

const LETTERS: &str = ".FEsxXRru,-";
/// pytest-run-parallel's letters; a row of its own has a dot in the middle of the line, or a percentage.
const PARALLEL_LETTERS: &str = ".FEsxXRru,-·e";

/// Reads `tests/a.py ..F. [ 50%]` and `..F. [ 50%]`.
pub fn letters(text: &str) -> Option<Letters<'_>> {
    let (file, row) = match text.split_once(' ') {
        Some((first, rest)) if nodeid::is_file(first) => (Some(below_root(first)), rest),
        _ => (None, text),
    };
    let is_parallel = row.contains('·') || row.ends_with("%]");
    let known = if is_parallel { PARALLEL_LETTERS } else { LETTERS };
    let mut end = row.find(|char| !known.contains(char)).unwrap_or(row.len());
    // `..Fatal Python error`, `..E: killed`, `..RPython traceback`: such a letter begins another process's word.
    let goes_on = row[end..].starts_with(|next: char| next.is_ascii_lowercase() || next == ':');
    let is_word = goes_on && row[..end].ends_with(char::is_alphabetic);
    if is_word || (row[..end].ends_with('R') && row[end..].starts_with("Python")) {
        end -= 1;
    }
    let (letters, rest) = row.split_at(end);
    let tail = rest.trim();
    let done = tail.strip_prefix('[').and_then(|tail| tail.strip_suffix(']'));
    if let Some(value) = done.and_then(percent) {
        if letters.is_empty() && file.is_none() && !row.starts_with(' ') {
            return None;
        }
        return Some(Letters {
            file,
            letters,
            percent: Some(value),
            rest: "",
        });
    }
    // Without a file or a percentage only a whole line of letters counts.
    let is_row = file.is_some() || (tail.is_empty() && !letters.is_empty());
    is_row.then_some(Letters {
        file,
        letters,
        percent: None,
        rest: tail,
    })
}

/// Reads what a line of the short summary says of a failing test, its id and reason: `FAILED tests/a.py::test_x - why`,
/// `ERROR tests/a.py`, `SUBFAILED[i=1] tests/a.py::test_x`, `[i=1] SUBFAIL tests/a.py::test_x`.
pub fn summary(text: &str) -> Option<&str> {
    let text = text.strip_prefix(PARALLEL).unwrap_or(text);
    if let Some(id) = text.strip_prefix("FAILED ").or_else(|| text.strip_prefix("ERROR ")) {
        // Some put the test's time there.
        let timed = id.strip_prefix('[').and_then(|rest| rest.split_once("s] "));
        let id = timed
            .filter(|(time, _)| time.parse::<f64>().is_ok())
            .map_or(id, |(_, id)| id);
        // Some plugins put a sign between the word and the id.
        let is_sign = |char: char| !char.is_ascii() && !char.is_alphanumeric() || char == ' ';
        let bare = id.trim_start_matches(is_sign);
        return Some(if id.starts_with(char::is_alphanumeric) || !nodeid::starts(bare) {
            id
        } else {
            bare
        });
    }
    // The description of a subtest stands before or after the word, and may hold anything.
    let rest = text.strip_prefix("SUBFAIL").or_else(|| {
        let is_described = text.starts_with(['[', '(']);
        text.split_once(" SUBFAIL")
            .filter(|_| is_described)
            .map(|(_, rest)| rest)
    })?;
    let mut blanks = rest.match_indices(' ').map(|(at, _)| at + 1);
    blanks.find(|at| nodeid::starts(&rest[*at..])).map(|at| &rest[at..])
}

#[cfg(test)]
mod tests;
