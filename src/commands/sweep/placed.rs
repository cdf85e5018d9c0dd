//! A sweep whose iterations an engine places on other machines: what is missing is handed over, then followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{arm, before, end, pace, signals};
use crate::backend::NoBackend;
use crate::cli::settings::Settings;
use crate::commands::output;
use crate::commands::sweep::args::Args;
use crate::engine::ticket::Ticket;
use crate::engine::{Batch, Engine, EngineError, Slurm, check_lines};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::{hinted, tell, usage};
use crate::run::Sweep;
use crate::spec::{EngineKind, Spec};
use crate::sweep::blocks::{Blocks, Stops};
use crate::sweep::display;
use crate::sweep::iteration::Early;
use crate::sweep::scheduler::{self, Arm, Placement, Reason};
use crate::sweep::stop::StopRules;

/// Hands the missing iterations of a sweep over, or prints them for `--engine list`, and follows them to the end.
pub(super) async fn run(
    args: &Args,
    settings: Option<&Settings>,
    specs: &[Spec],
    stop: StopRules,
    signatures: &Arc<SignatureSet>,
) -> anyhow::Result<ExitCode> {
    let [spec] = specs else {
        return Err(usage(
            "arms run side by side in one process: --arm needs --engine here",
            Some("run one sweep after the other with --tag, then compare them"),
        ));
    };
    check_lines(&args.sbatch).map_err(|cause| usage(format!("invalid --sbatch: {cause}"), None))?;
    let signals = signals()?;
    let sweep = Sweep::open(&args.logs.dir, spec)?.keep_logs(args.keep_logs);
    for note in sweep.notes() {
        tell(format_args!("note: {note}"));
    }
    sweep.freeze(spec)?;
    let arm = arm(
        args,
        sweep,
        spec.clone(),
        (Arc::new(NoBackend), Early::default()),
        signatures,
    )?;
    if args.engine == EngineKind::List {
        if !arm.missing.is_empty() {
            before::run(settings).await?;
        }
        for iteration in &arm.missing {
            output::line(format_args!("{iteration}"))?;
        }
        return Ok(ExitCode::Passed);
    }
    let engine: Arc<dyn Engine> = Arc::new(Slurm::new(args.sbatch.clone()));
    let tickets = place(args, settings, &arm, &*engine).await?;
    let arm = Arc::new(arm);
    let stops = Stops {
        rules: stop,
        when_decided: false,
    };
    let mut blocks = Blocks::new(vec![Arc::clone(&arm)], 0, stops);
    let placed = Placement {
        engine,
        tickets,
        max_attempts: args.max_attempts,
    };
    let displays = display::open(args.display(), args.verbose);
    let end = scheduler::follow(&mut blocks, pace(args), displays, signals, placed).await?;
    if end.reason == Reason::Interrupted {
        let sweep = arm.context.sweep.shown().display();
        tell(format_args!(
            "note: what was handed over goes on; the same command follows it again"
        ));
        tell(format_args!("note: reproduce-flaky cancel {sweep}  takes it back"));
        return Ok(ExitCode::Interrupted);
    }
    end::finish(args, &blocks, &end)
}

/// Hands over the iterations that are neither recorded nor live; returns the tickets of all that are live then.
async fn place(
    args: &Args,
    settings: Option<&Settings>,
    arm: &Arm,
    engine: &dyn Engine,
) -> anyhow::Result<Vec<Ticket>> {
    let sweep = &arm.context.sweep;
    let _submitting = sweep.submitting()?;
    let known = sweep.tickets()?;
    let live = match engine.states(&known) {
        Ok(live) => live,
        Err(error @ EngineError::Missing { .. }) => return Err(error.into()),
        Err(error) if args.force => {
            display::warn(&format!(
                "{error}; what is still running may run twice, and is recorded once"
            ));
            BTreeMap::new()
        }
        Err(error) => {
            return Err(hinted(
                format!(
                    "not known which iterations of `{}` still run: {error}",
                    sweep.shown().display()
                ),
                "try again when it answers; --force goes on, and what still runs may then run twice",
            ));
        }
    };
    // Read again: iterations may have been published before the queue answered.
    let has = sweep.recorded()?;
    let missing: Vec<u32> = arm
        .missing
        .iter()
        .copied()
        .filter(|iteration| !has.contains(iteration) && !live.contains_key(iteration))
        .collect();
    let mut tickets: Vec<Ticket> = known
        .into_iter()
        .filter(|ticket| live.keys().any(|iteration| ticket.has(*iteration)))
        .collect();
    if !live.is_empty() {
        tell(format_args!(
            "note: {} iterations are queued or running already",
            live.len()
        ));
        if tickets.iter().any(|ticket| ticket.jobs != args.jobs()) {
            engine.set_jobs(&tickets, args.jobs())?;
        }
    }
    if missing.is_empty() {
        return Ok(tickets);
    }
    before::run(settings).await?;
    let after = tickets.last().cloned();
    let batch = Batch {
        sweep: sweep.dir(),
        spec: &arm.context.spec,
        iterations: &missing,
        jobs: args.jobs(),
        after: after.as_ref(),
    };
    engine.submit(&batch, &mut |ticket| {
        tell(format_args!("note: handed to Slurm as job {}", ticket.id));
        let kept = sweep.keep_ticket(&ticket);
        tickets.push(ticket);
        kept.map_err(|error| EngineError::Kept(error.to_string()))
    })?;
    Ok(tickets)
}
