//! `classify`: judges logs and runs again, from what lies on disk, in parallel.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;

use super::{judged, signatures};
use crate::cli::classify::{Args, Format};
use crate::exit_code::ExitCode;
use crate::judge::{self, SignatureSet};
use crate::message;
use crate::model::Outcome;
use crate::render::visible::visible;
use crate::reporter::Counting;
use crate::store;

/// Runs judged before their lines are printed: a tree of ten thousand is read by a pipe meanwhile.
const BATCH: usize = 256;

#[derive(Serialize)]
struct Row<'a> {
    path: String,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Judges every run below the paths and prints what each came to.
///
/// # Errors
/// A path that cannot be read or holds no run, signatures that are not valid.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut runs = Vec::new();
    for path in &args.paths {
        runs.extend(find(path)?);
    }
    let mut out = io::stdout().lock();
    let mut sweeps = BTreeMap::new();
    let bar = Counting::new(runs.len() as u64, "judged");
    for batch in runs.chunks(BATCH) {
        let outcomes = batch.par_iter().map(|run| {
            let outcome = judge_path(run, &signatures);
            bar.step();
            outcome
        });
        let outcomes: Vec<anyhow::Result<Outcome>> = outcomes.collect();
        bar.beside(|| {
            for (run, outcome) in batch.iter().zip(outcomes) {
                let outcome = outcome?;
                if args.write {
                    sweeps.extend(write(run, &outcome)?);
                }
                print(&mut out, args.format, run, &outcome)?;
            }
            anyhow::Ok(())
        })?;
    }
    bar.finish();
    for sweep in sweeps.values() {
        judged::rebuild(sweep, &signatures)?;
    }
    Ok(ExitCode::Passed)
}

/// Stores a new judgement beside the facts. The sweep that the run is an iteration of, by its own name and as it was
/// named.
fn write(run: &Path, outcome: &Outcome) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let files = store::run_files(run)?;
    let Some(dir) = files.dir() else {
        return Ok(None);
    };
    store::write_outcome(dir, outcome)?;
    if outcome.iteration.is_none() {
        return Ok(None);
    }
    let own = dir.canonicalize().ok();
    let Some(own) = own.as_deref().and_then(Path::parent) else {
        return Ok(None);
    };
    let named = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => own,
    };
    Ok(Some((own.to_owned(), named.to_owned())))
}

/// The runs below a path.
///
/// # Errors
/// The path cannot be read, or holds no run.
pub fn find(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let runs = store::find_runs(path)?;
    if runs.is_empty() {
        return Err(message::hinted(
            format!("nothing to judge below `{}`", path.display()),
            "a run's directory holds run.log or pytest.log; a folder of logs holds files called *.log",
        ));
    }
    Ok(runs)
}

/// Judges many runs, in parallel and in their order.
///
/// # Errors
/// A log that cannot be read.
pub fn judge_all(runs: &[PathBuf], signatures: &SignatureSet) -> anyhow::Result<Vec<Outcome>> {
    let bar = Counting::new(runs.len() as u64, "judged");
    let outcomes = runs.par_iter().map(|run| {
        let outcome = judge_path(run, signatures);
        bar.step();
        outcome
    });
    let outcomes = outcomes.collect();
    bar.finish();
    outcomes
}

/// Judges one run from its files.
///
/// # Errors
/// Its log cannot be read.
pub fn judge_path(path: &Path, signatures: &SignatureSet) -> anyhow::Result<Outcome> {
    let files = store::run_files(path)?;
    let (exit, problems) = files.exit();
    let mut outcome = judge::judge(&files, exit.as_ref(), signatures)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    outcome.iteration = files.iteration();
    outcome.notes.extend(problems);
    Ok(outcome)
}

fn print(out: &mut impl Write, format: Format, path: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let path = path.display().to_string();
            serde_json::to_writer(&mut *out, &Row { path, outcome })?;
        }
        Format::Text => {
            write!(out, "{}: {}", path.display(), outcome.outcome.as_str())?;
            if !outcome.categories.is_empty() {
                write!(out, " {}", outcome.categories.join(" "))?;
            }
            for test in &outcome.failing_tests {
                write!(out, " {}", visible(test))?;
            }
            if let Some(evidence) = outcome.evidence.first() {
                let text = visible(&evidence.text);
                match evidence.line {
                    Some(line) => write!(out, " ({}:{line}: {text})", evidence.file)?,
                    None => write!(out, " ({text})")?,
                }
            }
        }
    }
    writeln!(out)?;
    Ok(())
}
