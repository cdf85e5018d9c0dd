//! `replay` in words: how often a failure came back, and the tests that it needs.

use std::fmt::Write as _;

use super::figures::{self, count, percent};
use crate::model::replay::Replayed;
use crate::stats::Count;

/// What a replay came to. `again` names the run as the user did.
#[must_use]
pub fn text(replayed: &Replayed, others: u64, again: &str) -> String {
    let mut text = rate(replayed);
    if others > 0 {
        let _ = writeln!(text, "{} failed in another way", count(others, "run", "runs"));
    }
    if replayed.errored > 0 {
        let errored = count(replayed.errored, "run says", "runs say");
        let _ = writeln!(text, "{errored} nothing about the tests");
    }
    match &replayed.shrunk {
        None if replayed.failed > 0 && replayed.tests.len() > 1 => {
            let _ = writeln!(text, "next: reproduce-flaky replay {again} --shrink");
        }
        None => {}
        Some(shrunk) => {
            let before = replayed.tests.len().saturating_sub(1);
            let runs = count(shrunk.runs as u64, "run", "runs");
            let _ = match (shrunk.minimal, before) {
                (true, 0) => writeln!(text, "it needs none of the {} before it ({runs})", shrunk.from),
                (true, _) => writeln!(
                    text,
                    "it needs {before} of the {} before it, and without any one of them it was not seen ({runs})",
                    shrunk.from
                ),
                (false, _) => writeln!(
                    text,
                    "it needs at most {before} of the {} before it; fewer may do, after {runs}",
                    shrunk.from
                ),
            };
            text.push_str("in this order, in one process:\n");
            for test in &replayed.tests {
                let _ = writeln!(text, "  {test}");
            }
            let _ = writeln!(text, "next: reproduce-flaky replay {again} --shell");
        }
    }
    text
}

fn rate(replayed: &Replayed) -> String {
    let Some(seen) = Count::new(replayed.failed, replayed.of).filter(|seen| seen.of() > 0) else {
        return "no run says whether it fails again\n".to_owned();
    };
    let category = &replayed.category;
    match seen.rate() {
        Some(rate) if seen.failed() > 0 => format!(
            "failed again with {category} in {seen} runs: {} ({} to {})\n",
            percent(rate),
            percent(replayed.low),
            percent(replayed.high)
        ),
        _ => format!(
            "did not fail again with {category}: {seen} runs, {}\n",
            figures::below(seen, replayed.confidence)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OutcomeKind;
    use crate::model::replay::{Shrunk, Target};

    fn replayed(failed: u64, of: u64) -> Replayed {
        let target = Target {
            test: None,
            categories: vec!["B1".to_owned()],
            outcome: OutcomeKind::Crashed,
            is_named: false,
        };
        let tests = vec!["a.py::x".to_owned(), "a.py::y".to_owned()];
        Replayed::new(tests, Count::new(failed, of).unwrap(), 0, &target)
    }

    #[test]
    fn a_rate_never_stands_without_its_counts_and_its_interval() {
        assert_eq!(
            text(&replayed(10, 10), 0, "n4 98"),
            "failed again with B1 in 10/10 runs: 100 % (72 % to 100 %)\nnext: reproduce-flaky replay n4 98 --shrink\n"
        );
        let none = text(&replayed(0, 10), 2, "n4 98");
        assert!(
            none.starts_with("did not fail again with B1: 0/10 runs, below 26 %\n2 runs failed in another way"),
            "{none}"
        );
        assert!(text(&replayed(0, 0), 0, "").starts_with("no run says"));
    }

    #[test]
    fn a_shorter_list_is_shown_in_order() {
        let mut replayed = replayed(7, 10);
        replayed.shrunk = Some(Shrunk {
            from: 39,
            minimal: true,
            runs: 80,
        });
        let text = text(&replayed, 0, "n4 98");
        assert!(text.contains("it needs 1 of the 39 before it"), "{text}");
        assert!(text.contains("\n  a.py::x\n  a.py::y\n"), "{text}");
    }
}
