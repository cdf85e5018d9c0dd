//! `compare` in words, then as a table.

use std::fmt::Write as _;

use super::figures::{below, count, markdown, markdown_table, p_value, rate, table};
use crate::model::comparison::{ANY, Class, Comparison, Direction, Finding, Question};
use crate::model::gate::{Decision, Gate};
use crate::stats::{self, Count};

const HEADER: [&str; 9] = [
    "class", "before", "rate", "now", "rate", "p fewer", "p more", "adjusted", "verdict",
];
const FIGURES: [usize; 5] = [1, 3, 5, 6, 7];

const NODE_HEADER: [&str; 3] = ["node", "before", "now"];

/// The machines side by side; one that a sweep did not use has nothing there.
fn node_rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let shown = |count: Count| {
        if count.of() == 0 {
            "-".to_owned()
        } else {
            count.to_string()
        }
    };
    comparison
        .nodes
        .iter()
        .map(|pair| vec![pair.node.clone(), shown(pair.base), shown(pair.new)])
        .collect()
}

/// The comparison for a terminal.
#[must_use]
pub fn text(comparison: &Comparison, gate: Option<(&Gate, &Decision)>) -> String {
    let mut text = lines(&sentences(comparison));
    text.push('\n');
    text += &table(&HEADER, &rows(comparison), &FIGURES);
    if !comparison.nodes.is_empty() {
        text.push('\n');
        text += &table(&NODE_HEADER, &node_rows(comparison), &[1, 2]);
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "note: {note}");
        }
    }
    if let Some((gate, decision)) = gate {
        text.push('\n');
        text += &lines(&gate_lines(comparison, gate, decision));
    }
    text
}

/// The comparison for a page that shows Markdown, such as a job's summary.
#[must_use]
pub fn as_markdown(comparison: &Comparison, gate: Option<(&Gate, &Decision)>) -> String {
    let mut text = format!(
        "### {} against {}\n\n",
        markdown(&comparison.new.name),
        markdown(&comparison.base.name)
    );
    if let Some((gate, decision)) = gate {
        for line in gate_lines(comparison, gate, decision) {
            let _ = writeln!(text, "**{}**\n", markdown(&line));
        }
    }
    for sentence in sentences(comparison) {
        let _ = writeln!(text, "- {}", markdown(&sentence));
    }
    text.push('\n');
    text += &markdown_table(&HEADER, &rows(comparison), &FIGURES);
    if !comparison.nodes.is_empty() {
        text.push('\n');
        text += &markdown_table(&NODE_HEADER, &node_rows(comparison), &[1, 2]);
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "- note: {}", markdown(&note));
        }
    }
    text
}

fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| sentence.clone() + "\n").collect()
}

/// One sentence a class, the categories before the total that they make up.
fn sentences(comparison: &Comparison) -> Vec<String> {
    let n_classes = comparison.classes.len();
    let categories = comparison.classes.iter().filter(|class| class.id != ANY);
    let total = comparison.classes.iter().filter(|class| class.id == ANY);
    categories
        .chain(total)
        .map(|class| sentence(class, comparison.question, n_classes))
        .collect()
}

/// What the numbers carry about one class, and what is missing if they carry nothing.
#[must_use]
pub fn sentence(class: &Class, question: Question, n_classes: usize) -> String {
    let (base, new) = (class.base.count, class.new.count);
    let p = match (question.expect, class.leaning()) {
        (Some(_), _) | (None, None) => class.tested_p(question.expect),
        (None, Some(leaning)) => class.tested_p(Some(leaning)),
    };
    // Where the correction decides, both figures are shown, or the verdict could not be understood.
    let adjusted = if n_classes > 1 && (p < question.level() || class.verdict != Finding::NoEvidence) {
        format!(", {} over {n_classes} classes", p_value(class.p_adjusted))
    } else {
        String::new()
    };
    let mut text = format!(
        "{}: {base} before, {new} now: {} (p = {}{adjusted})",
        class.id,
        class.verdict.as_str(),
        p_value(p)
    );
    if class.verdict == Finding::NoEvidence {
        text += &missing(class, question, n_classes);
    }
    text
}

/// How far it is to a verdict of "fewer".
fn missing(class: &Class, question: Question, n_classes: usize) -> String {
    let (base, new) = (class.base.count, class.new.count);
    if base.failed() == 0 && new.failed() == 0 {
        return format!(
            "; neither failed: {} before, {} now",
            below(base, question.confidence),
            below(new, question.confidence)
        );
    }
    if base.failed() == 0 || question.expect == Some(Direction::More) {
        return String::new();
    }
    if new.failed() > 0 {
        // A rate that went up is no step on the way down.
        if class.leaning() != Some(Direction::Fewer) {
            return String::new();
        }
        let level = question.level() / n_classes as f64;
        return match stats::more_clean_runs_needed(base, new, level) {
            Some(more) if more > 0 => format!("; {} would show it", count(more, "more clean run", "more clean runs")),
            Some(_) | None => String::new(),
        };
    }
    // The plain figure is that of a direction stated beforehand. Where those runs are there already and the verdict is
    // still out, it is the stricter level of two directions, or of several classes, that they fall short of.
    let levels = [question.alpha, question.level(), question.level() / n_classes as f64];
    levels
        .into_iter()
        .filter_map(|level| Some((level, stats::clean_runs_needed(base, level)?)))
        .find(|(_, needed)| *needed > new.of())
        .map_or_else(String::new, |(level, needed)| {
            let at = if level < question.alpha {
                format!(" at the level asked for here ({})", p_value(level))
            } else {
                String::new()
            };
            format!(
                "; {} in a row would show it{at}, {} more",
                count(needed, "clean run", "clean runs"),
                needed - new.of()
            )
        })
}

fn rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let confidence = comparison.question.confidence;
    comparison
        .classes
        .iter()
        .map(|class| {
            vec![
                class.id.clone(),
                class.base.count.to_string(),
                rate(&class.base, confidence),
                class.new.count.to_string(),
                rate(&class.new, confidence),
                p_value(class.fisher.less),
                p_value(class.fisher.greater),
                p_value(class.p_adjusted),
                class.verdict.as_str().to_owned(),
            ]
        })
        .collect()
}

/// The comparison's own notes, and how its figures are meant.
fn notes(comparison: &Comparison) -> Vec<String> {
    let question = comparison.question;
    let mut notes = comparison.notes.clone();
    if let Some(e_value) = comparison.e_value {
        notes.push(format!(
            "interleaved arms: e = {} that they differ; {} or more decides, however often one looks",
            figure(e_value),
            figure(1.0 / question.alpha)
        ));
    }
    let is_open = |class: &Class| class.verdict == Finding::NoEvidence && class.clean_runs_needed.is_some();
    if question.expect.is_none() && comparison.classes.iter().any(is_open) {
        notes.push(format!(
            "each direction is tested at {}; clean runs are counted for `--expect fewer`, said before the runs, at {}",
            p_value(question.level()),
            p_value(question.alpha)
        ));
    }
    notes
}

fn figure(value: f64) -> String {
    if value >= 1e6 {
        format!("{value:.1e}")
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// What the gate decided and why.
#[must_use]
pub fn gate_lines(comparison: &Comparison, gate: &Gate, decision: &Decision) -> Vec<String> {
    let alpha = p_value(comparison.question.alpha);
    let mut lines: Vec<String> = decision
        .regressions
        .iter()
        .map(|class| {
            format!(
                "gate: closed: {} fails more than before (p = {} over {}, under {alpha})",
                class.id,
                p_value(class.p_adjusted),
                count(comparison.classes.len() as u64, "class", "classes")
            )
        })
        .collect();
    let new = comparison.new.count;
    if let Some(limit) = decision.above {
        lines.push(format!(
            "gate: closed: {new} failed, {}, above the limit of {}",
            super::figures::percent(new.rate().unwrap_or(0.0)),
            super::figures::percent(limit)
        ));
    }
    if lines.is_empty() {
        let mut reasons = Vec::new();
        if gate.regression {
            reasons.push(format!("no class fails more than before at {alpha}"));
        }
        if let Some(limit) = gate.rate {
            reasons.push(format!("{new} failed, not above {}", super::figures::percent(limit)));
        }
        lines.push(format!("gate: open: {}", reasons.join("; ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::side::Side;

    fn said(base: &str, new: &str, question: Question) -> String {
        let side = |text: &str| Side::from_counts(text, text.parse().unwrap());
        let comparison = Comparison::new(&side(base), &side(new), question);
        sentence(&comparison.classes[0], question, 1)
    }

    #[test]
    fn no_evidence_says_how_many_clean_runs_are_missing() {
        let plain = Question::default();
        assert_eq!(
            said("2/75", "0/50", plain),
            "any: 2/75 before, 0/50 now: no evidence (p = 0.36); 259 clean runs in a row would show it, 209 more"
        );
        assert_eq!(
            said("13/50", "0/12", plain),
            "any: 13/50 before, 0/12 now: no evidence (p = 0.043); \
             15 clean runs in a row would show it at the level asked for here (0.025), 3 more"
        );
        assert_eq!(
            said("13/50", "7/50", plain),
            "any: 13/50 before, 7/50 now: no evidence (p = 0.11); 18 more clean runs would show it"
        );
        assert_eq!(
            said("1/50", "3/50", plain),
            "any: 1/50 before, 3/50 now: no evidence (p = 0.31)"
        );
        assert_eq!(
            said("0/50", "0/50", plain),
            "any: 0/50 before, 0/50 now: no evidence (p = 1); neither failed: below 5.8 % before, below 5.8 % now"
        );
    }

    #[test]
    fn a_verdict_is_one_word_and_its_p() {
        let plain = Question::default();
        assert_eq!(
            said("13/50", "0/50", plain),
            "any: 13/50 before, 0/50 now: fewer (p = 5e-5)"
        );
        assert_eq!(
            said("13/50", "34/50", plain),
            "any: 13/50 before, 34/50 now: more (p = 2e-5)"
        );
    }

    #[test]
    fn the_correction_is_shown_where_it_decides() {
        let mut base = Side::from_counts("before", "6/50".parse().unwrap());
        base.by_category.insert("A1".to_owned(), 6);
        let new = Side::from_counts("now", "0/50".parse().unwrap());
        let comparison = Comparison::new(&base, &new, Question::default());
        let text = text(&comparison, None);
        assert!(
            text.starts_with("A1: 6/50 before, 0/50 now: no evidence (p = 0.013, 0.027 over 2 classes); 52 clean runs"),
            "{text}"
        );
    }

    #[test]
    fn the_gate_says_why_it_is_closed_or_open() {
        let side = |text: &str| Side::from_counts(text, text.parse().unwrap());
        let gate = Gate {
            regression: true,
            rate: Some(0.5),
        };
        let said = |base: &str, new: &str| {
            let comparison = Comparison::new(&side(base), &side(new), Question::default());
            gate_lines(&comparison, &gate, &gate.decide(&comparison)).join("\n")
        };
        assert_eq!(
            said("13/50", "34/50"),
            "gate: closed: any fails more than before (p = 2e-5 over 1 class, under 0.05)\n\
             gate: closed: 34/50 failed, 68 %, above the limit of 50 %"
        );
        assert_eq!(
            said("2/75", "0/50"),
            "gate: open: no class fails more than before at 0.05; 0/50 failed, not above 50 %"
        );
    }
}
