//! `compare`: a base against a new sweep, and the gate of a nightly job.

pub mod annotations;
pub mod text;

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::operand::{self, Operand, Reruns};
use super::{output, signatures};
use crate::cli::values::{LogsDir, confidence, level, limit};
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::report::shown::shown;
use crate::stats::ExactTest;
use crate::stats::comparison::{Comparison, Direction, Question};
use crate::stats::regression::RegressionGate;
use crate::sweep::arms;

/// `compare`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky compare logs/serial logs/serial_fix8 --expect fewer\n  \
    reproduce-flaky compare 2/75 0/50\n  \
    reproduce-flaky compare logs/night_good logs/night --gate --gate-rate 10%\n\n\
    Exit code 0 unless a gate is closed, which is 3.\n\
    Next: reproduce-flaky plan BASE, or reproduce-flaky show on an iteration that failed")]
pub struct Args {
    /// Before: directory of a sweep, or counts such as `2/75`.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// Now: directory of a sweep, or counts.
    #[arg(value_name = "NEW")]
    pub new: String,
    /// Direction stated before the sweeps were run; only it is tested, at the whole level.
    #[arg(long, value_name = "DIRECTION")]
    pub expect: Option<Direction>,
    /// Test that the verdicts come from; without it Barnard's where both sizes were fixed beforehand, Fisher's elsewhere.
    #[arg(long, value_name = "TEST")]
    pub test: Option<ExactTest>,
    /// Exit with 3 if any class fails more than before.
    #[arg(long)]
    pub gate: bool,
    /// Exit with 3 if more than this share of the new iterations failed, whatever it was before.
    #[arg(long, value_name = "RATE", value_parser = limit)]
    pub gate_rate: Option<f64>,
    /// Count an iteration as failed whose tests passed only after a rerun in the same session (pytest-rerunfailures).
    #[arg(long)]
    pub count_reruns: bool,
    /// Chance of a wrong verdict that is accepted, over all classes together.
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
    pub format: Format,
}

/// What `compare` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables.
    Text,
    /// One JSON object.
    Json,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
    /// Annotations of a GitHub job: new categories, what became more, a closed gate.
    Github,
}

/// Prints the comparison, and closes the gate if there is one.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let reruns = if args.count_reruns { Reruns::Fail } else { Reruns::Pass };
    let read = |side: &str| Operand::read_counting(side, &args.logs.dir, &signatures, reruns);
    let (base, new) = (read(&args.base)?, read(&args.new)?);
    operand::ensure_apart(&base, &new)?;
    let question = Question {
        expect: args.expect,
        alpha: args.alpha,
        confidence: args.confidence,
        test: args.test,
    };
    let mut comparison = Comparison::new(&base.sample, &new.sample, question);
    comparison.e_value = operand::blocks_of(&base, &new).and_then(|(base, new)| arms::e_value(&base, &new));
    let gate = RegressionGate {
        regression: args.gate,
        rate: args.gate_rate,
    };
    let decision = (args.gate || args.gate_rate.is_some()).then(|| gate.decide(&comparison));
    if args.format != Format::Json {
        show(&mut comparison);
    }
    let decided = decision.as_ref().map(|decision| (&gate, decision));
    match args.format {
        Format::Json => {
            output::json(&comparison)?;
            // The decision is the exit code; its reason is for whoever reads the job's log.
            for line in decided.map_or_else(Vec::new, |(gate, decision)| {
                text::gate_lines(&comparison, gate, decision)
            }) {
                tell(format_args!("{line}"));
            }
        }
        Format::Text => output::text(&text::text(&comparison, decided))?,
        Format::Github => output::text(&annotations::github(&comparison, decided))?,
        Format::Markdown => output::text(&text::as_markdown(&comparison, decided))?,
    }
    Ok(match decision {
        Some(decision) if !decision.is_open() => ExitCode::Reproduced,
        Some(_) | None => ExitCode::Passed,
    })
}

/// Names of classes, sweeps, machines and tests as a page may show them.
fn show(comparison: &mut Comparison) {
    let clean = |text: &mut String| *text = shown(text).into_owned();
    comparison.classes.iter_mut().for_each(|class| clean(&mut class.id));
    comparison.nodes.iter_mut().for_each(|pair| clean(&mut pair.node));
    comparison.notes.iter_mut().for_each(clean);
    clean(&mut comparison.base.name);
    clean(&mut comparison.new.name);
    for (id, first) in &mut comparison.appeared {
        clean(id);
        if let Some(first) = first {
            first.test.iter_mut().chain(&mut first.evidence).for_each(clean);
        }
    }
}
