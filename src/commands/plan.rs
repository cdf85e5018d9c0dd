//! `plan`: what a sweep's counts say about the next one.

use crate::cli::figures::Format;
use crate::cli::plan::Args;
use crate::exit_code::ExitCode;
use crate::model::plan::Plan;
use crate::render;

use super::{output, signatures, source};

/// Prints the plan.
///
/// # Errors
/// A base that cannot be read or says nothing.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let side = source::read(&args.base, &signatures::load(args.signatures.as_deref())?)?.side;
    let plan = Plan::new(side.any, args.confidence, args.alpha, args.below);
    match args.format {
        Format::Json => output::json(&plan)?,
        Format::Text => {
            output::text(&render::plan::text(&plan))?;
            for note in side.notes() {
                output::text(&format!("note: {note}\n"))?;
            }
        }
        Format::Markdown => output::text(&render::plan::as_markdown(&side.name, &plan))?,
    }
    Ok(ExitCode::Passed)
}
