//! The sentences and names that every form of a summary shares.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::{below, percent};
use crate::model::summary::{Method, Rate, Run, Summary};
use crate::model::{Limits, OutcomeKind, Verdict};

/// How a sweep's rate is told: always with its count, and as a bound where nothing failed.
#[must_use]
pub fn rate(rate: &Rate) -> String {
    let (count, sure) = (rate.count, percent(rate.confidence));
    match count.rate() {
        None => "no iteration passed or failed: nothing is known of the rate".to_owned(),
        Some(_) if count.failed() == 0 => {
            format!("{count} failed: the failure rate is {} ({sure} sure)", bound(rate))
        }
        Some(value) => format!(
            "{count} failed: {} ({sure} interval: {})",
            percent(value),
            interval(rate)
        ),
    }
}

/// What the rate is below where nothing failed; one-sided, unless the sweep was watched.
fn bound(rate: &Rate) -> String {
    match rate.method {
        Method::Wilson => below(rate.count, rate.confidence),
        Method::ConfidenceSequence => format!("below {}", percent(rate.high)),
    }
}

/// The interval of a rate.
#[must_use]
pub fn interval(rate: &Rate) -> String {
    format!("{} to {}", percent(rate.low), percent(rate.high))
}

/// The rate in a cell beside its count: `26 % (16 % to 40 %)`, `below 5.8 %`.
#[must_use]
pub fn rate_cell(rate: &Rate) -> String {
    match rate.count.rate() {
        None => "unknown".to_owned(),
        Some(_) if rate.count.failed() == 0 => bound(rate),
        Some(value) => format!("{} ({})", percent(value), interval(rate)),
    }
}

/// What ran, in a few words: mode, tag, image.
#[must_use]
pub fn conditions(summary: &Summary) -> String {
    let mut parts: Vec<String> = summary.mode.iter().cloned().collect();
    parts.extend(summary.tag.iter().map(|tag| format!("tag {tag}")));
    if let Some(conditions) = &summary.conditions {
        if conditions.image.is_empty() {
            parts.push(format!("backend {}", conditions.backend));
        } else {
            parts.push(format!("image {}", conditions.image));
        }
        parts.extend(load(&conditions.load));
    }
    if let Some((first, last)) = summary.span() {
        parts.push(format!("iterations {first}-{last}"));
    }
    parts.join(", ")
}

/// What iterations had to get by with; `None` where that was all there is.
#[must_use]
pub fn load(sets: &[Limits]) -> Option<String> {
    let words = |set: &Limits| match set.words() {
        words if words.is_empty() => "no limits".to_owned(),
        words => words.join(", "),
    };
    (!sets.is_empty()).then(|| sets.iter().map(words).collect::<Vec<_>>().join(" or "))
}

/// Short names for tests: without their file where that is clear within one report.
#[derive(Clone, Debug, Default)]
pub struct TestNames {
    ambiguous: BTreeSet<String>,
}

impl TestNames {
    /// Names for the failing tests of a sweep.
    #[must_use]
    pub fn of(summary: &Summary) -> TestNames {
        let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for test in &summary.tests {
            let (file, name) = split(&test.nodeid);
            files.entry(name).or_default().insert(file);
        }
        TestNames {
            ambiguous: files
                .into_iter()
                .filter(|(_, files)| files.len() > 1)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }

    /// The name of one test.
    #[must_use]
    pub fn short<'a>(&self, nodeid: &'a str) -> &'a str {
        let (_, name) = split(nodeid);
        if self.ambiguous.contains(name) { nodeid } else { name }
    }
}

/// File and name of a test; of what is no test, such as a file that could not be collected, the name is all.
#[must_use]
pub fn split(nodeid: &str) -> (&str, &str) {
    nodeid.split_once("::").unwrap_or(("", nodeid))
}

/// Where the evidence of a run is: a file with its line, else the run's directory.
#[must_use]
pub fn place(run: &Run) -> String {
    let Some(evidence) = run.evidence.first() else {
        return run.dir.clone();
    };
    match evidence.line {
        Some(line) => format!("{}/{}:{line}", run.dir, evidence.file),
        None => format!("{}/{}", run.dir, evidence.file),
    }
}

/// One sign for each iteration, in order: `.` passed, `F` failed, `C` crashed, `H` hung, `T` timed out, `E` errored,
/// a blank where one is missing.
#[must_use]
pub fn strip(summary: &Summary) -> String {
    let Some((first, last)) = summary.span() else {
        return String::new();
    };
    let mut signs = vec![' '; (last - first + 1) as usize];
    for run in summary.not_passed.iter().chain(&summary.passed) {
        signs[(run.iteration - first) as usize] = sign(run.outcome);
    }
    signs.into_iter().collect()
}

/// The sign of an outcome in a row of iterations.
#[must_use]
pub fn sign(outcome: OutcomeKind) -> char {
    match outcome {
        OutcomeKind::Hung => 'H',
        OutcomeKind::Crashed => 'C',
        OutcomeKind::TimedOut => 'T',
        OutcomeKind::Failed => 'F',
        OutcomeKind::Infra | OutcomeKind::NoTests | OutcomeKind::UsageError | OutcomeKind::NoResult => 'E',
        OutcomeKind::Passed => '.',
    }
}

/// The word of a verdict as files shout it.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASSED",
        Verdict::Failed => "FAILED",
        Verdict::Errored => "ERRORED",
    }
}

/// Cuts a text to a width in characters, with a sign that it was cut; control characters become blanks.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).map(clean).collect();
    format!("{}…", kept.trim_end())
}

/// Words in lines of a width, each line after the first indented.
#[must_use]
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let room = width.saturating_sub(if lines.is_empty() { 0 } else { indent });
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_wrapped_by_characters() {
        assert_eq!(cut("Größe\tx", 7), "Größe x");
        assert_eq!(cut("Größenordnung", 6), "Größe…");
        assert_eq!(wrap("6 8 10 18 21 24", 8, 2), "6 8 10\n  18 21\n  24");
        assert_eq!(wrap("unbreakably-long word", 5, 0), "unbreakably-long\nword");
        assert_eq!(wrap("", 5, 0), "");
    }

    #[test]
    fn names_of_tests_are_short_unless_two_files_have_one() {
        let mut names = TestNames::default();
        assert_eq!(names.short("tests/a.py::TestX::test_y[a::b]"), "TestX::test_y[a::b]");
        assert_eq!(names.short("tests/broken.py"), "tests/broken.py");
        names.ambiguous.insert("test_y".to_owned());
        assert_eq!(names.short("tests/a.py::test_y"), "tests/a.py::test_y");
    }
}
