//! `replay`: the tests that ran before a failure in the same process, run again in that order.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use schemars::JsonSchema;
use serde::Serialize;

use super::sweep::condition_of::Taken;
use super::sweep::inherit::GivenFlags;
use super::{output, signatures};
use crate::cli::values::{Format, LogsDir};
use crate::exit_code::ExitCode;
use crate::message::hinted;
use crate::spec::Silence;
use crate::spec::imported::Allowance;
use crate::spec::values::duration;
use crate::stats::{self, Count, Method, Rate, counted as count};
use crate::sweep::scheduler::{End, Reason};

mod imported;
mod original;
mod replays;
mod search;
mod shell;
pub mod shrink;
pub mod target;
mod times;

use original::Original;
use replays::Replays;
use target::Target;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky replay logs/n4_fix8/run098             the tests of its worker again, ten times\n  \
    reproduce-flaky replay n4_fix8 98 --shrink -j 4        which of them does the failure need?\n  \
    reproduce-flaky replay n4_fix8 98 --shell              look around where it ran\n  \
    reproduce-flaky replay from-ci/n4 98 --allow container one that came in with a bundle\n\n\
    Next: reproduce-flaky replay RUN --shrink, once it failed again")]
pub struct Args {
    /// The run's directory or its log, or the name of a sweep followed by ITERATION.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Number of the iteration, where RUN is a sweep.
    pub iteration: Option<u32>,
    /// Times the list is run.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
    /// Test to look at, where several failed; else the one a process died in, else the first of them.
    #[arg(long, value_name = "ID")]
    pub test: Option<String>,
    /// Look for a shorter list that still fails.
    #[arg(long)]
    pub shrink: bool,
    /// Most runs that looking for a shorter list may take, those of earlier calls included.
    #[arg(long, default_value_t = 300, value_name = "N", requires = "shrink", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_runs: u32,
    /// Open a shell where the run executed instead, in a fresh container.
    #[arg(long, conflicts_with = "shrink")]
    pub shell: bool,
    /// Runs in flight.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub jobs: u32,
    /// Longest time a run may take, instead of the sweep's.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Longest time without any output, instead of the sweep's.
    #[arg(long, value_name = "D|auto")]
    pub silence: Option<Silence>,
    /// Run under the conditions of a recorded sweep, or those that `amplify` has shown there, instead of the run's own.
    #[arg(long, value_name = "SWEEP")]
    pub condition_of: Option<PathBuf>,
    /// What a run that came in with a bundle may use here; without it nothing of it runs, and what would is shown.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub allow: Vec<Allowance>,
    /// Signature file or folder instead of the built-in taxonomy.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    #[command(flatten)]
    pub logs: LogsDir,
    /// What to print; json is one object, on the last line.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// Replays a run.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = Arc::new(signatures::load(args.signatures.as_deref())?);
    let mut original = Original::find(args, &signatures)?;
    imported::admit(&mut original, &args.allow)?;
    if let Some(path) = &args.condition_of {
        let taken = Taken::read(path, args.signatures.as_deref())?;
        original.spec = taken.on(&original.spec, &[], &GivenFlags::default());
    }
    let deadlines = &mut original.spec.deadlines;
    deadlines.total_s = args.timeout.map_or(deadlines.total_s, |total| total.as_secs_f64());
    if let Some(silence) = args.silence {
        (deadlines.silence_s, deadlines.silence_auto) = silence.seconds();
    }
    // Volumes and files that were given relative to it are found again.
    std::env::set_current_dir(&original.spec.directory).with_context(|| {
        format!(
            "failed to enter `{}`, where the run was started",
            original.spec.directory.display()
        )
    })?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    if args.shell {
        let command = runtime.block_on(shell::command(&original, args.test.as_deref()))?;
        drop(runtime);
        return Err(shell::become_it(command));
    }
    let failure = original.failure(args.test.as_deref())?;
    anstream::eprintln!("{}", failure.described(&original));
    let replayed = runtime.block_on(async {
        let signals = super::sweep::signals()?;
        let leftovers = super::gc::Leftovers::now(&original.spec);
        let replays = Replays::open(original.clone(), failure, signatures).await?;
        let replayed = if args.shrink {
            search::run(args, &replays, signals).await
        } else {
            times::run(args, &replays, signals).await
        };
        // Also after an error: nothing that was made stays.
        replays.close().await;
        leftovers.end().await;
        anstream::eprintln!("kept in {}", replays.home().display());
        replayed
    })?;
    show(args, &replayed, &original)?;
    Ok(code(&replayed))
}

/// How long runs may go on after the first signal.
const CANCEL_GRACE: Duration = Duration::from_mins(1);

/// Refuses to say anything of runs that the world broke.
fn check(end: &End) -> anyhow::Result<()> {
    match &end.reason {
        Reason::Broken(cause) => Err(hinted(
            format!("stopped: attempts broke the same way again and again: {cause}"),
            "the same command goes on from here",
        )),
        Reason::Complete | Reason::Stopped(_) | Reason::NothingRuns(_) | Reason::Interrupted | Reason::Cancelled => {
            Ok(())
        }
    }
}

fn code(replayed: &Replayed) -> ExitCode {
    if replayed.is_interrupted {
        ExitCode::Interrupted
    } else if replayed.failed > 0 {
        ExitCode::Reproduced
    } else if replayed.of == 0 {
        ExitCode::Errored
    } else {
        ExitCode::Passed
    }
}

fn show(args: &Args, replayed: &Replayed, original: &Original) -> anyhow::Result<()> {
    match args.format {
        Format::Text => output::text(&text(replayed, &again(args, &original.shown))),
        Format::Json => output::json_line(replayed),
    }
}

/// How the user would name the run once more.
fn again(args: &Args, shown: &Path) -> String {
    let test = args.test.as_ref();
    let test = test.map(|test| format!(" --test {}", shell_words::quote(test)));
    output::quoted(shown) + &test.unwrap_or_default()
}

/// The result of a replay, as `--format json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Replayed {
    /// Version of this layout, 1.
    pub format: u32,
    /// The tests in the order they ran, the one that failed last.
    pub tests: Vec<String>,
    /// Runs in which it failed again in the same way.
    pub failed: u64,
    /// Runs that passed or failed.
    pub of: u64,
    /// What the failure is called.
    pub category: String,
    /// Lower end of Wilson's interval of the rate.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// Runs that say nothing about the tests.
    pub errored: u64,
    /// How the search for a shorter list ended; `None` where none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
    /// Runs that failed in another way.
    #[serde(skip)]
    pub others: u64,
    #[serde(skip)]
    pub is_interrupted: bool,
}

/// The result of a search for a shorter list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shrunk {
    /// Tests before the failing one at the beginning.
    pub from: usize,
    /// Whether leaving out any one of the list was tested and makes the failure go away.
    pub minimal: bool,
    /// Runs of all lists together, those of earlier calls included.
    pub runs: usize,
}

impl Replayed {
    /// Confidence of the interval.
    pub const CONFIDENCE: f64 = 0.95;

    /// The figures of a list.
    pub fn new(tests: Vec<String>, count: Count, errored: u64, target: &Target) -> Replayed {
        let (low, high) = stats::wilson(count.failed(), count.of(), Replayed::CONFIDENCE);
        Replayed {
            format: 1,
            tests,
            failed: count.failed(),
            of: count.of(),
            category: target.category().to_owned(),
            low,
            high,
            confidence: Replayed::CONFIDENCE,
            errored,
            shrunk: None,
            others: 0,
            is_interrupted: false,
        }
    }
}

/// The result in words. `again` names the run as the user did.
pub fn text(replayed: &Replayed, again: &str) -> String {
    let mut text = rate(replayed);
    if replayed.others > 0 {
        let _ = writeln!(text, "{} failed in another way", count(replayed.others, "run", "runs"));
    }
    if replayed.errored > 0 {
        let errored = count(replayed.errored, "run says", "runs say");
        let _ = writeln!(text, "{errored} nothing about the tests");
    }
    match &replayed.shrunk {
        None if replayed.failed > 0 && replayed.tests.len() > 1 => {
            let _ = writeln!(text, "next: reproduce-flaky replay {again} --shrink");
        }
        None => {}
        Some(shrunk) => {
            let before = replayed.tests.len().saturating_sub(1);
            let runs = count(shrunk.runs as u64, "run", "runs");
            let _ = match (shrunk.minimal, before) {
                (true, 0) => writeln!(text, "it needs none of the {} before it ({runs})", shrunk.from),
                (true, _) => writeln!(
                    text,
                    "it needs {before} of the {} before it, and without any one of them it was not seen ({runs})",
                    shrunk.from
                ),
                (false, _) => writeln!(
                    text,
                    "it needs at most {before} of the {} before it; fewer may do, after {runs}",
                    shrunk.from
                ),
            };
            text.push_str("in this order, in one process:\n");
            for test in &replayed.tests {
                let _ = writeln!(text, "  {test}");
            }
            let _ = writeln!(text, "next: reproduce-flaky replay {again} --shell");
        }
    }
    text
}

fn rate(replayed: &Replayed) -> String {
    let Some(seen) = Count::new(replayed.failed, replayed.of).filter(|seen| seen.of() > 0) else {
        return "no run says whether it fails again\n".to_owned();
    };
    let category = &replayed.category;
    let rate = Rate::new(seen, replayed.confidence, Method::Wilson);
    if seen.failed() > 0 {
        format!(
            "failed again with {category} in {seen} runs: {rate}
"
        )
    } else {
        format!(
            "did not fail again with {category}: {seen} runs, {rate}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::OutcomeKind;

    fn replayed(failed: u64, of: u64) -> Replayed {
        let target = Target {
            test: None,
            categories: vec!["B1".to_owned()],
            outcome: OutcomeKind::Crashed,
            is_named: false,
        };
        let tests = vec!["a.py::x".to_owned(), "a.py::y".to_owned()];
        Replayed::new(tests, Count::new(failed, of).unwrap(), 0, &target)
    }

    #[test]
    fn a_rate_never_stands_without_its_counts_and_its_interval() {
        assert_eq!(
            text(&replayed(10, 10), "n4 98"),
            "failed again with B1 in 10/10 runs: 100 % (72 % to 100 %)\nnext: reproduce-flaky replay n4 98 --shrink\n"
        );
        let none = Replayed {
            others: 2,
            ..replayed(0, 10)
        };
        let none = text(&none, "n4 98");
        assert!(
            none.starts_with("did not fail again with B1: 0/10 runs, below 26 %\n2 runs failed in another way"),
            "{none}"
        );
        assert!(text(&replayed(0, 0), "").starts_with("no run says"));
    }

    #[test]
    fn a_shorter_list_is_shown_in_order() {
        let mut replayed = replayed(7, 10);
        replayed.shrunk = Some(Shrunk {
            from: 39,
            minimal: true,
            runs: 80,
        });
        let text = text(&replayed, "n4 98");
        assert!(text.contains("it needs 1 of the 39 before it"), "{text}");
        assert!(text.contains("\n  a.py::x\n  a.py::y\n"), "{text}");
    }
}
