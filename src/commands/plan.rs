//! `plan`: what a sweep's counts say about the next one.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::operand::Operand;
use super::{output, signatures};
use crate::cli::values::{LogsDir, PageFormat, confidence, level, rate};
use crate::exit_code::ExitCode;
use crate::report::cells::{Cells, Column};
use crate::report::markdown::escaped;
use crate::stats::comparison::ANY;
use crate::stats::plan::{Needed, Plan};
use crate::stats::{Method, Rate, counted, p_value, percent, wilson};

/// `plan`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky plan logs/serial                 how many clean runs would show a fix\n  \
    reproduce-flaky plan 2/75 --below 3%\n\n\
    Next: reproduce-flaky prove BASE, which runs them, or reproduce-flaky compare BASE NEW")]
pub struct Args {
    /// Directory of a sweep, or counts: 2 failed of 75 is `2/75`.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// Also say how far the counts are from showing that the rate is below this one, such as `3%`.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub below: Option<f64>,
    /// Chance of a wrong verdict that is accepted.
    #[arg(long, default_value = "0.05", value_name = "LEVEL", value_parser = level)]
    pub alpha: f64,
    /// Confidence of the intervals.
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence)]
    pub confidence: f64,
    /// File or folder of signatures instead of the built-in ones, for iterations that have no judgement yet.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    #[command(flatten)]
    pub logs: LogsDir,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: PageFormat,
}

/// Prints the plan.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let sample = Operand::read(&args.base, &args.logs.dir, &signatures)?.sample;
    let plan = Plan::of(&sample, args.confidence, args.alpha, args.below);
    match args.format {
        PageFormat::Json => output::json(&plan)?,
        PageFormat::Text => {
            output::words(&text(&plan))?;
            for note in sample.notes() {
                output::words(&format!("note: {note}\n"))?;
            }
        }
        PageFormat::Markdown => output::words(&as_markdown(&sample.name, &plan))?,
    }
    Ok(ExitCode::Passed)
}

pub fn text(plan: &Plan) -> String {
    let base = &plan.base;
    let Rate { count, confidence, .. } = base.rate;
    let confidence_shown = percent(confidence);
    let mut text = String::new();
    if count.failed() == 0 {
        let _ = writeln!(text, "{count} failed: {} ({confidence_shown} sure)", base.rate);
        text += "nothing failed, so no number of clean runs would show an improvement
";
    } else {
        let _ = writeln!(text, "{count} failed: {}", base.rate);
    }
    if let Some(needed) = plan.clean_runs_needed.filter(|_| plan.classes.is_empty()) {
        let _ = writeln!(
            text,
            "{} in a row would show an improvement (one-sided p under {})",
            counted(needed, "clean run", "clean runs"),
            p_value(plan.alpha)
        );
    }
    for class in &plan.classes {
        text += &needed(class, &plan.classes);
    }
    if let Some(runs) = plan.runs_to_see_one.at_rate {
        let _ = write!(
            text,
            "{} to see a failure with {confidence_shown} probability",
            counted(runs, "run", "runs")
        );
        if let Some(runs) = plan.runs_to_see_one.at_low {
            let _ = write!(
                text,
                "; {runs} if the rate is the lowest it may be, {}",
                percent(base.rate.low)
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
                counted(runs, "more clean run", "more clean runs")
            ),
            None => writeln!(
                text,
                "below {rate}: not shown (e = {}), and not within reach{fresh}",
                e_value(limit.log_e)
            ),
        };
    }
    text.push('\n');
    let (low, high) = wilson(count.failed(), count.of(), confidence);
    let rows = [
        ("Wilson's interval", low, high),
        ("exact interval (Clopper-Pearson)", base.exact_low, base.exact_high),
        ("interval that may be watched while it runs", base.cs_low, base.cs_high),
    ]
    .map(|(name, low, high)| vec![name.to_owned(), percent(low), percent(high)]);
    // Where the number of runs depends on what they showed, the last one is the only one that holds.
    let n_left_out = if base.rate.method == Method::Wilson { 0 } else { 2 };
    let columns = [
        Column::names(format!("{confidence_shown} of confidence")),
        Column::figures("low"),
        Column::figures("high"),
    ];
    text + &Cells::new(columns, rows.into_iter().skip(n_left_out)).text()
}

/// What would show an improvement in one class of a sweep.
fn needed(class: &Needed, all: &[Needed]) -> String {
    let Some(clean) = class.clean_runs_needed else {
        return String::new();
    };
    let name = match class.id.as_str() {
        ANY => "any failure",
        id => id,
    };
    let mut text = format!(
        "{name}, {}: {} in a row and `compare` with this sweep says fewer",
        class.count,
        counted(clean, "clean run", "clean runs")
    );
    if class.id == ANY {
        let _ = write!(
            text,
            " ({} in question, both directions)",
            counted(all.len() as u64, "class", "classes")
        );
    }
    let _ = class
        .expecting_fewer
        .map(|fewer| write!(text, "; {fewer} with --expect fewer"));
    let _ = class
        .in_proof
        .map(|proof| write!(text, "; {proof} in `prove --of {}`", class.id));
    text + "\n"
}

pub fn as_markdown(name: &str, plan: &Plan) -> String {
    let words = text(plan);
    let (sentences, table) = words.split_once("\n\n").unwrap_or((&words, ""));
    let mut items = String::new();
    for line in sentences.lines() {
        let _ = writeln!(items, "- {}", escaped(line));
    }
    format!("### Plan for {}\n\n{items}\n```\n{table}```\n", escaped(name))
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
        text(&Plan::new(
            Rate::new(counts.parse().unwrap(), 0.95, Method::Wilson),
            0.05,
            below,
        ))
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
