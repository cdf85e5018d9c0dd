//! The run that is replayed: its directory, its sweep, which test failed in it, and which tests ran before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::commands::replay::Args;
use crate::commands::replay::target::{Target, without_group};
use crate::commands::sweep_name;
use crate::judge::pytest::order;
use crate::judge::pytest::trail::{self, Trail};
use crate::judge::{self, Outcome, OutcomeKind, RunFiles as _, SignatureSet, Verdict};
use crate::message::{hinted, usage};
use crate::run::{self, Files};
use crate::spec::{Mode, Spec};
use crate::sweep::argv;

#[derive(Clone, Debug)]
pub(super) struct Original {
    /// The run's directory, as the user would type it.
    pub(super) shown: PathBuf,
    /// The run's directory, absolute.
    dir: PathBuf,
    /// The sweep's directory, absolute.
    pub(super) sweep: PathBuf,
    pub(super) iteration: u32,
    pub(super) spec: Spec,
    outcome: Outcome,
}

/// The failure that is to be seen again.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Test, categories and outcome by which the failure is recognized.
    pub(super) target: Target,
    /// The tests to run, in order, the one that failed last.
    pub(super) tests: Vec<String>,
    /// The xdist worker that the tests ran in.
    worker: Option<String>,
}

impl Original {
    pub(super) fn find(args: &Args, signatures: &SignatureSet) -> anyhow::Result<Original> {
        let shown = named(args)?;
        let dir = fs::canonicalize(&shown).with_context(|| format!("failed to read `{}`", shown.display()))?;
        let files = run::run_files(&dir)?;
        let (Some(dir), Some(iteration)) = (files.dir().map(Path::to_owned), files.iteration()) else {
            return Err(hinted(
                format!("`{}` is no run of a sweep", shown.display()),
                "name a directory runNNN, or a sweep and the number of an iteration",
            ));
        };
        let sweep = dir.parent().unwrap_or(&dir).to_owned();
        let Some(spec) = run::spec(&sweep)? else {
            return Err(hinted(
                format!(
                    "`{}` has no sweep.json: where the run executed is not known",
                    sweep.display()
                ),
                "runs of the old script cannot be replayed; run the sweep with this tool",
            ));
        };
        let (exit, _) = files.exit();
        let outcome = judge::judge(&files, exit.as_ref(), signatures)
            .with_context(|| format!("failed to read the logs of `{}`", shown.display()))?;
        Ok(Original {
            shown,
            dir,
            sweep,
            iteration,
            spec,
            outcome,
        })
    }

    /// Its directory, absolute.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The failure of the run that [`Target::of`] chooses, or that of the test that is asked for.
    pub(super) fn failure(&self, asked: Option<&str>) -> anyhow::Result<Failure> {
        let shown = self.shown.display();
        if self.outcome.verdict != Verdict::Failed {
            return Err(hinted(
                format!("nothing failed in `{shown}`: it {}", ended(self.outcome.outcome)),
                "reproduce-flaky summary names the runs that failed",
            ));
        }
        let target = self.target(asked)?;
        let files = run::run_files(&self.dir)?;
        let trail = read_trail(&files)?;
        let test = match (&target.test, &trail) {
            (Some(test), _) => test.clone(),
            // The process died after its last test: the list is every test that it had run.
            (None, Some(trail)) => {
                let worker = self.outcome.crashes.iter().find_map(|crash| crash.worker.as_deref());
                match trail.last_of(worker) {
                    Some(last) => last.id.clone(),
                    None => return Err(self.nameless()),
                }
            }
            (None, None) => return Err(self.nameless()),
        };
        if !test.contains("::") {
            return Err(hinted(
                format!("`{shown}` failed while it collected `{test}`, before any test ran"),
                format!("reproduce-flaky -- {}", shell_words::quote(&test)),
            ));
        }
        let known = trail
            .as_ref()
            .and_then(|trail| trail.tests.iter().find(|known| known.id == test))
            .map(|known| &known.worker);
        let worker = known.cloned().unwrap_or_else(|| {
            let named = self
                .outcome
                .evidence
                .iter()
                .find(|evidence| evidence.test.as_ref() == Some(&test));
            named.and_then(|evidence| evidence.worker.clone())
        });
        let mut tests = self.before(&files, trail.as_ref(), &test)?;
        tests.push(test);
        Ok(Failure { target, tests, worker })
    }

    fn target(&self, asked: Option<&str>) -> anyhow::Result<Target> {
        let failing = &self.outcome.failing_tests;
        match (Target::of(&self.outcome, asked), asked) {
            (Some(target), _) => Ok(target),
            (None, Some(asked)) => Err(usage(
                format!("`{asked}` did not fail in `{}`", self.shown.display()),
                Some(&format!("what failed there: {}", failing.join(", "))),
            )),
            (None, None) => Err(self.nameless()),
        }
    }

    fn nameless(&self) -> anyhow::Error {
        hinted(
            format!(
                "nothing names the test that {} in `{}`",
                ended(self.outcome.outcome),
                self.shown.display()
            ),
            "name it with --test ID",
        )
    }

    fn before(&self, files: &Files, trail: Option<&Trail>, test: &str) -> anyhow::Result<Vec<String>> {
        if let Some(trail) = trail {
            let known = |entry: &&trail::Test| without_group(&entry.id) == without_group(test);
            let before = trail
                .before(test)
                .or_else(|| trail.before(&trail.tests.iter().find(known)?.id));
            if let Some(before) = before {
                return Ok(before.into_iter().map(str::to_owned).collect());
            }
        }
        if let Some((name, console)) = files.console()? {
            let (exit, _) = files.exit();
            let before =
                order::before(console, exit.as_ref(), test).with_context(|| format!("failed to read `{name}`"))?;
            if let Some(before) = before {
                return Ok(before);
            }
        }
        Err(hinted(
            format!("nothing tells what ran before `{test}` in `{}`", self.shown.display()),
            "sweeps keep that in tests.jsonl unless they were started with --no-trail; without it, give pytest -v",
        ))
    }

    /// Whether xdist was there to share tests out.
    pub(super) fn is_distributed(&self, failure: Option<&Failure>) -> bool {
        self.spec.mode != Mode::Serial
            || argv::has_workers(&self.spec.pytest_args)
            || failure.is_some_and(|failure| failure.worker.is_some())
    }
}

impl Failure {
    /// What is about to be repeated, in a line.
    pub(super) fn described(&self, original: &Original) -> String {
        let before = self.tests.len() - 1;
        let ended = ended(self.target.outcome);
        let what = match &self.target.test {
            Some(test) => format!("{test} {ended}"),
            None => format!("the session {ended} after its last test"),
        };
        let place = match &self.worker {
            Some(worker) => format!(" in {worker}"),
            None => String::new(),
        };
        let before = match before {
            0 => "before any other test".to_owned(),
            1 => "after one test".to_owned(),
            _ => format!("after {before} tests"),
        };
        format!(
            "{}: {what} ({}){place}, {before} of the same process",
            original.shown.display(),
            self.target.category()
        )
    }
}

fn ended(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Hung => "hung",
        OutcomeKind::Crashed => "crashed",
        OutcomeKind::TimedOut => "timed out",
        OutcomeKind::Failed => "failed",
        OutcomeKind::Infra => "met a broken environment",
        OutcomeKind::OutOfTime => "ran out of time",
        OutcomeKind::NoTests => "found no tests",
        OutcomeKind::UsageError => "was called wrongly",
        OutcomeKind::NoResult => "never gave an answer",
        OutcomeKind::Passed => "passed",
    }
}

fn read_trail(files: &Files) -> anyhow::Result<Option<Trail>> {
    let Some(reader) = files.trail()? else {
        return Ok(None);
    };
    let trail = trail::read(reader).context("failed to read the trail")?;
    Ok((!trail.tests.is_empty()).then_some(trail))
}

/// The run that the arguments name: by its path, or by its sweep and its number.
fn named(args: &Args) -> anyhow::Result<PathBuf> {
    let places = sweep_name::places(&args.run, &args.logs.dir)?;
    let Some(iteration) = args.iteration else {
        let found = places.iter().find(|place| place.exists()).unwrap_or(&args.run);
        let is_sweep = found.is_dir() && !run::find_runs(found)?.contains(found);
        if is_sweep {
            return Err(usage(
                format!("`{}` is not one run", found.display()),
                Some("name one of its runs, or add the number of an iteration"),
            ));
        }
        return Ok(found.clone());
    };
    let found = places.iter().find_map(|place| run::recorded_run(place, iteration));
    found.ok_or_else(|| {
        hinted(
            format!(
                "no iteration {iteration} in `{}` nor in `{}`",
                places[0].display(),
                places[1].display()
            ),
            "reproduce-flaky summary shows what is recorded",
        )
    })
}
