//! The step that is to be taken with an issue, as a tracker takes it: title, body in Markdown, and a mark to find it by.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::shown::{short, shown};
use crate::judge::UNKNOWN;
use crate::stats::track::{Decision, Step};
use crate::stats::{Count, Method, Rate, counted, p_value};

/// Longest line of evidence in a body, in columns.
const LONGEST: usize = 1_000;

/// One step for a tracker.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Action {
    pub action: Step,
    /// What the issue is about, the same in every night.
    pub cause: String,
    /// A word that stands in the issue's body and in no other: an issue that has it is this one.
    pub mark: String,
    pub title: String,
    /// Of a new issue its text, else that of a comment.
    pub body: String,
}

/// Puts a decision into words.
pub fn action(decision: &Decision, confidence: f64) -> Action {
    let sighting = &decision.sighting;
    let test = match sighting.test.rsplit("::").next() {
        Some(name) if !name.is_empty() => format!("`{}`", one_line(name)),
        Some(_) | None => "no test in particular".to_owned(),
    };
    let class = if sighting.class == UNKNOWN {
        format!("unknown failure {}", decision.cause)
    } else {
        one_line(&sighting.class)
    };
    let mark = mark(&decision.cause);
    Action {
        action: decision.step,
        cause: decision.cause.clone(),
        title: format!("flaky: {class} in {test}"),
        body: body(decision, confidence, &mark),
        mark,
    }
}

fn mark(cause: &str) -> String {
    let digest = Sha256::digest(cause);
    digest[..6].iter().fold(String::from("flaky-cause-"), |mut mark, byte| {
        let _ = write!(mark, "{byte:02x}");
        mark
    })
}

fn body(decision: &Decision, confidence: f64, mark: &str) -> String {
    let sighting = &decision.sighting;
    let rate = |count: Count| Rate::new(count, confidence, Method::Wilson).sentence();
    let night = code(&decision.night.name);
    let p = decision.p.map_or_else(String::new, |p| format!("p = {}", p_value(p)));
    let (seen, now) = (decision.seen, decision.now);
    let mut text = match decision.step {
        Step::Open => format!("Seen for the first time in {night}: {}.\n", rate(now)),
        Step::Reopen => format!("Back in {night}: {}.\n", rate(now)),
        Step::Comment if decision.p.is_some() => {
            format!("More than before in {night}: {} ({p}).\n", rate(now))
        }
        Step::Comment => format!(
            "Back in {night} after {} without it: {}.\n",
            counted(decision.quiet as u64, "night", "nights"),
            rate(now)
        ),
        Step::Close => format!(
            "Fewer: {now} since {}, {seen} before ({p}, Fisher's exact test, one-sided). If it comes back this issue is \
             opened again.\n",
            code(&decision.last_night)
        ),
    };
    if decision.step != Step::Open && decision.step != Step::Close {
        let _ = writeln!(
            text,
            "\nSo far, from the first night with it to the last: {}.",
            rate(seen)
        );
    }
    let _ = writeln!(text, "\n- cause: {}", code(&decision.cause));
    if !sighting.test.is_empty() {
        let _ = writeln!(text, "- test: {}", code(&sighting.test));
    }
    let _ = writeln!(text, "- first night: {}", code(&decision.first_night));
    let _ = writeln!(text, "- last night: {}", code(&decision.last_night));
    if !sighting.evidence.is_empty() {
        let _ = write!(text, "\n{}", block(&short(&shown(&sighting.evidence), LONGEST)));
    }
    let run = shell_words::quote(&sighting.run).into_owned();
    let commands = format!("reproduce-flaky show {run}\nreproduce-flaky replay {run}");
    let _ = write!(
        text,
        "\nWhat happened, and the same tests again:\n\n{}",
        block(&commands)
    );
    if decision.step == Step::Open {
        let _ = write!(text, "\n<!-- {mark} -->\n");
    }
    text
}

fn one_line(text: &str) -> String {
    shown(text).replace(['\n', '\r', '`'], " ")
}

fn code(text: &str) -> String {
    format!("`{}`", one_line(text))
}

/// A block that nothing in the text ends.
fn block(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::track::{Sighting, TrackedNight};

    fn decision(step: Step, p: Option<f64>) -> Decision {
        let count = |failed, of| Count::new(failed, of).unwrap();
        Decision {
            step,
            cause: "A2 tests/a.py::test_sync".to_owned(),
            sighting: Sighting {
                class: "A2".to_owned(),
                test: "tests/a.py::test_sync".to_owned(),
                failed: 1,
                run: "nights/3/n4 night/run007".to_owned(),
                evidence: "E   assert '```' == @team\u{1b}[31m".to_owned(),
            },
            night: TrackedNight {
                name: "night12".to_owned(),
                started_at: None,
                of: 25,
                seen: std::collections::BTreeMap::new(),
            },
            first_night: "night1".to_owned(),
            last_night: "night3".to_owned(),
            seen: count(3, 75),
            now: count(0, 225),
            p,
            quiet: 9,
        }
    }

    #[test]
    fn a_body_says_the_rate_the_nights_the_evidence_and_how_to_repeat_it() {
        let open = action(&decision(Step::Open, None), 0.95);
        assert_eq!(open.title, "flaky: A2 in `test_sync`");
        for part in [
            "- first night: `night1`",
            "- test: `tests/a.py::test_sync`",
            "````text\nE   assert '```' == @team",
            "reproduce-flaky replay 'nights/3/n4 night/run007'",
            &format!("<!-- {} -->", open.mark),
        ] {
            assert!(open.body.contains(part), "{part}\n{}", open.body);
        }
        assert!(!open.body.contains('\u{1b}'));
        let close = action(&decision(Step::Close, Some(0.0151)), 0.95);
        assert!(
            close
                .body
                .starts_with("Fewer: 0/225 since `night3`, 3/75 before (p = 0.015"),
            "{}",
            close.body
        );
        assert_eq!(close.mark, open.mark);
    }
}
