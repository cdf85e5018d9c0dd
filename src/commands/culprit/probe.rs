//! `culprit probe`: what `git bisect run` asks of a commit, in the exit codes that it understands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::{CHUNKS, commits};
use crate::backend::Backend;
use crate::cli::settings::Settings;
use crate::commands::judged_sweep::{self, JudgedSweep};
use crate::commands::prove::{self, base::is_of};
use crate::commands::sweep::args::Args as SweepArgs;
use crate::commands::sweep::{Probed, before, condition_of, dry_run, specification};
use crate::commands::{decided, output, signatures};
use crate::exit_code::ExitCode;
use crate::judge::{Outcome, SignatureSet, Verdict};
use crate::message::tell;
use crate::spec::Spec;
use crate::stats::{Answer, Count, counted, percent};
use crate::sweep::planned::{Plan, Planned, Runs, Step};
use crate::sweep::scheduler::Reason;
use crate::sweep::stop::{Class, StopReason};

/// Rate of which is said how often it passes by luck.
const RARE: f64 = 0.03;
/// Runs that said nothing, without one that did, after which the commit is skipped.
const MOST_SILENT: usize = 4;

/// `culprit probe`.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
#[command(after_help = "Examples:\n  \
    git bisect start BAD GOOD\n  \
    git bisect run reproduce-flaky culprit probe --of A2 --times 100 tests/test_pool.py\n\n\
    Exit code 0 good: no run failed in CLASS, 1 bad: one did, 125 skip: it does not build, or its runs say nothing,\n\
    128 the tool failed, upon which git stops.\n\
    Next: reproduce-flaky culprit --of A2 --commits GOOD..BAD, which weighs every run instead of believing one answer")]
pub struct Args {
    /// What came in: a category such as `A2`, an outcome such as `hung`, or `any`.
    #[arg(long, value_name = "CLASS", value_parser = prove::class, help_heading = super::HEADING)]
    pub of: Option<Class>,
    /// Runs without a failure after which the commit is called good.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = super::HEADING)]
    pub times: u32,
    /// What runs: flags of a sweep.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// Runs the commit that is checked out here, until the class has failed once or often enough not.
pub(super) fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    decided::refuse(
        &args.sweep.given,
        &[CHUNKS],
        "a probe runs until it knows what to tell git",
        "--times says how many runs without a failure are enough, -j is how many at a time",
    )?;
    let class = super::class(args.of.as_ref())?;
    let here = std::env::current_dir().context("failed to find the current directory")?;
    let commit = commits::checked_out(&here)?;
    if let Some(path) = args.sweep.paths.iter().find(|path| !exists(path)) {
        return Ok(skip(&commit, &format!("it has no `{path}`")));
    }
    let signatures = Arc::new(signatures::load(args.sweep.signatures.as_deref())?);
    let tag = args.sweep.tag.clone().unwrap_or_else(|| class.to_string());
    let tag = format!("probe_{tag}-{commit}");
    let mut sweep = decided::own_sweep(&args.sweep, args.times.saturating_mul(2), tag.clone(), &tag)?;
    sweep.chunk_size = None;
    let spec = condition_of::under(specification::of(&sweep, settings)?, &sweep)?;
    if sweep.dry_run {
        return dry_run::print(&sweep, settings, &[spec]);
    }
    before::is_as_begun(&sweep, settings, std::slice::from_ref(&spec))?;
    warn(&class, args.times);
    let probing = Probing {
        class,
        times: args.times as usize,
    };
    let ended = decided::begin(&spec, async |signals, backends| {
        if let Err(error) = before::run(settings).await {
            return Ok(Ended::Unbuilt(format!("{error:#}")));
        }
        probe(&probing, &sweep, spec.clone(), &signatures, signals, backends).await
    })?;
    match ended {
        Ended::Unbuilt(why) => Ok(skip(&commit, &why)),
        Ended::Ran(Reason::Interrupted | Reason::Cancelled) => Ok(ExitCode::Interrupted),
        Ended::Ran(Reason::Broken(cause) | Reason::NothingRuns(cause)) if !cause.starts_with(SILENT) => {
            Err(decided::broken(&cause))
        }
        Ended::Ran(_) => answer(&probing, &sweep, &spec, &commit, &signatures),
    }
}

/// How a work that gave up on runs that errored begins to say so.
const SILENT: &str = "the runs errored";

/// How the runs came to an end.
enum Ended {
    Unbuilt(String),
    Ran(Reason),
}

async fn probe(
    probing: &Probing,
    sweep: &SweepArgs,
    spec: Spec,
    signatures: &Arc<SignatureSet>,
    signals: tokio::sync::mpsc::UnboundedReceiver<()>,
    backends: &mut Vec<Arc<dyn Backend>>,
) -> anyhow::Result<Ended> {
    let arm = Probed::new(sweep, spec, backends).await?.open(sweep, signatures)?;
    arm.context.backend.make_noise(arm.context.sweep.dir()).await?;
    let recorded = arm.recorded.iter();
    let recorded: BTreeMap<u32, Answer> = recorded
        .map(|(iteration, outcome)| (*iteration, probing.answer(outcome)))
        .collect();
    let mut planned = Planned::new(probing.clone(), vec![arm], Runs::recorded([recorded]));
    Ok(Ended::Ran(
        decided::schedule(&mut planned, sweep.jobs, sweep, signals).await?,
    ))
}

/// Says what the recorded runs tell git.
fn answer(
    probing: &Probing,
    sweep: &SweepArgs,
    spec: &Spec,
    commit: &str,
    signatures: &SignatureSet,
) -> anyhow::Result<ExitCode> {
    let dir = sweep.logs.dir.join(spec.dir_name());
    judged_sweep::rebuild(&dir, signatures)?;
    let judged = JudgedSweep::read(&dir, signatures)?;
    let records = judged.answers().first();
    let answers: Vec<Answer> = records.iter().map(|record| probing.answer(&record.outcome)).collect();
    let (count, class) = (Answer::count(&answers), &probing.class);
    let say = |text: &str| decided::say(sweep, text, output::text);
    match probing.verdict(&answers) {
        Some(GitAnswer::Bad) => {
            let failed = records.iter().find(|record| is_of(class, &record.outcome));
            let show = failed.map_or_else(String::new, |record| {
                format!("\n  reproduce-flaky show {}", output::quoted(&record.dir))
            });
            let failed = failed_in(class);
            say(&format!("bad: {count} runs of {commit} {failed}{show}\n"))?;
            Ok(ExitCode::Bad)
        }
        Some(GitAnswer::Good) => {
            let (runs, failed) = (counted(count.of(), "run", "runs"), failed_in(class));
            say(&format!("good: {runs} of {commit}, none {failed}\n"))?;
            Ok(ExitCode::Passed)
        }
        Some(GitAnswer::Nothing) | None => {
            let last = records
                .iter()
                .rfind(|record| probing.answer(&record.outcome) == Answer::Unanswered)
                .map(|record| super::evidence::why(&record.outcome));
            let why = last.unwrap_or_else(|| "no run of it says anything".to_owned());
            Ok(skip(commit, &why))
        }
    }
}

fn skip(commit: &str, why: &str) -> ExitCode {
    tell(format_args!("skip: {commit}: {why}"));
    ExitCode::Skipped
}

/// Whether the file of a path or node id is there.
fn exists(path: &str) -> bool {
    Path::new(path.split("::").next().unwrap_or(path)).exists()
}

fn failed_in(class: &Class) -> String {
    match class {
        Class::Any => "failed".to_owned(),
        Class::Outcome(_) | Class::Category(_) => format!("failed in {class}"),
    }
}

/// What one has to know of an answer that git believes.
fn warn(class: &Class, times: u32) {
    let by_luck = (1.0 - RARE).powf(f64::from(times));
    tell(format_args!(
        "note: a commit that fails in {} of the runs passes {} by luck in {} of cases, and git believes it; \
         `culprit --of {class} --commits GOOD..BAD` weighs all runs together",
        percent(RARE),
        counted(u64::from(times), "run", "runs"),
        percent(by_luck)
    ));
}

/// What git is told of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GitAnswer {
    Good,
    Bad,
    Nothing,
}

/// Runs a commit until it is known what to tell.
#[derive(Clone, Debug)]
struct Probing {
    class: Class,
    times: usize,
}

impl Probing {
    /// What the answers so far tell; those that are awaited may not be needed.
    fn verdict(&self, answers: &[Answer]) -> Option<GitAnswer> {
        let number = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
        let (passed, silent) = (number(Answer::Passed), number(Answer::Unanswered));
        if number(Answer::Failed) > 0 {
            return Some(GitAnswer::Bad);
        }
        if passed >= self.times {
            return Some(GitAnswer::Good);
        }
        let is_silent = passed == 0 && silent >= MOST_SILENT;
        (is_silent || passed + silent >= 2 * self.times).then_some(GitAnswer::Nothing)
    }
}

impl Plan for Probing {
    fn next(&self, runs: &Runs) -> Step {
        let answers = runs.answers(0);
        if self.verdict(&answers).is_some() {
            return Step::Decided(Reason::Stopped(StopReason::Decided));
        }
        let silent = answers.iter().filter(|answer| **answer == Answer::Unanswered).count();
        let hoped = answers.len() - silent;
        if hoped >= self.times || answers.len() >= 2 * self.times {
            return Step::Wait;
        }
        Step::Run {
            arm: 0,
            iteration: runs.first_free(0),
        }
    }

    /// A failure of another class says nothing: the class may have been hidden by it.
    fn answer(&self, outcome: &Outcome) -> Answer {
        match outcome.verdict {
            Verdict::Passed => Answer::Passed,
            Verdict::Failed if is_of(&self.class, outcome) => Answer::Failed,
            Verdict::Failed | Verdict::Errored => Answer::Unanswered,
        }
    }

    fn left(&self, runs: &Runs) -> u64 {
        let answers = runs.answers(0);
        let passed = answers.iter().filter(|answer| **answer != Answer::Unanswered).count();
        self.times.saturating_sub(passed) as u64
    }

    fn standing(&self, runs: &Runs) -> String {
        let count: Count = Answer::count(&runs.answers(0));
        format!("{} {count}", self.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_bad_enough_passes_are_good_and_what_says_nothing_is_skipped() {
        let probing = Probing {
            class: Class::Any,
            times: 3,
        };
        for (letters, expected) in [
            ("", None),
            ("..", None),
            ("..?", None),
            ("...", Some(GitAnswer::Good)),
            ("..F", Some(GitAnswer::Bad)),
            ("xxx", None),
            ("xxxx", Some(GitAnswer::Nothing)),
            (".xxxx", None),
            (".xxxxx", Some(GitAnswer::Nothing)),
            ("xxxF", Some(GitAnswer::Bad)),
        ] {
            assert_eq!(probing.verdict(&Answer::series(letters)), expected, "{letters}");
        }
    }
}
