//! `merge`: sweeps of one thing that were made in different places become one.

use std::path::PathBuf;

use chrono::Utc;
use clap::Args as ClapArgs;

use super::{judged_sweep, output, signatures};
use crate::backend::host_name;
use crate::exit_code::ExitCode;
use crate::message::{hinted, tell};
use crate::report::summary::ranges;
use crate::run::merge_plan::{self, MergePlan, Move, MoveAside};
use crate::run::{self, Provenance, Published, StoreError, Sweep};
use crate::spec::Spec;
use crate::stats::counted;

/// `merge`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky merge logs/n4_fix8 shard-*/logs/n4_fix8       shards with numbers of their own\n  \
    reproduce-flaky merge logs/n4_fix8 laptop/logs/n4_fix8 --renumber\n\n\
    Next: reproduce-flaky summary TARGET")]
pub struct Args {
    /// Directory of the sweep that takes them in; made if it is not there.
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
    /// Directories of the sweeps to copy from; they stay as they are.
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<PathBuf>,
    /// Give an iteration whose number is taken the next free one.
    #[arg(long)]
    pub renumber: bool,
    /// Leave out an iteration whose number is taken: of two answers the one that is there, or is named first, stays.
    #[arg(long, conflicts_with = "renumber")]
    pub keep_first: bool,
    /// Say what would be copied, and copy nothing.
    #[arg(long)]
    pub dry_run: bool,
}

struct Source {
    dir: PathBuf,
    spec: Spec,
}

impl Source {
    /// Where a copy of its iteration comes from.
    fn provenance(&self, iteration: u32) -> Provenance {
        let absolute = std::fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        Provenance {
            format: 1,
            sweep: absolute.display().to_string(),
            host: host_name(),
            iteration,
            sweep_created_at: self.spec.created_at,
            merged_at: Utc::now(),
        }
    }
}

/// Copies what the target does not have.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sources = args
        .sources
        .iter()
        .map(|dir| source(dir.clone()))
        .collect::<anyhow::Result<Vec<Source>>>()?;
    let known = run::spec(&args.target)?;
    if known.is_none() && !run::recorded(&args.target)?.is_empty() {
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
    let there = run::answers(&args.target)?;
    let runs = sources
        .iter()
        .map(|source| run::answers(&source.dir))
        .collect::<Result<Vec<_>, _>>()?;
    let plan = merge_plan::plan(&there, &runs, args.renumber);
    if !plan.taken.is_empty() && !args.keep_first {
        return Err(taken(&sources, &plan));
    }
    if args.dry_run {
        for Move { source, from, to } in &plan.moves {
            output::line(format_args!(
                "{} <- {}",
                args.target.join(run::run_name(*to)).display(),
                sources[*source].dir.join(run::run_name(*from)).display()
            ))?;
        }
        for MoveAside { from, .. } in &plan.asides {
            output::line(format_args!("{} <- {}", args.target.display(), from.display()))?;
        }
        tell(format_args!(
            "note: {} would be copied, {} are there already",
            plan.moves.len(),
            plan.already
        ));
        return Ok(ExitCode::Passed);
    }
    copy(args, &sources, reference.1, &plan)?;
    let left_out = match plan.taken.len() {
        0 => String::new(),
        n => format!(", {n} left out for an earlier answer"),
    };
    output::line(format_args!(
        "{} iterations copied from {} sweeps, {} were there already{left_out}",
        plan.moves.len(),
        sources.len(),
        plan.already
    ))?;
    if !plan.asides.is_empty() {
        output::line(format_args!(
            "{} that --retry had replaced came along, and count",
            counted(plan.asides.len() as u64, "answer", "answers")
        ))?;
    }
    Ok(ExitCode::Passed)
}

fn source(dir: PathBuf) -> anyhow::Result<Source> {
    match run::spec(&dir)? {
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
            ranges(numbers)
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
        reasons: sources.iter().flat_map(|source| source.spec.all_reasons()).collect(),
        ..reference.clone()
    };
    let sweep = Sweep::receiving(&args.target, &spec)?;
    let taken = |number: u32| {
        hinted(
            format!("iteration {number} of `{}` was taken meanwhile", args.target.display()),
            "run the same command again when nothing runs there: it goes on with the rest",
        )
    };
    // First those that were replaced: a merge that is cut short never shows a rate that is too low for want of them.
    for aside in &plan.asides {
        let provenance = sources[aside.source].provenance(aside.iteration);
        if sweep.adopt_aside(&aside.from, aside.to, &provenance)?.is_none() {
            return Err(taken(aside.to));
        }
    }
    for Move { source, from, to } in &plan.moves {
        let source = &sources[*source];
        let Some(dir) = run::recorded_run(&source.dir, *from) else {
            continue;
        };
        match sweep.adopt(&dir, *to, &source.provenance(*from))? {
            Some(Published::Ours(_)) => {}
            Some(Published::Superseded) | None => return Err(taken(*to)),
        }
    }
    judged_sweep::conclude(&sweep, &signatures::load(None)?)?;
    Ok(())
}
