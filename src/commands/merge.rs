//! `merge`: sweeps of one thing that were made in different places become one.

use std::path::PathBuf;

use chrono::Utc;

use super::{judged, signatures};
use crate::backend::host_name;
use crate::cli::merge::Args;
use crate::exit_code::ExitCode;
use crate::message::hinted;
use crate::model::Spec;
use crate::model::merge::{self, MergePlan, Move};
use crate::model::summary::ranges;
use crate::store::{self, Provenance, Published, StoreError, Sweep};

/// A sweep to copy from.
struct Source {
    dir: PathBuf,
    spec: Spec,
}

/// Copies what the target does not have.
///
/// # Errors
/// The sweeps are of different things, a number is taken, or something cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sources = args
        .sources
        .iter()
        .map(|dir| source(dir.clone()))
        .collect::<anyhow::Result<Vec<Source>>>()?;
    let known = store::spec(&args.target)?;
    if known.is_none() && !store::recorded(&args.target)?.is_empty() {
        return Err(unsaid(&args.target));
    }
    let reference = known
        .as_ref()
        .map_or((&sources[0].dir, &sources[0].spec), |spec| (&args.target, spec));
    for source in &sources {
        let differences = source.spec.differences(reference.1);
        if !differences.is_empty() {
            let dir = reference.0.clone();
            let error = StoreError::Differs { dir, differences };
            return Err(hinted(
                format!("`{}` is of something else: {error}", source.dir.display()),
                "only sweeps of one thing can become one; reproduce-flaky compare sets two against each other",
            ));
        }
    }
    let there = store::identities(&args.target)?;
    let runs = sources
        .iter()
        .map(|source| store::identities(&source.dir))
        .collect::<Result<Vec<_>, _>>()?;
    let plan = merge::plan(&there, &runs, args.renumber);
    if !plan.taken.is_empty() {
        return Err(taken(&sources, &plan));
    }
    if args.dry_run {
        for Move { source, from, to } in &plan.moves {
            anstream::println!(
                "{} <- {}",
                args.target.join(store::run_name(*to)).display(),
                sources[*source].dir.join(store::run_name(*from)).display()
            );
        }
        anstream::eprintln!(
            "note: {} would be copied, {} are there already",
            plan.moves.len(),
            plan.already
        );
        return Ok(ExitCode::Passed);
    }
    copy(args, &sources, reference.1, &plan)?;
    anstream::println!(
        "{} iterations copied from {} sweeps, {} were there already",
        plan.moves.len(),
        sources.len(),
        plan.already
    );
    Ok(ExitCode::Passed)
}

fn source(dir: PathBuf) -> anyhow::Result<Source> {
    match store::spec(&dir)? {
        Some(spec) => Ok(Source { dir, spec }),
        None => Err(unsaid(&dir)),
    }
}

fn unsaid(dir: &std::path::Path) -> anyhow::Error {
    hinted(
        format!("`{}` does not say what it ran: it has no sweep.json", dir.display()),
        "name the directory of a sweep, such as logs/serial",
    )
}

fn taken(sources: &[Source], plan: &MergePlan) -> anyhow::Error {
    let (first, _) = plan.taken[0];
    let numbers: Vec<u32> = plan
        .taken
        .iter()
        .filter(|(source, _)| *source == first)
        .map(|(_, number)| *number)
        .collect();
    hinted(
        format!(
            "`{}` has iterations whose numbers are taken by others: {}",
            sources[first].dir.display(),
            ranges(&numbers)
        ),
        "--renumber gives them the next free numbers",
    )
}

/// Copies run after run. What was copied before something broke stays, and the same call goes on with the rest.
fn copy(args: &Args, sources: &[Source], reference: &Spec, plan: &MergePlan) -> anyhow::Result<()> {
    let numbers = plan.moves.iter().map(|one| one.to);
    let first = numbers.clone().min().unwrap_or(reference.first).min(reference.first);
    let last = numbers.max().unwrap_or(reference.last).max(reference.last);
    let ranges = |edge: fn(&Spec) -> u32| sources.iter().map(move |source| edge(&source.spec));
    let spec = Spec {
        first: ranges(|spec| spec.first).min().unwrap_or(first).min(first),
        last: ranges(|spec| spec.last).max().unwrap_or(last).max(last),
        placing: None,
        arm: None,
        ended: None,
        ..reference.clone()
    };
    let sweep = Sweep::receiving(&args.target, &spec)?;
    for Move { source, from, to } in &plan.moves {
        let source = &sources[*source];
        let Some(dir) = store::recorded_run(&source.dir, *from) else {
            continue;
        };
        let absolute = std::fs::canonicalize(&source.dir).unwrap_or_else(|_| source.dir.clone());
        let provenance = Provenance {
            format: 1,
            sweep: absolute.display().to_string(),
            host: host_name(),
            iteration: *from,
            sweep_created_at: source.spec.created_at,
            merged_at: Utc::now(),
        };
        match sweep.adopt(&dir, *to, &provenance)? {
            Some(Published::Ours(_)) => {}
            Some(Published::Superseded) | None => {
                return Err(hinted(
                    format!("iteration {to} of `{}` was taken meanwhile", args.target.display()),
                    "run the same command again when nothing runs there: it goes on with the rest",
                ));
            }
        }
    }
    judged::conclude(&sweep, &signatures::load(None)?)?;
    Ok(())
}
