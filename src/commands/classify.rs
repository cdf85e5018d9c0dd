//! `classify`: judges logs and runs again, from what lies on disk, in parallel.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use rayon::prelude::*;
use serde::Serialize;

use super::judging::{judge_path, runs_below};
use super::{judged_sweep, signatures};
use crate::cli::values::Format;
use crate::exit_code::ExitCode;
use crate::judge::Outcome;
use crate::report::shown::shown;
use crate::run;
use crate::sweep::display::Counting;

#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky classify build.log\n  reproduce-flaky classify --format json logs/n4_fix8\n  \
        reproduce-flaky classify --signatures my-rules/ --write logs/n4_fix8\n\nNext: reproduce-flaky summary"
)]
pub struct Args {
    /// Log files, directories of runs, or trees of them; the old script's trees too.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to print what each came to: a line each, or a JSON object a line with the fields of outcome.json and `path`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// Store the new judgement beside the facts of each run directory.
    #[arg(long)]
    pub write: bool,
}

/// Runs judged before their lines are printed: a tree of ten thousand is read by a pipe meanwhile.
const BATCH: usize = 256;

#[derive(Serialize)]
struct Row<'a> {
    path: String,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Judges every run below the paths and prints what each came to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut runs = Vec::new();
    for path in &args.paths {
        runs.extend(runs_below(path)?);
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
        judged_sweep::rebuild(sweep, &signatures)?;
    }
    Ok(ExitCode::Passed)
}

/// Stores a new judgement beside the facts. The sweep that the run is an iteration of, by its own name and as it was
/// named.
fn write(run: &Path, outcome: &Outcome) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let files = run::run_files(run)?;
    let Some(dir) = files.dir() else {
        return Ok(None);
    };
    run::write_outcome(dir, outcome)?;
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

fn print(out: &mut impl Write, format: Format, path: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let path = path.display().to_string();
            serde_json::to_writer(&mut *out, &Row { path, outcome })?;
        }
        Format::Text => {
            write!(out, "{}: {}", shown(&path.to_string_lossy()), outcome.outcome.as_str())?;
            if !outcome.categories.is_empty() {
                write!(out, " {}", shown(&outcome.categories.join(" ")))?;
            }
            for test in &outcome.failing_tests {
                write!(out, " {}", shown(test))?;
            }
            if let Some(evidence) = outcome.evidence.first() {
                let text = shown(&evidence.text);
                match evidence.line {
                    Some(line) => write!(out, " ({}:{line}: {text})", shown(&evidence.file))?,
                    None => write!(out, " ({text})")?,
                }
            }
        }
    }
    writeln!(out)?;
    Ok(())
}
