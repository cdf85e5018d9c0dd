//! What a comparison says about one class, in a sentence.

use super::{Class, Comparison, Direction, Finding, Question};
use crate::stats::{self, counted, p_value};

impl Comparison {
    /// What the numbers carry about one class, and what is missing if they carry nothing.
    pub fn sentence(&self, class: &Class) -> String {
        let (question, n_classes) = (self.question, self.classes.len());
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
}

/// How far it is to a verdict of "fewer".
fn missing(class: &Class, question: Question, n_classes: usize) -> String {
    let (base, new) = (class.base.count, class.new.count);
    if base.failed() == 0 && new.failed() == 0 {
        return format!("; neither failed: {} before, {} now", class.base, class.new);
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
            Some(more) if more > 0 => format!("; {} would show it", counted(more, "more clean run", "more clean runs")),
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
                counted(needed, "clean run", "clean runs"),
                needed - new.of()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample::Sample;

    fn said(base: &str, new: &str, question: Question) -> String {
        let side = |text: &str| Sample::from_counts(text, text.parse().unwrap());
        let comparison = Comparison::new(&side(base), &side(new), question);
        comparison.sentence(&comparison.classes[0])
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
}
