//! `show`: one run on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Args as ClapArgs;

use super::judged_sweep::JudgedSweep;
use super::{docker_run, judging, output, signatures, starvation, sweep_name};
use crate::cli::values::{Format, LogsDir};
use crate::commands::replay::target::strongest;
use crate::exit_code::ExitCode;
use crate::judge::pytest::lines::Lines;
use crate::judge::pytest::trail;
use crate::judge::{Evidence, Exit, Outcome, OutcomeKind, Record, RunFiles, SignatureSet, Verdict, stacks};
use crate::spec::BackendKind;
use crate::{message, run};

mod text;

use text::{Cause, Excerpt, Run};

#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky show logs/n4_fix8/run098\n  reproduce-flaky show n4_fix8 98\n\n\
        Next: reproduce-flaky replay logs/n4_fix8/run098"
)]
pub struct Args {
    /// The run's directory or its log, or the name of a sweep followed by ITERATION.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Number of the iteration, where RUN is a sweep.
    pub iteration: Option<u32>,
    #[command(flatten)]
    pub logs: LogsDir,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Lines shown before and after a line of evidence.
const AROUND: u64 = 3;
/// Most bytes of stacks that are read.
const MOST_STACKS: u64 = 4 << 20;
/// Evidence shown; the rest is in outcome.json.
const MOST: usize = 8;

/// Prints what happened in a run.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = find(args)?;
    let signatures = signatures::load(args.signatures.as_deref())?;
    // What is recorded is what the other commands count; other signatures are asked for by name.
    let recorded = match args.signatures {
        Some(_) => None,
        None => run::run_files(&path)?.outcome(),
    };
    let outcome = match recorded {
        Some(outcome) => outcome,
        None => judging::judge_path(&path, &signatures)?,
    };
    if args.format == Format::Json {
        output::json(&outcome)?;
        return Ok(ExitCode::Passed);
    }
    let files = run::run_files(&path)?;
    let (exit, _) = files.exit();
    let view = Run {
        path: path.display().to_string(),
        exit: exit.as_ref(),
        outcome: &outcome,
        causes: causes(&outcome, &signatures),
        excerpts: excerpts(&files, &outcome)?,
        stood: stood(&files, &outcome),
        before: before(&files, exit.as_ref(), &outcome)?,
        starved: starved(&files, exit.as_ref(), &outcome, &signatures)?,
        files: files.sizes(),
        again: files.dir().and_then(|dir| {
            exit.as_ref()?;
            Some(format!("reproduce-flaky replay {}", output::quoted(dir)))
        }),
        container_line: files.dir().and_then(docker_line),
    };
    page(&text::text(&view))?;
    Ok(ExitCode::Passed)
}

/// What was stopped while the failing tests ran, and what of the sweep's other runs goes with their failure; nothing where
/// nothing was stopped.
fn starved(
    files: &run::Files,
    exit: Option<&Exit>,
    outcome: &Outcome,
    signatures: &SignatureSet,
) -> anyhow::Result<Vec<String>> {
    let is_starved = |exit: &&Exit| exit.conditions.as_ref().is_some_and(|found| found.starve.is_some());
    let (Some(exit), Some(dir), Some(iteration)) = (exit.filter(is_starved), files.dir(), files.iteration()) else {
        return Ok(Vec::new());
    };
    let mut lines = starvation::stopped_in(&Record {
        iteration,
        dir: dir.to_owned(),
        exit: Some(exit.clone()),
        outcome: outcome.clone(),
        problem: None,
    });
    if outcome.verdict == Verdict::Failed
        && let Some(sweep) = dir.parent()
    {
        let sweep = JudgedSweep::read(sweep, signatures)?;
        let named = |test: &Option<String>| test.as_ref().is_none_or(|test| outcome.failing_tests.contains(test));
        let told = starvation::of(sweep.answers())
            .into_iter()
            .filter(|told| named(&told.test));
        lines.extend(told.map(|told| told.sentence()));
    }
    Ok(lines)
}

/// The line that runs the same container without this tool. It writes below the temporary directory: what is recorded
/// stays. `None` where no container ran, or nothing says which.
fn docker_line(run: &Path) -> Option<String> {
    let run = run.canonicalize().ok()?;
    let (sweep, name) = (run.parent()?, run.file_name()?.to_str()?);
    let mut spec = run::spec(sweep).ok()??;
    if spec.backend != BackendKind::Docker {
        return None;
    }
    if run::is_imported(&run, &spec) {
        spec = spec.as_allowed(&[], &std::env::current_dir().ok()?);
    }
    let iteration = run::iteration_of(name)?;
    docker_run::line(&spec, sweep, iteration, &std::env::temp_dir().join(name)).ok()
}

/// The run that the arguments name.
fn find(args: &Args) -> anyhow::Result<PathBuf> {
    let Some(iteration) = args.iteration else {
        let is_sweep = args.run.is_dir() && !run::find_runs(&args.run)?.contains(&args.run);
        if is_sweep {
            return Err(message::usage(
                format!("`{}` is not one run", args.run.display()),
                Some("name one of its runs, or add the number of an iteration"),
            ));
        }
        if !args.run.exists() {
            return Err(message::usage(
                format!("`{}` is neither a run's directory nor a log", args.run.display()),
                Some("name the sweep and the number of an iteration, as in reproduce-flaky show serial 7"),
            ));
        }
        return Ok(args.run.clone());
    };
    let sweeps = sweep_name::places(&args.run, &args.logs.dir)?;
    let runs = sweeps.iter().map(|sweep| sweep.join(run::run_name(iteration)));
    if let Some(run) = runs.into_iter().find(|run| run.is_dir()) {
        return Ok(run);
    }
    let message = format!(
        "no iteration {iteration} in `{}` nor in `{}`",
        args.run.display(),
        args.logs.dir.join(&args.run).display()
    );
    let known = sweeps.iter().filter_map(|sweep| run::recorded(sweep).ok()).flatten();
    Err(match known.max() {
        Some(last) => message::hinted(message, format!("the last one recorded there is {last}")),
        None => message::hinted(message, "reproduce-flaky status lists the sweeps".to_owned()),
    })
}

fn causes(outcome: &Outcome, signatures: &SignatureSet) -> Vec<Cause> {
    let known = outcome.categories.iter().filter_map(|id| signatures.get(id));
    known
        .map(|signature| Cause {
            id: signature.id.clone(),
            title: signature.title.clone(),
            advice: signature.advice.clone(),
        })
        .collect()
}

/// Reads the lines around each piece of evidence, each file once.
fn excerpts(files: &dyn RunFiles, outcome: &Outcome) -> anyhow::Result<Vec<Excerpt>> {
    let shown: Vec<&Evidence> = outcome.evidence.iter().take(MOST).collect();
    let mut wanted: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for evidence in &shown {
        if let Some(line) = evidence.line {
            let lines = wanted.entry(&evidence.file).or_default();
            lines.extend(line.saturating_sub(AROUND).max(1)..=line + AROUND);
        }
    }
    let mut texts: BTreeMap<(&str, u64), String> = BTreeMap::new();
    for (file, lines) in &wanted {
        let reader = match files.console()? {
            Some((name, reader)) if name == *file => Some(reader),
            _ if *file == "tests.jsonl" => files.trail()?,
            _ => Some(files.open(file)?),
        };
        let Some(reader) = reader else { continue };
        let last = lines.last().copied().unwrap_or_default();
        let mut reader = Lines::new(reader);
        while let Some(line) = reader.next_line().with_context(|| format!("failed to read `{file}`"))? {
            if line.number > last {
                break;
            }
            if lines.contains(&line.number) {
                texts.insert((file, line.number), line.text.to_owned());
            }
        }
    }
    Ok(shown.iter().map(|evidence| excerpt(evidence, &texts)).collect())
}

fn excerpt(evidence: &Evidence, texts: &BTreeMap<(&str, u64), String>) -> Excerpt {
    let file = evidence.file.as_str();
    let (place, lines) = match evidence.line {
        Some(line) => {
            let around = texts.range((file, line.saturating_sub(AROUND))..=(file, line + AROUND));
            let lines = around
                .map(|((_, number), text)| (*number, text.clone(), *number == line))
                .collect();
            (format!("{file}:{line}"), lines)
        }
        None => (evidence.text.clone(), Vec::new()),
    };
    let place = match &evidence.test {
        Some(test) => format!("{place}, {test}"),
        None => place,
    };
    Excerpt {
        category: evidence.category.clone(),
        place,
        lines,
    }
}

/// Where a hung session stood, and the file that has all stacks; `None` where no autopsy tells.
fn stood(files: &run::Files, outcome: &Outcome) -> Option<(String, Vec<String>)> {
    if outcome.outcome != OutcomeKind::Hung {
        return None;
    }
    let name = files.autopsy().into_iter().find(|name| name.ends_with("/stacks.txt"))?;
    let mut text = Vec::new();
    files.text(&name)?.take(MOST_STACKS).read_to_end(&mut text).ok()?;
    let lines = stacks::that_matter(&String::from_utf8_lossy(&text), strongest(outcome));
    (!lines.is_empty()).then_some((name, lines))
}

/// What ran before the test that `replay` repeats, where the trail is there to tell.
fn before(
    files: &dyn RunFiles,
    exit: Option<&Exit>,
    outcome: &Outcome,
) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let Some(reader) = files.trail()? else {
        return Ok(None);
    };
    // What was written once we had set out to end the session is our doing.
    let length = exit.and_then(|exit| exit.trail_bytes).unwrap_or(u64::MAX);
    let trail = trail::read(reader.take(length)).context("failed to read the trail")?;
    let Some(test) = strongest(outcome) else {
        return Ok(None);
    };
    let own = trail.tests.iter().rev().find(|entry| entry.id == *test);
    let worker = own.and_then(|entry| entry.worker.clone());
    let tests: Vec<String> = trail
        .before(test)
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
    if tests.is_empty() {
        return Ok(None);
    }
    Ok(Some((worker.unwrap_or_else(|| "the same process".to_owned()), tests)))
}

/// Shows text through the user's pager where it is longer than a terminal is likely to be; else prints it.
fn page(text: &str) -> anyhow::Result<()> {
    // The one-character forms of terminal escapes, which nothing of ours uses.
    let text = &text.replace(|c| matches!(c, '\u{80}'..='\u{9f}'), "");
    let is_long = text.lines().count() > 50;
    if is_long && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -FRX".to_owned());
        let words = shell_words::split(&pager).unwrap_or_default();
        if let Some((program, arguments)) = words.split_first()
            && let Ok(mut child) = Command::new(program).args(arguments).stdin(Stdio::piped()).spawn()
        {
            if let Some(mut input) = child.stdin.take() {
                // A pager that was left early has seen enough.
                let _ = input.write_all(text.as_bytes());
            }
            child.wait().context("failed to wait for the pager")?;
            return Ok(());
        }
    }
    output::text(text)
}
