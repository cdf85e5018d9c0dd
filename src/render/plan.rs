//! `plan` in words.

use std::fmt::Write as _;

use super::figures::{below, count, markdown, p_value, percent};
use crate::model::plan::Plan;

/// The plan for a terminal.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let base = &plan.base;
    let counts = base.count;
    let confidence = percent(base.confidence);
    let mut text = String::new();
    let rate = counts.rate().unwrap_or(0.0);
    if counts.failed() == 0 {
        let _ = writeln!(
            text,
            "{counts} failed: {} ({confidence} sure)",
            below(counts, base.confidence)
        );
        text += "nothing failed, so no number of clean runs would show an improvement\n";
    } else {
        let _ = writeln!(
            text,
            "{counts} failed: {} ({} to {})",
            percent(rate),
            percent(base.low),
            percent(base.high)
        );
    }
    if let Some(needed) = plan.clean_runs_needed {
        let _ = writeln!(
            text,
            "{} in a row would show an improvement (one-sided p under {})",
            count(needed, "clean run", "clean runs"),
            p_value(plan.alpha)
        );
    }
    if let Some(runs) = plan.runs_to_see_one.at_rate {
        let _ = write!(
            text,
            "{} to see a failure with {confidence} probability",
            count(runs, "run", "runs")
        );
        if let Some(runs) = plan.runs_to_see_one.at_low {
            let _ = write!(
                text,
                "; {runs} if the rate is the lowest it may be, {}",
                percent(base.low)
            );
        }
        text.push('\n');
    }
    if let Some(limit) = &plan.below {
        let rate = percent(limit.rate);
        let fresh = limit
            .from_scratch
            .map_or_else(String::new, |runs| format!(" ({runs} from a fresh start)"));
        let _ = match limit.clean_runs {
            Some(0) => writeln!(text, "below {rate}: shown (e = {})", e_value(limit.log_e)),
            Some(runs) => writeln!(
                text,
                "below {rate}: not shown (e = {}, {:.0} is needed); {} would show it{fresh}",
                e_value(limit.log_e),
                1.0 / plan.alpha,
                count(runs, "more clean run", "more clean runs")
            ),
            None => writeln!(
                text,
                "below {rate}: not shown (e = {}), and not within reach{fresh}",
                e_value(limit.log_e)
            ),
        };
    }
    text.push('\n');
    let rows = [
        ("Wilson's interval", base.low, base.high),
        ("exact interval (Clopper-Pearson)", base.exact_low, base.exact_high),
        ("interval that may be watched while it runs", base.cs_low, base.cs_high),
    ]
    .map(|(name, low, high)| vec![name.to_owned(), percent(low), percent(high)]);
    text += &super::figures::table(&[&format!("{confidence} of confidence"), "low", "high"], &rows, &[1, 2]);
    text
}

/// The plan for a page that shows Markdown.
#[must_use]
pub fn as_markdown(name: &str, plan: &Plan) -> String {
    let words = text(plan);
    let (sentences, table) = words.split_once("\n\n").unwrap_or((&words, ""));
    let mut items = String::new();
    for line in sentences.lines() {
        let _ = writeln!(items, "- {}", markdown(line));
    }
    format!("### Plan for {}\n\n{items}\n```\n{table}```\n", markdown(name))
}

/// An e-value from its logarithm.
fn e_value(log_e: f64) -> String {
    let value = log_e.exp();
    if value > 1e300 {
        return "more than 1e300".to_owned();
    }
    if !(0.01..1e6).contains(&value) {
        format!("{value:.0e}")
    } else if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(counts: &str, below: Option<f64>) -> String {
        text(&Plan::new(counts.parse().unwrap(), 0.95, 0.05, below))
    }

    #[test]
    fn a_rare_failure_is_planned_for() {
        assert_eq!(
            said("2/75", Some(0.03)),
            "2/75 failed: 2.7 % (0.73 % to 9.2 %)
259 clean runs in a row would show an improvement (one-sided p under 0.05)
111 runs to see a failure with 95 % probability; 407 if the rate is the lowest it may be, 0.73 %
below 3 %: not shown (e = 0.32, 20 is needed); 250 more clean runs would show it (113 from a fresh start)

95 % of confidence                             low   high
Wilson's interval                           0.73 %  9.2 %
exact interval (Clopper-Pearson)            0.32 %  9.3 %
interval that may be watched while it runs  0.05 %   14 %
"
        );
    }

    #[test]
    fn a_clean_base_says_what_its_rate_is_below() {
        assert!(said("0/50", Some(0.03)).starts_with(
            "0/50 failed: below 5.8 % (95 % sure)
nothing failed, so no number of clean runs would show an improvement
below 3 %: not shown (e = 3.47, 20 is needed); 63 more clean runs would show it (113 from a fresh start)
"
        ));
        assert!(said("0/120", Some(0.03)).contains("below 3 %: shown (e = 25)"));
    }
}
