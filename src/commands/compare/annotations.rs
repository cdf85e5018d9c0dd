//! A comparison as GitHub's workflow commands, which its pages show beside the code: what is new, what became more.

use std::fmt::Write as _;

use crate::commands::compare::text::gate_lines;
use crate::report::shown::shown;
use crate::stats::comparison::{Class, Comparison, Finding};
use crate::stats::regression::{GateDecision, RegressionGate};
use crate::stats::sample::FirstSeen;

/// One line for each category that the base does not have, each class that became more, and a closed gate.
pub fn github(comparison: &Comparison, gate: Option<(&RegressionGate, &GateDecision)>) -> String {
    let mut text = String::new();
    let class = |id: &str| comparison.classes.iter().find(|class| class.id == id);
    let said = |class: &Class| comparison.sentence(class);
    for (id, first) in &comparison.appeared {
        let mut message = class(id).map_or_else(String::new, said);
        if let Some(first) = first {
            let _ = write!(message, "\nfirst in iteration {}", first.iteration);
            for line in first.test.iter().chain(&first.evidence) {
                let _ = write!(message, "\n{}", shown(line));
            }
        }
        let title = format!("new category {id}");
        text += &command("warning", first.as_ref().and_then(file), &title, &message);
    }
    for class in comparison.classes.iter().filter(|class| class.verdict == Finding::More) {
        text += &command("warning", None, &format!("{} fails more", class.id), &said(class));
    }
    if let Some((gate, decision)) = gate
        && !decision.is_open()
    {
        let message = gate_lines(comparison, gate, decision).join("\n");
        text += &command("error", None, "gate closed", &message);
    }
    text
}

/// The file of a test, which is where the page shows the annotation.
fn file(first: &FirstSeen) -> Option<&str> {
    let id = first.test.as_deref()?;
    id.split("::").next().filter(|file| !file.is_empty())
}

fn command(level: &str, file: Option<&str>, title: &str, message: &str) -> String {
    let file = file.map_or_else(String::new, |file| format!("file={},", property(file)));
    format!("::{level} {file}title={}::{}\n", property(title), data(message))
}

/// Text of a command, in the escapes of GitHub's own toolkit.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text of a property, where two more characters mean something.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::comparison::Question;
    use crate::stats::conditions::Conditions;
    use crate::stats::sample::Sample;

    #[test]
    fn a_new_category_is_shown_at_its_tests_file_and_a_closed_gate_as_an_error() {
        let side = |text: &str| Sample {
            conditions: Some(Conditions::default()),
            ..Sample::from_counts(text, text.parse().unwrap())
        };
        let (base, mut new) = (side("0/50"), side("13/50"));
        new.by_category.insert("B1".to_owned(), 13);
        let first = FirstSeen {
            iteration: 24,
            test: Some("tests/a.py::test_x[a,b]".to_owned()),
            evidence: Some("Fatal Python error: 100% Aborted".to_owned()),
        };
        new.first_seen.insert("B1".to_owned(), first);
        let comparison = Comparison::new(&base, &new, Question::default());
        let gate = RegressionGate {
            regression: true,
            rate: None,
        };
        let decision = gate.decide(&comparison);
        let text = github(&comparison, Some((&gate, &decision)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "::warning file=tests/a.py,title=new category B1::B1: 0/50 before, 13/50 now: more (p = 5e-5, 1e-4 over 2 \
             classes)%0Afirst in iteration 24%0Atests/a.py::test_x[a,b]%0AFatal Python error: 100%25 Aborted"
        );
        assert!(lines[1].starts_with("::warning title=any fails more::"), "{text}");
        assert!(
            lines[3].starts_with("::error title=gate closed::gate: closed: any fails more"),
            "{text}"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn nothing_new_says_nothing() {
        let side = Sample::from_counts("0/50", "0/50".parse().unwrap());
        assert_eq!(github(&Comparison::new(&side, &side, Question::default()), None), "");
    }
}
