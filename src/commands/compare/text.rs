//! `compare` in words, then as a table.

use std::fmt::Write as _;

use crate::report::cells::{Cells, Column};
use crate::report::markdown::{self, escaped};
use crate::report::shown::shown;
use crate::stats::comparison::{ANY, Class, Comparison, Finding};
use crate::stats::regression::{GateDecision, RegressionGate};
use crate::stats::{Count, ExactTest, counted, p_value, percent};

fn classes(comparison: &Comparison) -> Cells {
    let columns = [
        Column::names("class"),
        Column::figures("before"),
        Column::text("rate"),
        Column::figures("now"),
        Column::text("rate"),
        Column::figures("p fewer"),
        Column::figures("p more"),
        Column::figures("adjusted"),
        Column::text("verdict"),
    ];
    let rows = comparison.classes.iter().map(|class| {
        vec![
            class.id.clone(),
            class.base.count.to_string(),
            class.base.to_string(),
            class.new.count.to_string(),
            class.new.to_string(),
            p_value(class.tested.less),
            p_value(class.tested.greater),
            p_value(class.p_adjusted),
            class.verdict.as_str().to_owned(),
        ]
    });
    Cells::new(columns, rows)
}

/// The machines before and now; `-` stands for a machine that a sweep did not use.
fn nodes(comparison: &Comparison) -> Cells {
    let shown = |count: Count| {
        if count.of() == 0 {
            "-".to_owned()
        } else {
            count.to_string()
        }
    };
    let columns = [Column::names("node"), Column::figures("before"), Column::figures("now")];
    let rows = comparison.nodes.iter();
    Cells::new(
        columns,
        rows.map(|pair| vec![pair.node.clone(), shown(pair.base), shown(pair.new)]),
    )
}

pub fn text(comparison: &Comparison, gate: Option<(&RegressionGate, &GateDecision)>) -> String {
    let mut text = lines(&sentences(comparison));
    text.push('\n');
    text += &classes(comparison).text();
    if !comparison.nodes.is_empty() {
        text.push('\n');
        text += &nodes(comparison).text();
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "note: {}", shown(&note));
        }
    }
    if let Some((gate, decision)) = gate {
        text.push('\n');
        text += &lines(&gate_lines(comparison, gate, decision));
    }
    text
}

pub fn as_markdown(comparison: &Comparison, gate: Option<(&RegressionGate, &GateDecision)>) -> String {
    let mut text = format!(
        "### {} against {}\n\n",
        escaped(&comparison.new.name),
        escaped(&comparison.base.name)
    );
    if let Some((gate, decision)) = gate {
        for line in gate_lines(comparison, gate, decision) {
            let _ = writeln!(text, "**{}**\n", escaped(&line));
        }
    }
    for sentence in sentences(comparison) {
        let _ = writeln!(text, "- {}", escaped(&sentence));
    }
    text.push('\n');
    text += &markdown::table(&classes(comparison));
    if !comparison.nodes.is_empty() {
        text.push('\n');
        text += &markdown::table(&nodes(comparison));
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "- note: {}", escaped(&note));
        }
    }
    text
}

fn lines(sentences: &[String]) -> String {
    sentences
        .iter()
        .map(|sentence| shown(sentence).into_owned() + "\n")
        .collect()
}

/// A sentence for each class; the total comes after the categories that make it up.
fn sentences(comparison: &Comparison) -> Vec<String> {
    let categories = comparison.classes.iter().filter(|class| class.id != ANY);
    let total = comparison.classes.iter().filter(|class| class.id == ANY);
    categories
        .chain(total)
        .map(|class| comparison.sentence(class))
        .collect()
}

/// The comparison's own notes, and how its figures are meant.
fn notes(comparison: &Comparison) -> Vec<String> {
    let question = comparison.question;
    let mut notes = comparison.notes.clone();
    notes.push(match comparison.test {
        ExactTest::Fisher => "p-values by Fisher's exact test".to_owned(),
        ExactTest::Barnard => "p-values by Barnard's exact test: sizes fixed beforehand".to_owned(),
        ExactTest::Boschloo => "p-values by Boschloo's exact test: sizes fixed beforehand".to_owned(),
    });
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
pub fn gate_lines(comparison: &Comparison, gate: &RegressionGate, decision: &GateDecision) -> Vec<String> {
    let alpha = p_value(comparison.question.alpha);
    let mut lines: Vec<String> = decision
        .regressions
        .iter()
        .map(|class| {
            format!(
                "gate: closed: {} fails more than before (p = {} over {}, under {alpha})",
                class.id,
                p_value(class.p_adjusted),
                counted(comparison.classes.len() as u64, "class", "classes")
            )
        })
        .collect();
    let new = comparison.new.count;
    if let Some(limit) = decision.above {
        lines.push(format!(
            "gate: closed: {new} failed, {}, above the limit of {}",
            percent(new.rate().unwrap_or(0.0)),
            percent(limit)
        ));
    }
    if lines.is_empty() {
        let mut reasons = Vec::new();
        if gate.regression {
            reasons.push(format!("no class fails more than before at {alpha}"));
        }
        if let Some(limit) = gate.rate {
            reasons.push(format!("{new} failed, not above {}", percent(limit)));
        }
        lines.push(format!("gate: open: {}", reasons.join("; ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::comparison::Question;
    use crate::stats::sample::Sample;

    #[test]
    fn the_correction_is_shown_where_it_decides() {
        let mut base = Sample::from_counts("before", "6/50".parse().unwrap());
        base.by_category.insert("A1".to_owned(), 6);
        let new = Sample::from_counts("now", "0/50".parse().unwrap());
        let comparison = Comparison::new(&base, &new, Question::default());
        let text = text(&comparison, None);
        assert!(
            text.starts_with("A1: 6/50 before, 0/50 now: no evidence (p = 0.013, 0.027 over 2 classes); 52 clean runs"),
            "{text}"
        );
    }

    #[test]
    fn the_gate_says_why_it_is_closed_or_open() {
        let side = |text: &str| Sample::from_counts(text, text.parse().unwrap());
        let gate = RegressionGate {
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
