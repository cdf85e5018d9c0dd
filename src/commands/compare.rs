//! `compare`: a base against a new sweep, and the gate of a nightly job.

use crate::cli::compare::{Args, Format};
use crate::exit_code::ExitCode;
use crate::model::arms;
use crate::model::comparison::{Comparison, Question};
use crate::model::gate::Gate;
use crate::render;

use super::{output, signatures, source};

/// Prints the comparison, and closes the gate if there is one.
///
/// # Errors
/// A side that cannot be read or says nothing, and two sides that are the same iterations.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let (base, new) = (
        source::read(&args.base, &signatures)?,
        source::read(&args.new, &signatures)?,
    );
    source::ensure_apart(&base, &new)?;
    let question = Question {
        expect: args.expect.map(Into::into),
        alpha: args.alpha,
        confidence: args.confidence,
    };
    let mut comparison = Comparison::new(&base.side, &new.side, question);
    comparison.e_value = source::blocks_of(&base, &new).and_then(|(base, new)| arms::e_value(base, new));
    let gate = Gate {
        regression: args.gate,
        rate: args.gate_rate,
    };
    let decision = (args.gate || args.gate_rate.is_some()).then(|| gate.decide(&comparison));
    let decided = decision.as_ref().map(|decision| (&gate, decision));
    match args.format {
        Format::Json => {
            output::json(&comparison)?;
            // The decision is the exit code; its reason is for whoever reads the job's log.
            for line in decided.map_or_else(Vec::new, |(gate, decision)| {
                render::compare::gate_lines(&comparison, gate, decision)
            }) {
                anstream::eprintln!("{line}");
            }
        }
        Format::Text => output::text(&render::compare::text(&comparison, decided))?,
        Format::Github => output::text(&render::annotations::github(&comparison, decided))?,
        Format::Markdown => output::text(&render::compare::as_markdown(&comparison, decided))?,
    }
    Ok(match decision {
        Some(decision) if !decision.is_open() => ExitCode::Reproduced,
        Some(_) | None => ExitCode::Passed,
    })
}
