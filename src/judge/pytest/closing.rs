//! The line a session ends with: counts and a time.

use crate::judge::Counts;

/// The line a session ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closing {
    pub counts: Counts,
    /// Whether it says that no tests ran, or only counts what was collected.
    pub is_empty: bool,
    /// Whether it is a plugin's, which prints the counts below it.
    pub is_replaced: bool,
    /// Wall time of the session in seconds.
    pub elapsed_s: f64,
}

type Slot = fn(&mut Counts) -> &mut u64;

/// Words for what is counted, and where.
const COUNTED: &[(&str, Slot)] = &[
    ("passed", |counts| &mut counts.passed),
    ("failed", |counts| &mut counts.failed),
    ("subtests failed", |counts| &mut counts.failed),
    ("subtest failed", |counts| &mut counts.failed),
    ("error", |counts| &mut counts.errors),
    ("errors", |counts| &mut counts.errors),
    ("skipped", |counts| &mut counts.skipped),
    ("xfailed", |counts| &mut counts.xfailed),
    ("xpassed", |counts| &mut counts.xpassed),
    ("rerun", |counts| &mut counts.rerun),
    ("reruns", |counts| &mut counts.rerun),
    ("retried", |counts| &mut counts.rerun),
];

/// Further words that pytest and its plugins count with.
const FURTHER: [&str; 11] = [
    "deselected",
    "warning",
    "warnings",
    "pytest-warnings",
    "selected",
    "subtests passed",
    "subtest passed",
    "subtests skipped",
    "subtest skipped",
    "subtests xfailed",
    "snapshots passed",
];

/// Reads `1 failed, 2 passed in 0.12s` and `no tests ran in 0.01s`.
pub fn closing(title: &str) -> Option<Closing> {
    let at = title.rfind(" in ")?;
    let time = &title[at + 4..];
    let seconds = time.split_once(" (").map_or(time, |(seconds, _)| seconds);
    let seconds = seconds.strip_suffix(" seconds").or_else(|| seconds.strip_suffix('s'))?;
    let mut closing = Closing {
        elapsed_s: seconds.trim().parse().ok()?,
        ..Closing::default()
    };
    let mut any = false;
    for part in title[..at].split(", ").map(str::trim) {
        // Where nothing ran an old pytest counts nothing.
        if matches!(part, "" | "no tests ran" | "no tests collected") || part.starts_with("no tests collected (") {
            closing.is_empty = true;
        } else if let Some((_, word)) = part.split_once(' ')
            && (word.starts_with("test collected") || word.starts_with("tests collected"))
        {
            closing.is_empty = true;
        } else if let Some(counts) = counts(part) {
            closing.counts += counts;
        } else {
            // Plugins add words of their own; a number before a single word is enough among known ones.
            let (number, word) = part.split_once(' ')?;
            let is_count = number.parse::<u64>().is_ok() && !word.contains(' ');
            (is_count && any).then_some(())?;
        }
        any = true;
    }
    Some(closing)
}

/// Reads `2 failed`.
pub fn counts(part: &str) -> Option<Counts> {
    let (number, word) = part.split_once(' ')?;
    let number = number.parse().ok()?;
    let mut counts = Counts::default();
    if let Some((_, slot)) = COUNTED.iter().find(|(known, _)| *known == word) {
        *slot(&mut counts) = number;
        return Some(counts);
    }
    FURTHER.contains(&word).then_some(counts)
}

/// Reads `Results (0.12s):`, which pytest-sugar and pytest-pretty print, with a count a line below.
pub fn results(text: &str) -> Option<Closing> {
    let time = text.trim_end().strip_prefix("Results (")?.strip_suffix("):")?;
    let (seconds, _) = time.split_once('s')?;
    Some(Closing {
        elapsed_s: seconds.parse().ok()?,
        is_replaced: true,
        ..Closing::default()
    })
}

/// Reads `Ran 9 tests in 0.11s`, which pytest-tldr prints in unittest's manner.
pub fn ran(text: &str) -> Option<Closing> {
    let (number, seconds) = text.strip_prefix("Ran ")?.split_once(" test")?;
    let seconds = seconds
        .trim_start_matches('s')
        .strip_prefix(" in ")?
        .strip_suffix('s')?;
    number.parse::<u64>().ok()?;
    Some(Closing {
        elapsed_s: seconds.parse().ok()?,
        is_replaced: true,
        ..Closing::default()
    })
}

/// Reads the line below it: `OK`, `FAILED (errors=2, failures=1)`.
pub fn told(text: &str) -> Option<Counts> {
    let rest = text.strip_prefix("OK").or_else(|| text.strip_prefix("FAILED"))?.trim();
    let mut counts = Counts::default();
    for part in rest
        .trim_matches(['(', ')'])
        .split(", ")
        .filter(|part| !part.is_empty())
    {
        let (word, number) = part.split_once('=')?;
        let number = number.parse().ok()?;
        match word {
            "errors" => counts.errors = number,
            "failures" => counts.failed = number,
            "skipped" => counts.skipped = number,
            "expected failures" => counts.xfailed = number,
            "unexpected successes" => counts.xpassed = number,
            _ => return None,
        }
    }
    Some(counts)
}

/// Reads `──── FAILED in 0.00 seconds ────`, as pytest-rich prints it.
pub fn rich(text: &str) -> Option<Closing> {
    let words = text.trim().strip_prefix("──")?.trim_matches(['─', ' ']);
    let (word, seconds) = words.split_once(" in ")?;
    let counts = match word {
        "SUCCEEDED" => Counts::default(),
        "FAILED" => Counts {
            failed: 1,
            ..Counts::default()
        },
        _ => return None,
    };
    Some(Closing {
        counts,
        elapsed_s: seconds.strip_suffix(" seconds")?.parse().ok()?,
        is_replaced: true,
        ..Closing::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_kinds_are_read() {
        let found =
            closing("1 failed, 2 passed, 1 skipped, 3 deselected, 1 xfailed, 2 errors, 2 rerun in 75.10s (0:01:15)")
                .unwrap();
        let counts = found.counts;
        assert_eq!(
            (counts.failed, counts.passed, counts.errors, counts.rerun),
            (1, 2, 2, 2)
        );
        assert!((found.elapsed_s - 75.1).abs() < 1e-9);
        assert!(closing("no tests ran in 0.01s").unwrap().is_empty);
        assert!(closing("2/3 tests collected (1 deselected) in 0.01s").unwrap().is_empty);
        assert!(closing("2 passed in 1.5 seconds").is_some());
        assert!(results("Results (0.02s):").is_some() && results("Results (75.13s (0:01:15)):").is_some());
        for text in [
            "test session starts",
            "2 apples in 3s",
            "passed in 3s",
            "short test summary info",
            "x in 1s",
        ] {
            assert_eq!(closing(text), None, "{text}");
        }
    }
}
