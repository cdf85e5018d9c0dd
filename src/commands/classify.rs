//! `classify`: judges logs and runs again, from what lies on disk, in parallel.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;

use super::found::{self, Found};
use super::signatures;
use crate::cli::classify::{Args, Format};
use crate::exit_code::ExitCode;
use crate::judge::{self, SignatureSet};
use crate::model::Outcome;

#[derive(Serialize)]
struct Row<'a> {
    path: String,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Judges every run below the paths and prints what each came to.
///
/// # Errors
/// A path that cannot be read, signatures that are not valid.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut runs = Vec::new();
    for path in &args.paths {
        runs.extend(found::find(path)?);
    }
    let mut out = io::stdout().lock();
    // Printed as they come, a batch at a time: a tree of ten thousand runs is read by a pipe meanwhile.
    for batch in runs.chunks(256) {
        let outcomes: Vec<anyhow::Result<Outcome>> =
            batch.par_iter().map(|run| judge_found(run, &signatures)).collect();
        for (run, outcome) in batch.iter().zip(outcomes) {
            let outcome = outcome?;
            if args.write && run.is_dir {
                write(&run.path, &outcome)?;
            }
            print(&mut out, args.format, &run.path, &outcome)?;
        }
    }
    Ok(ExitCode::Passed)
}

/// Judges one run from its files.
///
/// # Errors
/// A file of it cannot be read.
pub fn judge_found(run: &Found, signatures: &SignatureSet) -> anyhow::Result<Outcome> {
    let exit = run.exit()?;
    let mut outcome = judge::judge(run, exit.as_ref(), signatures)
        .with_context(|| format!("failed to read `{}`", run.path.display()))?;
    outcome.iteration = run.dir().and_then(found::iteration);
    Ok(outcome)
}

fn print(out: &mut impl Write, format: Format, path: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let path = path.display().to_string();
            serde_json::to_writer(&mut *out, &Row { path, outcome })?;
            writeln!(out)?;
        }
        Format::Text => {
            write!(out, "{}: {}", path.display(), outcome.outcome.as_str())?;
            if !outcome.categories.is_empty() {
                write!(out, " {}", outcome.categories.join(" "))?;
            }
            for test in &outcome.failing_tests {
                write!(out, " {test}")?;
            }
            if let Some(evidence) = outcome.evidence.first() {
                match evidence.line {
                    Some(line) => write!(out, " ({}:{line}: {})", evidence.file, evidence.text)?,
                    None => write!(out, " ({})", evidence.text)?,
                }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Replaces a run's judgement; a reader sees the old one or the new one, never half of either.
fn write(dir: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    let target = dir.join("outcome.json");
    let failed = || format!("failed to write `{}`", target.display());
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(failed)?;
    serde_json::to_writer(&mut file, outcome).with_context(failed)?;
    writeln!(file).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    // The name is temporary, the rights are not.
    fs::set_permissions(file.path(), fs::metadata(dir).with_context(failed)?.permissions()).ok();
    file.persist(&target)
        .map_err(|error| error.error)
        .with_context(failed)?;
    Ok(())
}
