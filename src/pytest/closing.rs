//! The line a session ends with: counts and a time.

use crate::model::Counts;

/// The line a session ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closing {
    /// Its counts.
    pub counts: Counts,
    /// Tests left out by `-k`, `-m` or a plugin.
    pub deselected: u64,
    /// Whether it says that no tests ran, or only counts what was collected.
    pub is_empty: bool,
    /// Wall time of the session in seconds.
    pub elapsed_s: f64,
}

/// Reads `1 failed, 2 passed in 0.12s` and `no tests ran in 0.01s`.
#[must_use]
pub fn closing(title: &str) -> Option<Closing> {
    let at = title.rfind(" in ")?;
    let time = &title[at + 4..];
    let seconds = time.split_once(" (").map_or(time, |(seconds, _)| seconds);
    let elapsed_s: f64 = seconds
        .strip_suffix(" seconds")
        .or_else(|| seconds.strip_suffix('s'))?
        .trim()
        .parse()
        .ok()?;
    let mut closing = Closing {
        elapsed_s,
        ..Closing::default()
    };
    let mut any = false;
    for part in title[..at].split(", ") {
        let part = part.trim();
        if matches!(part, "no tests ran" | "no tests collected") || part.starts_with("no tests collected (") {
            closing.is_empty = true;
            any = true;
            continue;
        }
        let (number, word) = part.split_once(' ')?;
        let counts = &mut closing.counts;
        let slot = match word {
            "passed" => &mut counts.passed,
            "failed" | "subtests failed" | "subtest failed" => &mut counts.failed,
            "error" | "errors" => &mut counts.errors,
            "skipped" => &mut counts.skipped,
            "xfailed" => &mut counts.xfailed,
            "xpassed" => &mut counts.xpassed,
            "rerun" | "reruns" | "retried" => &mut counts.rerun,
            "deselected" => &mut closing.deselected,
            "warning" | "warnings" | "subtests passed" | "subtest passed" | "selected" | "subtests skipped"
            | "snapshots passed" | "pytest-warnings" => {
                number.parse::<u64>().ok()?;
                any = true;
                continue;
            }
            _ if word.starts_with("test collected") || word.starts_with("tests collected") => {
                closing.is_empty = true;
                any = true;
                continue;
            }
            // Plugins add words of their own; a number before a single word is enough among known ones.
            _ if !word.contains(' ') && number.parse::<u64>().is_ok() && any => continue,
            _ => return None,
        };
        *slot += number.parse::<u64>().ok()?;
        any = true;
    }
    any.then_some(closing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_kinds_are_read() {
        let found =
            closing("1 failed, 2 passed, 1 skipped, 3 deselected, 1 xfailed, 2 errors, 2 rerun in 75.10s (0:01:15)")
                .unwrap();
        assert_eq!(
            (found.counts.failed, found.counts.passed, found.counts.errors),
            (1, 2, 2)
        );
        assert_eq!((found.deselected, found.counts.rerun), (3, 2));
        assert!((found.elapsed_s - 75.1).abs() < 1e-9);
        assert!(closing("no tests ran in 0.01s").unwrap().is_empty);
        assert!(closing("2/3 tests collected (1 deselected) in 0.01s").unwrap().is_empty);
        assert!(closing("2 passed in 1.5 seconds").is_some());
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
