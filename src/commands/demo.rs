//! `demo`: a small suite with every kind of failure, swept twice, and a check that the tool told them apart.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{judged, sweep};
use crate::backend::{self, BackendError};
use crate::cli::demo::Args;
use crate::cli::sweep::{Backend, Progress};
use crate::cli::{self};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::hinted;
use crate::model::{Outcome, OutcomeKind};

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

/// A sweep of the demonstration: its flags, and what each iteration is made to come to.
struct Scene {
    directory: &'static str,
    flags: &'static [&'static str],
    promises: &'static [(u32, OutcomeKind, &'static [&'static str])],
}

const SCENES: [Scene; 2] = [
    Scene {
        directory: "serial",
        flags: &["-p", "serial", "-e", "8", "-j", "2", "--silence", "12s"],
        promises: &[
            (1, OutcomeKind::Passed, &[]),
            (2, OutcomeKind::Failed, &["A1"]),
            (3, OutcomeKind::Failed, &["A2"]),
            (4, OutcomeKind::Crashed, &["B1"]),
            (5, OutcomeKind::Crashed, &["B1"]),
            (6, OutcomeKind::Hung, &["A4"]),
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

/// Runs the demonstration.
///
/// # Errors
/// The suite could not be run, or an iteration was not recognized for what it is.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = directory(args)?;
    for (name, text) in SUITE {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(&dir);
        fs::create_dir_all(parent).with_context(|| format!("failed to create `{}`", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    std::env::set_current_dir(&dir).with_context(|| format!("failed to enter `{}`", dir.display()))?;
    anstream::eprintln!("the suite and its sweeps are in {}", dir.display());
    let backend = match args.backend {
        Some(backend) => backend,
        None => choose_backend()?,
    };
    for scene in &SCENES {
        play(scene, backend, args.progress)?;
    }
    let differing = differing(&dir)?;
    if !differing.is_empty() {
        return Err(hinted(
            format!(
                "the demonstration did not show what it promises:\n  {}",
                differing.join("\n  ")
            ),
            format!("look at {}/logs, and run reproduce-flaky doctor", dir.display()),
        ));
    }
    guide(&dir);
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

/// Containers where an engine answers, else this machine, with a word on what that loses.
fn choose_backend() -> anyhow::Result<Backend> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    match runtime.block_on(backend::docker::facts(None)) {
        Ok(_) => Ok(Backend::Docker),
        Err(error @ (BackendError::Unreachable { .. } | BackendError::Forbidden { .. })) => {
            anstream::eprintln!("notice: {error}");
            anstream::eprintln!(
                "notice: running on this machine instead, with --backend local: no fresh file system, no memory limit, \
                 no network of its own for each iteration"
            );
            Ok(Backend::Local)
        }
        Err(error) => Err(error.into()),
    }
}

fn play(scene: &Scene, backend: Backend, progress: Progress) -> anyhow::Result<()> {
    let progress = match progress {
        Progress::Auto => "auto",
        Progress::Bar => "bar",
        Progress::Plain => "plain",
        Progress::Jsonl => "jsonl",
        Progress::None => "none",
    };
    let place: &[&str] = match backend {
        Backend::Docker => &["-i", "host"],
        Backend::Local => &["--backend", "local"],
    };
    let words = [place, scene.flags].concat();
    anstream::eprintln!("\n$ reproduce-flaky {} -- tests", words.join(" "));
    let argv: Vec<OsString> = ["reproduce-flaky"]
        .iter()
        .chain(&words)
        .chain(&["--progress", progress, "--", "tests"])
        .map(OsString::from)
        .collect();
    // The code says that failures were reproduced, which is what a demonstration is for.
    sweep::run(&cli::parse(argv, None)?.sweep, None)?;
    Ok(())
}

/// Iterations that did not come out as they were made to, in words.
fn differing(dir: &Path) -> anyhow::Result<Vec<String>> {
    let signatures = SignatureSet::built_in();
    let mut found = Vec::new();
    for scene in &SCENES {
        let records = judged::sweep(&dir.join("logs").join(scene.directory), &signatures)?.records;
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

/// What to look at.
fn guide(dir: &Path) {
    let logs = dir.join("logs");
    let logs = logs.display();
    anstream::println!("\nWhat to look at:");
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
        anstream::println!("  {logs}/{path}\n      {what}");
    }
    anstream::println!("\nNext: reproduce-flaky summary {logs}");
}
