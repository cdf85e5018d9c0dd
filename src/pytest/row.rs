//! What one console line is: a rule with a title, a closing line, a test's result, a row of dots.
//!
//! Each function looks at a line alone; what it means where it stands is `console`'s to say.

use super::nodeid;

pub use super::closing::{Closing, closing};

/// A title between two rules of one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Banner<'a> {
    /// The character the rules are made of.
    pub fill: char,
    /// What stands between them.
    pub title: &'a str,
    /// Width of the whole line in characters, which is that of the terminal pytest assumed.
    pub width: usize,
    /// Whether the title left room for one character of rule only.
    pub is_tight: bool,
}

/// Reads `===== FAILURES =====` and its relatives with `!`, `_`, `-`, `+`, `~`.
#[must_use]
pub fn banner(text: &str) -> Option<Banner<'_>> {
    let text = text.trim_end();
    let fill = *text.as_bytes().first()?;
    if !matches!(fill, b'=' | b'!' | b'_' | b'-' | b'+' | b'~') {
        return None;
    }
    let left = text.bytes().take_while(|byte| *byte == fill).count();
    let right = text.bytes().rev().take_while(|byte| *byte == fill).count();
    if right == 0 || left + right + 3 > text.len() {
        return None;
    }
    let title = text[left..text.len() - right].strip_prefix(' ')?.strip_suffix(' ')?;
    // `_ _ _ _` divides the entries of a traceback and names nothing.
    if title.is_empty() || (fill == b'_' && title.bytes().all(|byte| byte == b'_' || byte == b' ')) {
        return None;
    }
    Some(Banner {
        fill: char::from(fill),
        title,
        width: text.chars().count(),
        is_tight: left == 1,
    })
}

/// How one test, or one phase of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Passed, skipped, failed as expected or passed unexpectedly: nothing to explain.
    Fine,
    /// Failed.
    Failed,
    /// Setup or teardown failed.
    Error,
    /// Failed and will be tried again.
    Rerun,
}

fn status(word: &str) -> Option<Status> {
    Some(match word {
        "PASSED" | "SKIPPED" | "XFAIL" | "XPASS" | "xfail" | "SUBPASSED" | "SUBPASS" | "SUBSKIP" | "SUBSKIPPED" => {
            Status::Fine
        }
        "FAILED" | "SUBFAILED" | "SUBFAIL" => Status::Failed,
        "ERROR" => Status::Error,
        "RERUN" => Status::Rerun,
        _ => return None,
    })
}

/// A line about one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its node id.
    pub id: &'a str,
    /// How it ended; `None` when it has only begun.
    pub status: Option<Status>,
    /// The xdist worker it ran on.
    pub worker: Option<&'a str>,
    /// How much of the session was done then.
    pub percent: Option<u32>,
    /// What else stands on the line.
    pub rest: &'a str,
}

/// Reads `tests/a.py::test_x PASSED [ 50%]`, `[gw0] [ 50%] PASSED tests/a.py::test_x` and a test that has begun.
#[must_use]
pub fn progress(text: &str) -> Option<Progress<'_>> {
    if let Some(at) = text.find("[gw")
        && at < 200
        && let Some(found) = worker_progress(&text[at..])
    {
        return Some(found);
    }
    if !nodeid::starts(text) {
        return None;
    }
    let end = nodeid::length(text);
    let (id, rest) = text.split_at(end);
    if let Some((status, rest)) = leading_status(rest.trim_start()) {
        return Some(Progress {
            id,
            status: Some(status),
            worker: None,
            percent: percent_at_end(rest),
            rest,
        });
    }
    // A parameter with a blank after a bracket ends later than the rule above thinks.
    for (at, _) in text.match_indices(' ') {
        if let Some((status, rest)) = leading_status(&text[at + 1..])
            && is_result_tail(rest)
            && at > end
        {
            return Some(Progress {
                id: text[..at].trim_end(),
                status: Some(status),
                worker: None,
                percent: percent_at_end(rest),
                rest,
            });
        }
    }
    Some(Progress {
        id,
        status: None,
        worker: None,
        percent: None,
        rest: rest.trim(),
    })
}

fn worker_progress(text: &str) -> Option<Progress<'_>> {
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
    let (word, rest) = rest.split_once(' ')?;
    let status = status(word)?;
    let rest = rest.trim_start();
    if !nodeid::starts(rest) && !nodeid::is_file(rest.trim_end()) {
        return None;
    }
    let end = nodeid::length(rest);
    // Nothing of pytest's own follows the id here: a rest that ends in a bracket is the id's, any other another process's.
    let id = if !rest.trim_end().ends_with(']') || !rest[..end].contains('[') {
        &rest[..end]
    } else {
        rest.trim_end()
    };
    Some(Progress {
        id,
        status: Some(status),
        worker: Some(worker),
        percent: done,
        rest: "",
    })
}

fn leading_status(text: &str) -> Option<(Status, &str)> {
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
#[must_use]
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
    let found = status(word).or_else(|| {
        ["PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS", "RERUN"]
            .iter()
            .find(|known| has_percent && word.ends_with(**known))
            .and_then(|known| status(known))
    })?;
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
#[must_use]
pub fn percent_at_end(row: &str) -> Option<u32> {
    percent(row.trim_end().strip_suffix(']')?.rsplit_once('[')?.1)
}

/// A row of one letter a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dots<'a> {
    /// The file whose tests they are; workers' results carry none.
    pub file: Option<&'a str>,
    /// The letters.
    pub letters: &'a str,
    /// Percentage at the end of the row.
    pub percent: Option<u32>,
    /// What stands after them that is not pytest's.
    pub rest: &'a str,
}

const LETTERS: &str = ".FEsxXRru,-";

/// Reads `tests/a.py ..F. [ 50%]` and `..F. [ 50%]`.
#[must_use]
pub fn dots(text: &str) -> Option<Dots<'_>> {
    let (file, row) = match text.split_once(' ') {
        Some((first, rest)) if nodeid::is_file(first) => (Some(first), rest),
        _ => (None, text),
    };
    let mut end = row.find(|char| !LETTERS.contains(char)).unwrap_or(row.len());
    // `..Fatal Python error`: the letter before a small one begins another process's word.
    if row[end..].starts_with(|next: char| next.is_ascii_lowercase()) && row[..end].ends_with(char::is_alphabetic) {
        end -= 1;
    }
    let (letters, rest) = row.split_at(end);
    let tail = rest.trim();
    let done = tail.strip_prefix('[').and_then(|tail| tail.strip_suffix(']'));
    if let Some(value) = done.and_then(percent) {
        if letters.is_empty() && file.is_none() && !row.starts_with(' ') {
            return None;
        }
        return Some(Dots {
            file,
            letters,
            percent: Some(value),
            rest: "",
        });
    }
    match file {
        Some(_) => Some(Dots {
            file,
            letters,
            percent: None,
            rest: tail,
        }),
        // Without a file or a percentage only a whole line of letters counts.
        None if tail.is_empty() && !letters.is_empty() => Some(Dots {
            file,
            letters,
            percent: None,
            rest: "",
        }),
        None => None,
    }
}

/// A line of the short summary that names a failing test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummaryLine<'a> {
    /// `Failed` or `Error`.
    pub status: Status,
    /// Everything after the word: the id, and the reason where the line has one.
    pub text: &'a str,
}

/// Reads `FAILED tests/a.py::test_x - AssertionError`, `ERROR tests/a.py`, `SUBFAILED[i=1] tests/a.py::test_x`.
#[must_use]
pub fn summary(text: &str) -> Option<SummaryLine<'_>> {
    if let Some(rest) = text.strip_prefix("FAILED ") {
        return Some(SummaryLine {
            status: Status::Failed,
            text: rest,
        });
    }
    if let Some(rest) = text.strip_prefix("ERROR ") {
        return Some(SummaryLine {
            status: Status::Error,
            text: rest,
        });
    }
    let rest = text
        .strip_prefix("SUBFAILED")
        .or_else(|| text.strip_prefix("SUBFAIL"))?;
    // The description of a subtest stands in brackets or parentheses and may hold anything.
    let at = rest
        .match_indices(' ')
        .find(|(at, _)| nodeid::starts(&rest[at + 1..]))?
        .0;
    Some(SummaryLine {
        status: Status::Failed,
        text: &rest[at + 1..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_what_follows_them() {
        let found = banner("=========== FAILURES ==========").unwrap();
        assert_eq!((found.fill, found.title, found.width), ('=', "FAILURES", 31));
        assert_eq!(banner("_ test_long[x] _").unwrap().title, "test_long[x]");
        for text in ["_ _ _ _ _ _ _", "=====", "== x", "", "a = b", "=== x -"] {
            assert_eq!(banner(text), None, "{text}");
        }
    }

    #[test]
    fn results_are_read_in_both_orders() {
        let line = progress("tests/a.py::TestX::test_y[a b] FAILED                  [ 50%]").unwrap();
        assert_eq!(
            (line.id, line.status),
            ("tests/a.py::TestX::test_y[a b]", Some(Status::Failed))
        );
        let line = progress("[gw3] [ 50%] PASSED tests/a.py::test_x[a] b] ").unwrap();
        assert_eq!((line.id, line.worker), ("tests/a.py::test_x[a] b]", Some("gw3")));
        let line = progress("tests/a.py::test_x[a] b] SKIPPED (why not) [ 1%]").unwrap();
        assert_eq!((line.id, line.status), ("tests/a.py::test_x[a] b]", Some(Status::Fine)));
        let line = progress("tests/a.py::test_x Fatal Python error: Aborted").unwrap();
        assert_eq!((line.status, line.rest), (None, "Fatal Python error: Aborted"));
        assert_eq!(progress("[gw0] node down: Not properly terminated"), None);
    }

    #[test]
    fn a_result_after_the_tests_own_output_is_found() {
        assert_eq!(late_status("PASSED"), Some(Status::Fine));
        assert_eq!(late_status("some outputFAILED     [ 50%]"), Some(Status::Failed));
        assert_eq!(late_status("the child said FAILED"), None);
        assert_eq!(late_status(""), None);
    }

    #[test]
    fn rows_of_letters_are_read_with_and_without_a_file() {
        let row = dots("tests/a.py ..F.s        [ 50%]").unwrap();
        assert_eq!(
            (row.file, row.letters, row.percent),
            (Some("tests/a.py"), "..F.s", Some(50))
        );
        assert_eq!(dots("....F.. [100%]").unwrap().percent, Some(100));
        assert_eq!(percent_at_end("tests/a.py::x PASSED [ 5/10]"), Some(50));
        assert_eq!(percent_at_end(&format!("PASSED [{}/1]", u64::MAX)), None);
        assert_eq!(dots("tests/a.py ").unwrap().letters, "");
        assert_eq!(dots("tests/a.py ..Fatal Python error: Aborted").unwrap().letters, "..");
        assert_eq!(dots("tests/a.py:3: AssertionError"), None);
        assert_eq!(dots("Failed"), None);
    }

    #[test]
    fn summary_lines_of_subtests_name_their_test() {
        assert_eq!(
            summary("SUBFAILED[a b] t.py::test_x - E").unwrap().text,
            "t.py::test_x - E"
        );
        assert_eq!(
            summary("SUBFAIL t.py::T::test_x - E").unwrap().text,
            "t.py::T::test_x - E"
        );
        assert_eq!(summary("PASSED t.py::test_x"), None);
    }
}
