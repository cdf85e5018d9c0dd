//! `demo`: a small suite with every kind of failure, swept twice, and a check that the tool told them apart.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::judged_sweep::JudgedSweep;
use super::{output, sweep};
use crate::backend::{self, BackendError};
use crate::exit_code::ExitCode;
use crate::judge::{Outcome, OutcomeKind, SignatureSet};
use crate::message::{hinted, tell};
use crate::spec::BackendKind;
use crate::sweep::display::DisplayKind;

#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky demo\n  reproduce-flaky demo --check\n\nNext: reproduce-flaky summary on the directory it names"
)]
pub struct Args {
    /// Where to put the suite and its sweeps; a new directory below the system's temporary one without it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where attempts execute; containers where a daemon answers, else this machine.
    #[arg(long, value_name = "WHERE")]
    pub backend: Option<BackendKind>,
    /// Check only that an assertion, an abort and a hang are told apart here: exit code 0 or 1, in half a minute. For a
    /// nightly job's first step, since one whose sessions run nothing looks like a good one.
    #[arg(long)]
    pub check: bool,
    /// How progress is shown.
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub progress: DisplayKind,
}

/// The suite, as it stands in the repository.
const SUITE: [(&str, &str); 2] = [
    (
        "tests/conftest.py",
        include_str!("../../examples/demo/tests/conftest.py"),
    ),
    (
        "tests/router/test_router_e2e_with_mockers.py",
        include_str!("../../examples/demo/tests/router/test_router_e2e_with_mockers.py"),
    ),
];

/// A sweep of the demonstration: its flags, and the outcome and categories that each iteration is made to have.
struct Scene {
    directory: &'static str,
    flags: &'static [&'static str],
    promises: &'static [Promise],
}

/// An iteration, its outcome and its categories.
type Promise = (u32, OutcomeKind, &'static [&'static str]);

const FIRST_SIX: &[Promise] = &[
    (1, OutcomeKind::Passed, &[]),
    (2, OutcomeKind::Failed, &["A1"]),
    (3, OutcomeKind::Failed, &["A2"]),
    (4, OutcomeKind::Crashed, &["B1"]),
    (5, OutcomeKind::Crashed, &["B1"]),
    (6, OutcomeKind::Hung, &["A4"]),
];

const SCENES: [Scene; 2] = [
    Scene {
        directory: "serial",
        flags: &["-p", "serial", "-e", "8", "-j", "2", "--silence", "12s"],
        promises: &[
            FIRST_SIX[0],
            FIRST_SIX[1],
            FIRST_SIX[2],
            FIRST_SIX[3],
            FIRST_SIX[4],
            FIRST_SIX[5],
            (7, OutcomeKind::Infra, &["A5"]),
            (8, OutcomeKind::Passed, &[]),
        ],
    },
    Scene {
        directory: "n4",
        flags: &["-p", "4", "-e", "4", "-j", "1"],
        promises: &[
            (1, OutcomeKind::Passed, &[]),
            (2, OutcomeKind::Crashed, &["B1"]),
            (3, OutcomeKind::Passed, &[]),
            (4, OutcomeKind::Crashed, &["B1"]),
        ],
    },
];

/// What a nightly job checks first.
const CANARY: [Scene; 1] = [Scene {
    directory: "serial",
    flags: &["-p", "serial", "-e", "6", "-j", "3", "--silence", "12s"],
    promises: FIRST_SIX,
}];

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = directory(args)?;
    for (name, text) in SUITE {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(&dir);
        fs::create_dir_all(parent).with_context(|| format!("failed to create `{}`", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    std::env::set_current_dir(&dir).with_context(|| format!("failed to enter `{}`", dir.display()))?;
    let scenes: &[Scene] = if args.check { &CANARY } else { &SCENES };
    let backend = choose_backend(args.backend, scenes)?;
    tell(format_args!("the suite and its sweeps go to {}", dir.display()));
    for scene in scenes {
        play(scene, backend, args.progress)?;
    }
    let differing = differing(&dir, scenes)?;
    if !differing.is_empty() {
        return Err(hinted(
            format!(
                "the demonstration did not show what it promises:\n  {}",
                differing.join("\n  ")
            ),
            format!("look at {}/logs, and run reproduce-flaky doctor", dir.display()),
        ));
    }
    if !args.check {
        guide(&dir)?;
        return Ok(ExitCode::Passed);
    }
    output::line(format_args!(
        "canary: an assertion, a wait in vain, an abort, one with exit code 0 and a hang are told apart here"
    ))?;
    if args.dir.is_none() {
        // What nobody asked to keep; an error leaves a directory in the temporary one.
        let _ = std::env::set_current_dir(std::env::temp_dir());
        let _ = fs::remove_dir_all(&dir);
    }
    Ok(ExitCode::Passed)
}

fn directory(args: &Args) -> anyhow::Result<PathBuf> {
    let Some(dir) = &args.dir else {
        let made = tempfile::Builder::new().prefix("reproduce-flaky-demo-").tempdir();
        return Ok(made.context("failed to create a temporary directory")?.keep());
    };
    fs::create_dir_all(dir).with_context(|| format!("failed to create `{}`", dir.display()))?;
    if dir.join("logs").exists() {
        return Err(hinted(
            format!("`{}` holds a demonstration already", dir.display()),
            "name a new directory with --dir, or delete that one",
        ));
    }
    dir.canonicalize()
        .with_context(|| format!("failed to find `{}`", dir.display()))
}

/// Containers where an engine answers, else this machine, with a word on what that loses. Says where iterations run, how
/// many there are, and how long they take.
fn choose_backend(asked: Option<BackendKind>, scenes: &[Scene]) -> anyhow::Result<BackendKind> {
    let n_iterations: usize = scenes.iter().map(|scene| scene.promises.len()).sum();
    let long = if scenes.len() > 1 {
        "about a minute"
    } else {
        "half a minute"
    };
    let what = format!("{n_iterations} iterations of a small suite that fails in every way, in {long}");
    let on_this_machine = || {
        tell(format_args!(
            "{what}, each as processes on this machine, without a container"
        ));
    };
    if asked == Some(BackendKind::Local) {
        on_this_machine();
        return Ok(BackendKind::Local);
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    match runtime.block_on(backend::docker::facts(None)) {
        Ok(engine) => {
            tell(format_args!(
                "{what}, each in a fresh container of {} {}, over this machine's own Python, read-only",
                engine.name, engine.version
            ));
            Ok(BackendKind::Docker)
        }
        Err(error) if asked.is_some() => Err(error.into()),
        Err(error @ (BackendError::Unreachable { .. } | BackendError::Forbidden { .. })) => {
            tell(format_args!("notice: {error}"));
            tell(format_args!(
                "notice: running on this machine instead, with --backend local: no fresh file system, no memory limit, \
                 no network of its own for each iteration"
            ));
            on_this_machine();
            Ok(BackendKind::Local)
        }
        Err(error) => Err(error.into()),
    }
}

fn play(scene: &Scene, backend: BackendKind, progress: DisplayKind) -> anyhow::Result<()> {
    let place: &[&str] = match backend {
        BackendKind::Docker => &["-i", "host"],
        BackendKind::Local => &["--backend", "local"],
    };
    let words = [place, scene.flags].concat();
    tell(format_args!("\n$ reproduce-flaky {} -- tests", words.join(" ")));
    let argv: Vec<OsString> = ["reproduce-flaky"]
        .iter()
        .chain(&words)
        .chain(&["--progress", progress.as_str(), "--", "tests"])
        .map(OsString::from)
        .collect();
    // The exit code is left out: it says that failures were reproduced, as the demonstration means to.
    sweep::run(&sweep::args::Args::read(argv, None)?, None)?;
    Ok(())
}

/// A sentence for each iteration whose outcome is not the promised one.
fn differing(dir: &Path, scenes: &[Scene]) -> anyhow::Result<Vec<String>> {
    let signatures = SignatureSet::built_in();
    let mut found = Vec::new();
    for scene in scenes {
        let records = JudgedSweep::read(&dir.join("logs").join(scene.directory), &signatures)?.records;
        for (iteration, outcome, categories) in scene.promises {
            let seen: Option<&Outcome> = records
                .iter()
                .find(|record| record.iteration == *iteration)
                .map(|record| &record.outcome);
            if seen.is_some_and(|seen| seen.outcome == *outcome && seen.categories == *categories) {
                continue;
            }
            let seen = seen.map_or("nothing".to_owned(), |seen| {
                format!("{} {}", seen.outcome.as_str(), seen.categories.join("+"))
                    .trim_end()
                    .to_owned()
            });
            found.push(format!(
                "{} run{iteration:03}: {} {} expected, {seen} found",
                scene.directory,
                outcome.as_str(),
                categories.join("+")
            ));
        }
    }
    Ok(found)
}

/// Prints which files of the demonstration to look at.
fn guide(dir: &Path) -> anyhow::Result<()> {
    let logs = dir.join("logs");
    let logs = logs.display();
    output::line(format_args!("\nWhat to look at:"))?;
    for (path, what) in [
        (
            "serial/run005/outcome.json",
            "exit code 0, and yet a crash: the session never reached its end",
        ),
        (
            "serial/run006/run.log",
            "a hang that held the GIL, ended from outside after 12 s of silence",
        ),
        (
            "serial/run007/outcome.json",
            "the network's fault: outside the failure rate, but shown",
        ),
        (
            "n4/run002/outcome.json",
            "which worker crashed, and while running which test",
        ),
    ] {
        output::line(format_args!("  {logs}/{path}\n      {what}"))?;
    }
    output::line(format_args!("\nNext: reproduce-flaky summary {logs}"))
}
