//! `export`: runs in one file for somebody else, without secrets.

pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args as ClapArgs;

use super::judged_sweep::JudgedSweep;
use super::{output, secrets, signatures, sweep_name};
use crate::cli::values::{Format, LogsDir};
use crate::exit_code::ExitCode;
use crate::judge::{Record, SignatureSet};
use crate::message::hinted;
use crate::run::manifest::{BundledRun, BundledSweep, FORMAT, Manifest, Matched};
use crate::run::{self, Bundle};

/// `export`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky export logs/n4_fix8/run024 -o run024.tar.zst\n  \
    reproduce-flaky export logs/n4 logs/n4_fix8 -o both.tar.zst --redact 'customer-(\\w+)'\n\n\
    Next: reproduce-flaky import run024.tar.zst, wherever it was sent")]
pub struct Args {
    /// Directories of runs, sweeps, or trees of sweeps; names of sweeps below --logs-dir.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The bundle to write; one that is there stays as it is.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub logs: LogsDir,
    /// Something else that is secret: a regular expression, whose group is the secret if it has one; repeatable.
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to say what was done.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// Writes the bundle.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut wanted: Vec<(PathBuf, BTreeSet<u32>)> = Vec::new();
    for path in &args.runs {
        for (sweep, runs) in find(path, &args.logs.dir)? {
            match wanted.iter_mut().find(|(known, _)| *known == sweep) {
                Some((_, known)) => known.extend(runs),
                None => wanted.push((sweep, runs)),
            }
        }
    }
    let mut sweeps = Vec::new();
    for (dir, runs) in &wanted {
        sweeps.push(JudgedSweep::read_some(dir, runs, &signatures)?);
    }
    let names = names(&sweeps);
    let manifest = manifest(&sweeps, &names, &signatures);
    let redactor = secrets::redactor(sweeps.iter().filter_map(|sweep| sweep.spec.as_ref()), &args.redact)?;
    let mut bundle = Bundle::create(&args.output, &redactor, &manifest, &text::readme(&manifest))?;
    for (sweep, name) in sweeps.iter().zip(&names) {
        bundle.add_sweep(name, &sweep.dir)?;
        for record in sweep.answers().all() {
            bundle.add_run(name, record.iteration, &record.dir, &record.outcome)?;
        }
    }
    let closing = bundle.finish()?;
    match args.format {
        Format::Json => output::json(&closing)?,
        Format::Text => output::words(&text::exported(&args.output.display().to_string(), &manifest, &closing))?,
    }
    Ok(ExitCode::Passed)
}

/// The runs that a path stands for, sweep by sweep.
fn find(path: &Path, logs_dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, BTreeSet<u32>>> {
    let places = sweep_name::places(path, logs_dir)?;
    let path = places
        .iter()
        .find(|place| place.exists())
        .map_or(path, PathBuf::as_path);
    let mut found: BTreeMap<PathBuf, BTreeSet<u32>> = BTreeMap::new();
    let runs = run::find_runs(path)?;
    let is_one_run = runs.iter().any(|run| run == path);
    for run in runs {
        let files = run::run_files(&run)?;
        let place = files.dir().and_then(|dir| {
            // A run named from within its sweep, or from within itself, has its sweep above it all the same.
            let has_parent = dir.parent().is_some_and(|sweep| !sweep.as_os_str().is_empty());
            let dir = if has_parent && files.iteration().is_some() {
                dir.to_owned()
            } else {
                dir.canonicalize().ok()?
            };
            let iteration = run::iteration_of(dir.file_name()?.to_str()?)?;
            Some((dir.parent()?.to_owned(), iteration))
        });
        if let Some((sweep, iteration)) = place {
            found.entry(sweep).or_default().insert(iteration);
        }
    }
    if !is_one_run {
        // Iterations that are to run again are packed too, though no run of them stands.
        for (sweep, runs) in &mut found {
            runs.extend(run::replaced(sweep).into_iter().map(|(iteration, _)| iteration));
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
fn names(sweeps: &[JudgedSweep]) -> Vec<String> {
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

fn manifest(sweeps: &[JudgedSweep], names: &[String], signatures: &SignatureSet) -> Manifest {
    let matched: BTreeSet<&str> = sweeps
        .iter()
        .flat_map(|sweep| sweep.answers().all())
        .flat_map(|record| &record.outcome.categories)
        .map(String::as_str)
        .collect();
    let bundled = sweeps.iter().zip(names).map(|(sweep, name)| {
        let bundled = |records: &[Record]| {
            let records = records.iter();
            records
                .map(|record| bundled(record, name, sweep.spec.as_ref()))
                .collect()
        };
        BundledSweep {
            name: name.clone(),
            from: sweep.dir.display().to_string(),
            runs: bundled(&sweep.records),
            replaced: bundled(&sweep.replaced),
        }
    });
    Manifest {
        format: FORMAT,
        tool: crate::spec::tool(),
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

fn bundled(record: &Record, sweep: &str, spec: Option<&crate::spec::Spec>) -> BundledRun {
    let dir = format!("logs/{sweep}/{}", run::place_in_sweep(record.iteration, &record.dir));
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
