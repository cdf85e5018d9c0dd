//! `export`: runs in one file for somebody else, without secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::judged::{self, Judged};
use super::{output, secrets, signatures};
use crate::cli::export::Args;
use crate::cli::status::Format;
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::hinted;
use crate::model::Record;
use crate::model::bundle::{BundledRun, BundledSweep, FORMAT, Manifest, Matched};
use crate::render::bundle as render;
use crate::store::{self, Bundle};
use crate::{cli, model};

/// Writes the bundle.
///
/// # Errors
/// A run that is not there, a file that is, a pattern that is none, a place that cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut wanted: Vec<(PathBuf, BTreeSet<u32>)> = Vec::new();
    for path in &args.runs {
        for (sweep, runs) in find(path, &args.logs_dir)? {
            match wanted.iter_mut().find(|(known, _)| *known == sweep) {
                Some((_, known)) => known.extend(runs),
                None => wanted.push((sweep, runs)),
            }
        }
    }
    let mut sweeps = Vec::new();
    for (dir, runs) in &wanted {
        sweeps.push(judged::some(dir, runs, &signatures)?);
    }
    let names = names(&sweeps);
    let manifest = manifest(&sweeps, &names, &signatures);
    let redactor = secrets::redactor(sweeps.iter().filter_map(|sweep| sweep.spec.as_ref()), &args.redact)?;
    let mut bundle = Bundle::create(&args.output, &redactor, &manifest, &render::readme(&manifest))?;
    for (sweep, name) in sweeps.iter().zip(&names) {
        bundle.add_sweep(name, &sweep.dir)?;
        for record in &sweep.records {
            bundle.add_run(name, record.iteration, &record.dir, &record.outcome)?;
        }
    }
    let closing = bundle.finish()?;
    match args.format {
        Format::Json => output::json(&closing)?,
        Format::Text => output::text(&render::exported(
            &args.output.display().to_string(),
            &manifest,
            &closing,
        ))?,
    }
    Ok(ExitCode::Passed)
}

/// The runs that a path stands for, sweep by sweep.
fn find(path: &Path, logs_dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, BTreeSet<u32>>> {
    let below = logs_dir.join(path);
    let path = if !path.exists() && below.exists() { &below } else { path };
    let mut found: BTreeMap<PathBuf, BTreeSet<u32>> = BTreeMap::new();
    for run in store::find_runs(path)? {
        let files = store::run_files(&run)?;
        let place = files.dir().and_then(|dir| {
            // A run named from within its sweep, or from within itself, has its sweep above it all the same.
            let has_parent = dir.parent().is_some_and(|sweep| !sweep.as_os_str().is_empty());
            let dir = if has_parent && files.iteration().is_some() {
                dir.to_owned()
            } else {
                dir.canonicalize().ok()?
            };
            let iteration = store::iteration_of(dir.file_name()?.to_str()?)?;
            Some((dir.parent()?.to_owned(), iteration))
        });
        if let Some((sweep, iteration)) = place {
            found.entry(sweep).or_default().insert(iteration);
        }
    }
    if found.is_empty() {
        return Err(hinted(
            format!("no run of a sweep below `{}`", path.display()),
            "name a directory called runNNN, or one that holds such directories",
        ));
    }
    Ok(found)
}

/// A name for each sweep, its own unless another has it.
fn names(sweeps: &[Judged]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for sweep in sweeps {
        let real = sweep.dir.canonicalize().unwrap_or_else(|_| sweep.dir.clone());
        let own = real
            .file_name()
            .map_or_else(|| "sweep".to_owned(), |name| name.to_string_lossy().into_owned());
        let own = own.trim_start_matches('.').to_owned();
        let mut name = own.clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{own}-{number}");
            number += 1;
        }
        names.push(name);
    }
    names
}

fn manifest(sweeps: &[Judged], names: &[String], signatures: &SignatureSet) -> Manifest {
    let matched: BTreeSet<&str> = sweeps
        .iter()
        .flat_map(|sweep| &sweep.records)
        .flat_map(|record| &record.outcome.categories)
        .map(String::as_str)
        .collect();
    let bundled = sweeps.iter().zip(names).map(|(sweep, name)| BundledSweep {
        name: name.clone(),
        from: sweep.dir.display().to_string(),
        runs: sweep
            .records
            .iter()
            .map(|record| bundled(record, name, sweep.spec.as_ref()))
            .collect(),
    });
    Manifest {
        format: FORMAT,
        tool: cli::version(),
        made_at: Utc::now(),
        sweeps: bundled.collect(),
        signatures: signatures
            .iter()
            .filter(|signature| matched.contains(signature.id.as_str()))
            .map(|signature| Matched {
                id: signature.id.clone(),
                title: signature.title.clone(),
                advice: signature.advice.clone(),
            })
            .collect(),
    }
}

fn bundled(record: &Record, sweep: &str, spec: Option<&model::Spec>) -> BundledRun {
    let dir = format!("logs/{sweep}/{}", store::run_name(record.iteration));
    let exit = record.exit.as_ref();
    let image = spec.map(|spec| spec.image.clone()).filter(|image| !image.is_empty());
    BundledRun {
        iteration: record.iteration,
        verdict: record.outcome.verdict,
        outcome: record.outcome.outcome,
        categories: record.outcome.categories.clone(),
        failing_tests: record.outcome.failing_tests.clone(),
        image: exit.and_then(|exit| exit.image.clone()).or(image),
        image_id: exit
            .and_then(|exit| exit.image_id.clone())
            .or_else(|| spec.and_then(|spec| spec.image_id.clone())),
        argv: exit.map(|exit| exit.argv.clone()).unwrap_or_default(),
        again: format!("reproduce-flaky replay {}", shell_words::quote(&dir)),
        dir,
    }
}
