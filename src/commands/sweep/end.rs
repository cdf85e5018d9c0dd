//! The end of a sweep: derived files brought up to date, the screen, the exit code.

use std::io::{self, Write};
use std::sync::Arc;

use super::judged::{self, Judged};
use super::summary;
use crate::cli::sweep::{Args, Progress};
use crate::exit_code::ExitCode;
use crate::iteration::Context;
use crate::message::hinted;
use crate::model::Verdict;
use crate::model::comparison::{Comparison, Question};
use crate::model::side::Side;
use crate::render::paint::Paint;
use crate::render::{self, text};
use crate::runner::{End, Reason};

/// Shows what came of it.
pub(super) fn finish(args: &Args, contexts: &[Arc<Context>], end: &End) -> anyhow::Result<ExitCode> {
    let mut sweeps: Vec<Judged> = Vec::new();
    for context in contexts {
        context.sweep.set_ended(&end.reason.text())?;
        let (judged, summary) = judged::conclude(&context.sweep, &context.signatures)?;
        show(args, &text::screen(&summary, &summary::next(&summary), Paint::Color))?;
        sweeps.push(judged);
    }
    if let [base, others @ ..] = sweeps.as_slice() {
        for (new, e_value) in others.iter().zip(&end.e_values) {
            show(args, &compared(base, new, *e_value))?;
        }
    }
    if end.elsewhere > 0 {
        anstream::eprintln!("note: {} iterations are being run by other processes", end.elsewhere);
    }
    let asked = sweeps
        .iter()
        .flat_map(|sweep| &sweep.records)
        .filter(|record| args.range().contains(record.iteration));
    let verdicts: Vec<Verdict> = asked.map(|record| record.outcome.verdict).collect();
    match &end.reason {
        Reason::Interrupted | Reason::Cancelled => Ok(ExitCode::Interrupted),
        Reason::Broken(cause) => Err(hinted(
            format!("stopped: attempts broke the same way again and again: {cause}"),
            "reproduce-flaky doctor; the same command resumes, --retry errored runs what got no fair attempt",
        )),
        Reason::Complete | Reason::Stopped(_) => {
            if let Reason::Stopped(rule) = &end.reason {
                anstream::eprintln!("note: stopped by the rule `{rule}`");
            }
            if verdicts.contains(&Verdict::Failed) {
                Ok(ExitCode::Reproduced)
            } else if verdicts.contains(&Verdict::Errored) {
                Ok(ExitCode::Errored)
            } else {
                Ok(ExitCode::Passed)
            }
        }
    }
}

/// Prints a part of the screen. Beside the event stream nothing else may stand on stdout.
fn show(args: &Args, text: &str) -> io::Result<()> {
    match args.display() {
        Progress::Jsonl => write!(anstream::stderr().lock(), "{text}"),
        Progress::Auto | Progress::Bar | Progress::Plain | Progress::None => {
            write!(anstream::stdout().lock(), "{text}")
        }
    }
}

/// How an arm compares with the first one.
fn compared(base: &Judged, new: &Judged, e_value: f64) -> String {
    let side =
        |sweep: &Judged| Side::from_records(&sweep.dir.display().to_string(), sweep.spec.as_ref(), &sweep.records, 0);
    let mut comparison = Comparison::new(&side(base), &side(new), Question::default());
    comparison.e_value = Some(e_value);
    format!("{}\n", render::compare::text(&comparison, None))
}
