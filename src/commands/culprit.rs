//! `culprit`: which image, commit or setting brought a class of failure in, with its rate known neither before nor after.
//! What it takes is said before anything starts; every run is an iteration of its candidate's own sweep.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args as ClapArgs, Subcommand};

use super::decided::{self, Ended};
use super::sweep::args::Args as SweepArgs;
use super::sweep::before;
use super::{prove, signatures};
use crate::cli::settings::Settings;
use crate::cli::values::Format;
use crate::exit_code::ExitCode;
use crate::message::{tell, usage};
use crate::sweep::stop::Class;

mod asked;
mod axis;
mod commits;
mod course;
mod end;
mod evidence;
mod found;
mod open;
mod probe;
mod words;
mod work;

use asked::Asked;
use course::Ahead;
pub(super) use found::Found;

/// Where the flags of a search itself stand in its help.
pub const HEADING: &str = "The search";

/// `culprit`.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
#[command(
    args_override_self = true,
    after_help = "Examples:\n  \
    reproduce-flaky culprit --of A2 --images app:1 app:2 app:3      with which image did A2 come?\n  \
    reproduce-flaky culprit --of A2 -i app:3 --values WORKERS=1,2,4,8   … with which value?\n  \
    reproduce-flaky culprit --of A2 --candidate 'old -i app:1' --candidate 'new -i app:2 -E POOL=1'\n  \
    reproduce-flaky culprit --of A2 --commits v1.2..main --dry-run  with which commit; what would it take?\n\n\
    The first candidate is the good end, the last one the bad end. The same command resumes.\n\
    Exit code 0 found, 4 none of these or undecided.\n\
    Next: reproduce-flaky show on a run that failed, reproduce-flaky prove on its fix"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What came in: a category such as `A2`, an outcome such as `hung`, or `any`.
    #[arg(long, value_name = "CLASS", value_parser = prove::class, help_heading = HEADING)]
    pub of: Option<Class>,
    /// Images in order, such as tags by date.
    #[arg(long, value_name = "IMAGE", num_args = 1.., help_heading = HEADING)]
    pub images: Vec<String>,
    /// Commits from a good one to a bad one, each in a worktree of its own, in which `before` of the settings file is run.
    #[arg(long, value_name = "GOOD..BAD", help_heading = HEADING)]
    pub commits: Option<String>,
    /// Of a merge only the side that was merged into, as `git log --first-parent` has it.
    #[arg(long, requires = "commits", help_heading = HEADING)]
    pub first_parent: bool,
    /// Only commits that touch the paths behind `--`, as for git.
    #[arg(long = "paths", requires = "commits", help_heading = HEADING)]
    pub only_paths: bool,
    /// A candidate: its name and the flags of a sweep that it has besides; repeatable, in order.
    #[arg(long, value_name = "'NAME FLAGS…'", help_heading = HEADING)]
    pub candidate: Vec<String>,
    /// Candidates from a file, one a line.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub candidates: Option<PathBuf>,
    /// Values of a variable, in order.
    #[arg(long, value_name = "NAME=A,B,…", help_heading = HEADING)]
    pub values: Option<String>,
    /// How much likelier than others a candidate is beforehand, such as `app:2=5`; 0: not this one.
    #[arg(long, value_name = "CANDIDATE=W", value_delimiter = ',', help_heading = HEADING)]
    pub weights: Vec<String>,
    /// A recorded sweep of a candidate: its runs count.
    #[arg(long, value_name = "CANDIDATE=SWEEP", help_heading = HEADING)]
    pub recorded: Vec<String>,
    /// Runs after which the search ends with what it knows.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000), help_heading = HEADING)]
    pub max_runs: u64,
    /// Name the candidate without running it once more beside the one before it.
    #[arg(long, help_heading = HEADING)]
    pub no_confirm: bool,
    /// What to print at the end.
    #[arg(long, default_value = "text", value_name = "FORMAT", help_heading = HEADING)]
    pub format: Format,
    /// What all candidates run: flags of a sweep.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// What is done for git's own search.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Tell `git bisect run` whether the commit that is checked out here is good or bad.
    Probe(Box<probe::Args>),
}

/// A search refuses this flag too; a proof passes over it.
const CHUNKS: (&str, &str) = ("chunk_size", "--chunk-size");

/// The failure that is looked for, which has to be said.
fn class(of: Option<&Class>) -> anyhow::Result<Class> {
    of.cloned().ok_or_else(|| {
        usage(
            "nothing says which failure is looked for",
            Some("--of A2, a category that `summary` names; --of hung, an outcome; --of any"),
        )
    })
}

/// Searches for the candidate that a failure came with, or says what is known.
pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    if let Some(Command::Probe(args)) = &args.command {
        return probe::run(args, settings);
    }
    decided::refuse(
        &args.sweep.given,
        &[CHUNKS],
        "a search decides itself which runs it takes, and runs them here",
        "--max-runs bounds them, -j is how many at a time",
    )?;
    let class = class(args.of.as_ref())?;
    let signatures = Arc::new(signatures::load(args.sweep.signatures.as_deref())?);
    let asked = Asked::new(args, settings, class, signatures)?;
    let course = asked.read()?;
    if args.sweep.dry_run {
        return asked.dry_run(&course);
    }
    if let Ahead::Over(_) = course.ahead()
        && course.spent() > 0
    {
        tell(format_args!(
            "note: nothing is run: the runs recorded below `{}` have decided; --tag names another search",
            asked.dir.path().display()
        ));
        return asked.finish(&course, &Ended::AsPlanned);
    }
    asked.announce(&course);
    before::is_as_begun(&asked.sweep, settings, &asked.specs())?;
    let (course, ended) = decided::begin(&asked.candidates[0].spec, async |signals, backends| {
        asked.search(course, signals, backends).await
    })?;
    if let Ended::Broken(cause) = &ended {
        asked.finish(&course, &ended)?;
        return Err(decided::broken(cause));
    }
    asked.finish(&course, &ended)
}
