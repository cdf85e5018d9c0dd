//! `amplify`: the conditions under which a failure comes often. A search over settings that are on or off, the winner
//! confirmed on fresh runs beside the base, and its rate measured. The same command resumes.

use std::sync::Arc;

use clap::Args as ClapArgs;

use super::decided::{self, Ended};
use super::sweep::args::Args as SweepArgs;
use super::sweep::before;
use super::{prove, signatures};
use crate::cli::settings::Settings;
use crate::cli::values::Format;
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::sweep::stop::Class;

mod asked;
mod base;
mod course;
mod end;
mod knob;
mod work;

use asked::Asked;
pub(in crate::commands) use course::{Winner, winner};
pub(in crate::commands) use end::{Amplified, in_shell};
pub(in crate::commands) use knob::Knob;

/// Where the flags of the search itself stand in its help.
pub const HEADING: &str = "The search";

/// `amplify`.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky amplify logs/serial --of A4                       every knob that can be had here\n  \
    reproduce-flaky amplify logs/serial --of A4 --dry-run             what would it try, and for how long?\n  \
    reproduce-flaky amplify logs/serial --of A4 --knob one-core --knob starve --knob 'slow: -E DELAY_MS=50'\n\n\
    What is not said is as in BASE. The same command resumes.\n\
    Exit code 0 shown, 4 not shown.\n\
    Next: reproduce-flaky prove with the flags that it names")]
pub struct Args {
    /// Directory of a recorded sweep in which the failure was seen; without it what `-i` and pytest's arguments say.
    #[arg(value_name = "BASE")]
    pub base: Option<String>,
    /// What is to come more often: a category such as `A4`, an outcome such as `hung`, or `any`; needed where BASE has several.
    #[arg(long, value_name = "CLASS", value_parser = prove::base::class, help_heading = HEADING)]
    pub of: Option<Class>,
    /// Node id of the test that has to be among those that failed.
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    pub test: Option<String>,
    /// Setting to try, on or off, repeatable: a condition by name, or a name of your own with its flags; without it every
    /// condition that can be had here.
    #[arg(long = "knob", value_name = "NAME[: FLAGS]", help_heading = HEADING)]
    pub knobs: Vec<String>,
    /// Most runs of all stages together.
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u32).range(80..=100_000), help_heading = HEADING)]
    pub max_runs: u32,
    /// Draws which knobs each run has on; another one each time without it.
    #[arg(long, value_name = "N", help_heading = HEADING)]
    pub seed: Option<u64>,
    /// What to print at the end.
    #[arg(long, default_value = "text", value_name = "FORMAT", help_heading = HEADING)]
    pub format: Format,
    /// What runs: flags of a sweep.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// Looks for the conditions, or says that it has shown none.
pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    decided::refuse(
        &args.sweep.given,
        &[],
        "the search decides itself which runs it needs, and runs them here",
        "--max-runs says how many it may take; --dry-run says what it would try",
    )?;
    let signatures = Arc::new(signatures::load(args.sweep.signatures.as_deref())?);
    let mut asked = Asked::new(args, settings, signatures)?;
    if args.sweep.dry_run {
        return asked.dry_run();
    }
    if asked.is_known && asked.is_over()? {
        tell(format_args!(
            "note: nothing is run: the runs recorded in `{}` have decided; --tag names another search",
            asked.dir().display()
        ));
        return asked.finish(None);
    }
    before::is_as_begun(&asked.sweep, settings, std::slice::from_ref(&asked.spec))?;
    let spec = asked.spec.clone();
    let end = decided::begin(&spec, async |signals, backends| asked.search(signals, backends).await)?;
    if let Ended::Broken(cause) = &end {
        return Err(decided::broken(cause));
    }
    asked.finish(Some(&end))
}
