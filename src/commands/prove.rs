//! `prove`: whether a fix removed a class of failure, shown against a recorded sweep, or against the base run again
//! beside the fix. What it takes is said before anything starts; it stops as soon as the answer is certain.

use std::sync::Arc;

use clap::Args as ClapArgs;

use super::decided::{self, Ended};
use super::signatures;
use super::sweep::args::Args as SweepArgs;
use super::sweep::before;
use crate::cli::settings::Settings;
use crate::cli::values::{Format, limit, rate};
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::spec::imported::Allowance;
use crate::sweep::stop::Class;

mod asked;
pub(super) mod base;
mod course;
mod end;
mod plan;
mod words;

pub(super) use words::Proved;

use asked::Asked;
pub(super) use asked::fix_differences;
use base::Base;
pub(super) use base::class;

/// Where the flags of a proof itself stand in its help.
pub const HEADING: &str = "The proof";

/// `prove`.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky prove logs/serial --of A2 -i app:fix         is A2 gone with this image?\n  \
    reproduce-flaky prove logs/serial -E ROUTER_VARIANT=scoped   … with this variable?\n  \
    reproduce-flaky prove ../main/logs/serial                    … in this checkout?\n  \
    reproduce-flaky prove logs/serial -i app:fix --dry-run       what would it take?\n\n\
    What is not said is as in BASE. The same command resumes.\n\
    Exit code 0 fewer, 3 not shown or more, 4 no decision.\n\
    Next: reproduce-flaky show on a run that failed again")]
pub struct Args {
    /// Before: directory of a recorded sweep in which the failure was seen.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// What is to be gone: a category such as `A2`, an outcome such as `hung`, or `any`; needed where BASE has several.
    #[arg(long, value_name = "CLASS", value_parser = base::class, help_heading = HEADING)]
    pub of: Option<Class>,
    /// Share of the base's rate that the fix may leave; 0 is a complete fix.
    #[arg(long, default_value = "0", value_name = "SHARE", value_parser = limit, help_heading = HEADING)]
    pub to: f64,
    /// Probability with which such a fix is to be shown.
    #[arg(long, default_value = "0.8", value_name = "SHARE", value_parser = rate, help_heading = HEADING)]
    pub power: f64,
    /// Run the base again, now, beside the fix, instead of comparing with its recorded runs.
    #[arg(long, help_heading = HEADING)]
    pub control: bool,
    /// Run everything that was announced, whatever it shows, and look once at the end.
    #[arg(long, help_heading = HEADING)]
    pub full: bool,
    /// Compare with the recorded runs although the base was selected, drifts, or ran under other conditions.
    #[arg(long, conflicts_with = "control", help_heading = HEADING)]
    pub trust_base: bool,
    /// What a base that came in with a bundle may use here; without it nothing of it runs, and nothing is taken from it.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', help_heading = HEADING)]
    pub allow: Vec<Allowance>,
    /// What to print at the end.
    #[arg(long, default_value = "text", value_name = "FORMAT", help_heading = HEADING)]
    pub format: Format,
    /// The fix: flags of a sweep.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// Proves a fix, or says how far it is from that.
pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    decided::refuse(
        &args.sweep.given,
        &[],
        "a proof decides itself how many runs it takes, and runs them here",
        "--dry-run says how many; --full runs them all whatever they show",
    )?;
    let signatures = Arc::new(signatures::load(args.sweep.signatures.as_deref())?);
    let base = Base::read(args, &signatures)?;
    let mut asked = Asked::new(args, settings, base, signatures)?;
    let known = asked.known()?;
    if let Some(proof) = &known {
        asked.go_on(proof);
    }
    if let Some(proof) = &known
        && !args.sweep.dry_run
    {
        let proving = asked.proving(proof.clone())?;
        if asked.read(&proving)?.1.conclusion.is_some() {
            tell(format_args!(
                "note: nothing is run: the runs recorded in `{}` have decided; --tag names a proof of another fix",
                asked.dir(&asked.fix).display()
            ));
            return asked.finish(&proving);
        }
    }
    if args.sweep.dry_run {
        return asked.dry_run(known);
    }
    before::is_as_begun(&asked.sweep, settings, std::slice::from_ref(&asked.fix))?;
    let (proving, end) = decided::begin(&asked.fix, async |signals, backends| {
        asked.prove(known, signals, backends).await
    })?;
    match end {
        Ended::AsPlanned | Ended::Interrupted => {}
        Ended::GaveUp(cause) => tell(format_args!("warning: stopped without a decision: {cause}")),
        Ended::Broken(cause) => return Err(decided::broken(&cause)),
    }
    asked.finish(&proving)
}
