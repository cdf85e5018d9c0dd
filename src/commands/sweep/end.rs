//! The end of a sweep: derived files brought up to date, the screen, the exit code.

use std::io::{self, Write};
use std::time::Duration;

use crate::commands::judged_sweep::{self, JudgedSweep};
use crate::commands::summary;
use crate::commands::sweep::args::Args;
use crate::exit_code::ExitCode;
use crate::judge::{EndedBy, OutcomeKind, Record, Verdict};
use crate::message::{hinted, tell};
use crate::report::paint::Paint;
use crate::report::shown::shown;
use crate::report::text;
use crate::spec::Deadlines;
use crate::stats::comparison::{Comparison, Question};
use crate::stats::sample::Sample;
use crate::sweep::blocks::Blocks;
use crate::sweep::display::DisplayKind;
use crate::sweep::iteration::Context;
use crate::sweep::scheduler::{End, Reason, Work as _};

/// Prints the summary of each arm, compares the arms, and says how the sweep ended by the exit code.
pub(super) fn finish(args: &Args, blocks: &Blocks, end: &End) -> anyhow::Result<ExitCode> {
    let mut sweeps: Vec<JudgedSweep> = Vec::new();
    for arm in blocks.arms() {
        let context = &arm.context;
        let (judged, summary) = judged_sweep::conclude(&context.sweep, &context.signatures)?;
        let mut next = summary::next(&summary);
        if matches!(end.reason, Reason::Interrupted | Reason::Cancelled) {
            next.insert(0, ("the same command again".to_owned(), "resumes".to_owned()));
            next.truncate(4);
        }
        show(args, &text::screen(&summary, &next, Paint::Color))?;
        if let Some(limit) = shorter_silence(context, &judged) {
            tell(format_args!(
                "hint: --silence auto would have ended a hang after {} s",
                limit.as_secs()
            ));
        }
        sweeps.push(judged);
    }
    if let [base, others @ ..] = sweeps.as_slice() {
        for (new, e_value) in others.iter().zip(blocks.e_values()) {
            show(args, &compared(base, new, e_value))?;
        }
    }
    if blocks.claimed_by_others() > 0 {
        tell(format_args!(
            "note: {} iterations are being run by other processes",
            blocks.claimed_by_others()
        ));
    }
    let asked = sweeps
        .iter()
        .flat_map(|sweep| &sweep.records)
        .filter(|record| args.range().contains(&record.iteration));
    let verdicts: Vec<Verdict> = asked.map(|record| record.outcome.verdict).collect();
    match &end.reason {
        Reason::Interrupted | Reason::Cancelled => Ok(ExitCode::Interrupted),
        Reason::Broken(cause) => Err(hinted(
            format!("stopped: attempts broke the same way again and again: {cause}"),
            "reproduce-flaky doctor; the same command resumes, --retry errored runs what got no fair attempt",
        )),
        Reason::Complete | Reason::Stopped(_) | Reason::NothingRuns(_) => {
            if let Reason::Stopped(rule) = &end.reason {
                tell(format_args!("note: stopped by the rule `{rule}`"));
            }
            if let Reason::NothingRuns(words) = &end.reason {
                let words = shown(words);
                tell(format_args!(
                    "note: stopped: pytest runs no test, and would not in any iteration: `{words}`\n\
                    hint: correct what stands after `--`, and name the new sweep with --tag"
                ));
            }
            // Running a failure again until it passes does not undo it.
            let mut replaced = sweeps.iter().flat_map(|sweep| &sweep.replaced);
            let was_failed = replaced
                .any(|record| record.outcome.verdict == Verdict::Failed && args.range().contains(&record.iteration));
            if was_failed || verdicts.contains(&Verdict::Failed) {
                Ok(ExitCode::Reproduced)
            } else if verdicts.contains(&Verdict::Errored) {
                Ok(ExitCode::Errored)
            } else {
                Ok(ExitCode::Passed)
            }
        }
    }
}

/// The silence that `--silence auto` would have allowed, where a hang took the whole time of its iteration.
fn shorter_silence(context: &Context, judged: &JudgedSweep) -> Option<Duration> {
    let deadlines = &context.spec.deadlines;
    let took_all = |record: &Record| {
        let exit = record.exit.as_ref();
        record.outcome.outcome == OutcomeKind::Hung && exit.is_some_and(|exit| exit.ended_by == EndedBy::Deadline)
    };
    if deadlines.silence().is_some() || deadlines.silence_auto || !judged.records.iter().any(took_all) {
        return None;
    }
    let learning = Deadlines {
        silence_auto: true,
        ..*deadlines
    };
    let limit = context.quiet.limit(&learning)?;
    (limit < deadlines.total()).then_some(limit)
}

/// Prints a part of the screen: to stderr where stdout is the event stream.
fn show(args: &Args, text: &str) -> io::Result<()> {
    match args.display() {
        DisplayKind::Jsonl => write!(anstream::stderr().lock(), "{text}"),
        DisplayKind::Auto | DisplayKind::Bar | DisplayKind::Plain | DisplayKind::None => {
            write!(anstream::stdout().lock(), "{text}")
        }
    }
}

/// How an arm compares with the first one.
fn compared(base: &JudgedSweep, new: &JudgedSweep, e_value: f64) -> String {
    let side = |sweep: &JudgedSweep| Sample::of(sweep.answers(), 0);
    let mut comparison = Comparison::new(&side(base), &side(new), Question::default());
    comparison.e_value = Some(e_value);
    format!("{}\n", crate::commands::compare::text::text(&comparison, None))
}
