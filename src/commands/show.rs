//! `show`: one run on one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::{by_hand, classify, output, signatures};
use crate::cli::classify::Format;
use crate::cli::show::Args;
use crate::exit_code::ExitCode;
use crate::judge::{RunFiles, SignatureSet};
use crate::message;
use crate::model::replay::strongest;
use crate::model::{BackendKind, Evidence, Outcome};
use crate::pytest::lines::Lines;
use crate::pytest::trail;
use crate::render::run::{Cause, Excerpt, Run};
use crate::{render, store};

/// Lines shown before and after a line of evidence.
const AROUND: u64 = 3;
/// Evidence shown; the rest is in outcome.json.
const MOST: usize = 8;

/// Prints what happened in a run.
///
/// # Errors
/// There is no such run, or its log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = find(args)?;
    let signatures = signatures::load(args.signatures.as_deref())?;
    // What is recorded is what the other commands count; other signatures are asked for by name.
    let recorded = match args.signatures {
        Some(_) => None,
        None => store::run_files(&path)?.outcome(),
    };
    let outcome = match recorded {
        Some(outcome) => outcome,
        None => classify::judge_path(&path, &signatures)?,
    };
    if args.format == Format::Json {
        output::json(&outcome)?;
        return Ok(ExitCode::Passed);
    }
    let files = store::run_files(&path)?;
    let (exit, _) = files.exit();
    let view = Run {
        path: path.display().to_string(),
        exit: exit.as_ref(),
        outcome: &outcome,
        causes: causes(&outcome, &signatures),
        excerpts: excerpts(&files, &outcome)?,
        before: before(&files, &outcome)?,
        files: listed(files.dir()),
        again: files.dir().and_then(|dir| {
            exit.as_ref()?;
            Some(format!(
                "reproduce-flaky replay {}",
                shell_words::quote(&dir.display().to_string())
            ))
        }),
        by_hand: files.dir().and_then(docker_run),
    };
    page(&render::run::run(&view))?;
    Ok(ExitCode::Passed)
}

/// The line that runs the same container without this tool. It writes below the temporary directory: what is recorded
/// stays. `None` where no container ran, or nothing says which.
fn docker_run(run: &Path) -> Option<String> {
    let run = run.canonicalize().ok()?;
    let (sweep, name) = (run.parent()?, run.file_name()?.to_str()?);
    let spec = store::spec(sweep).ok()??;
    if spec.backend != BackendKind::Docker {
        return None;
    }
    let iteration = store::iteration_of(name)?;
    by_hand::line(&spec, sweep, iteration, &std::env::temp_dir().join(name)).ok()
}

/// The run that the arguments name.
fn find(args: &Args) -> anyhow::Result<PathBuf> {
    let Some(iteration) = args.iteration else {
        let is_sweep = args.run.is_dir() && !store::find_runs(&args.run)?.contains(&args.run);
        if is_sweep {
            return Err(message::usage(
                format!("`{}` is not one run", args.run.display()),
                Some("name one of its runs, or add the number of an iteration"),
            ));
        }
        return Ok(args.run.clone());
    };
    let name = store::run_name(iteration);
    let places = [args.run.join(&name), args.logs_dir.join(&args.run).join(&name)];
    if let Some(place) = places.iter().find(|place| place.is_dir()) {
        return Ok(place.clone());
    }
    let message = format!(
        "no iteration {iteration} in `{}` nor in `{}`",
        args.run.display(),
        args.logs_dir.join(&args.run).display()
    );
    let known = [args.run.clone(), args.logs_dir.join(&args.run)];
    let known = known.iter().filter_map(|sweep| store::recorded(sweep).ok()).flatten();
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

/// What ran before the test that `replay` repeats, where the trail is there to tell.
fn before(files: &dyn RunFiles, outcome: &Outcome) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let Some(reader) = files.trail()? else {
        return Ok(None);
    };
    let trail = trail::read(reader).context("failed to read the trail")?;
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

/// Files of a run's directory, with their sizes.
fn listed(dir: Option<&Path>) -> Vec<(String, u64)> {
    let mut files = Vec::new();
    if let Some(dir) = dir {
        collect(dir, dir, &mut files);
    }
    files.sort();
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, u64)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() {
            collect(root, &path, files);
        } else if let Ok(metadata) = entry.metadata()
            && kind.is_file()
        {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push((name, metadata.len()));
        }
    }
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
