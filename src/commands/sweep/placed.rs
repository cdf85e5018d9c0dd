//! A sweep whose iterations an engine places on other machines: what is missing is handed over, then followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{arm, before, end, signals};
use crate::backend::Elsewhere;
use crate::cli::settings::Settings;
use crate::cli::sweep::{Args, Engine as Who, KeepLogs};
use crate::engine::{Engine, EngineError, Slurm, Work, check_lines};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::{hinted, usage};
use crate::model::Spec;
use crate::model::stop::StopRules;
use crate::model::ticket::Ticket;
use crate::reporter;
use crate::runner::{self, Arm, FollowError, Placed, Plan, Reason};
use crate::store::{Keep, Sweep};

/// Places a sweep.
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
    let sweep = Sweep::open(&args.logs_dir, spec)?.keep_logs(match args.keep_logs {
        KeepLogs::All => Keep::All,
        KeepLogs::Failed => Keep::Failed,
    });
    for note in sweep.notes() {
        anstream::eprintln!("note: {note}");
    }
    sweep.freeze(spec)?;
    let arm = arm(args, sweep, spec.clone(), Arc::new(Elsewhere), signatures)?;
    if args.engine == Who::List {
        if !arm.missing.is_empty() {
            run_before(settings).await?;
        }
        for iteration in &arm.missing {
            anstream::println!("{iteration}");
        }
        return Ok(ExitCode::Passed);
    }
    let engine: Arc<dyn Engine> = Arc::new(Slurm::new(args.sbatch.clone()));
    let tickets = place(args, settings, &arm, &*engine).await?;
    let context = Arc::clone(&arm.context);
    let plan = Plan {
        range: (args.start, args.end),
        arms: vec![arm],
        jobs: args.jobs(),
        stop,
        stop_when_decided: false,
        seed: 0,
        cancel_grace: args.cancel_grace,
    };
    let placed = Placed {
        engine,
        tickets,
        max_attempts: args.max_attempts,
    };
    let followed = runner::follow(plan, reporter::open(args.display(), args.verbose), signals, placed).await;
    let end = followed.map_err(|error| match error {
        FollowError::Store(error) => anyhow::Error::from(error),
        FollowError::Engine(error) => error.into(),
    })?;
    if end.reason == Reason::Interrupted {
        let sweep = context.sweep.shown().display();
        anstream::eprintln!("note: what was handed over goes on; the same command follows it again");
        anstream::eprintln!("note: reproduce-flaky cancel {sweep}  takes it back");
        return Ok(ExitCode::Interrupted);
    }
    end::finish(args, &[context], &end)
}

async fn run_before(settings: Option<&Settings>) -> anyhow::Result<()> {
    match settings.and_then(|settings| settings.before.as_deref()) {
        Some(command) => before::run(command).await,
        None => Ok(()),
    }
}

/// Hands over what is neither recorded nor live, and returns the tickets of all that is live then.
async fn place(
    args: &Args,
    settings: Option<&Settings>,
    arm: &Arm,
    engine: &dyn Engine,
) -> anyhow::Result<Vec<Ticket>> {
    let sweep = &arm.context.sweep;
    let _submitting = sweep.submitting()?;
    let known = sweep.tickets()?;
    let live = match engine.live(&known) {
        Ok(live) => live,
        Err(error @ EngineError::Missing { .. }) => return Err(error.into()),
        Err(error) if args.force => {
            reporter::warn(&format!(
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
    // Published between our look at the store and the queue's answer.
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
        anstream::eprintln!("note: {} iterations are queued or running already", live.len());
        if tickets.iter().any(|ticket| ticket.jobs != args.jobs()) {
            engine.set_jobs(&tickets, args.jobs())?;
        }
    }
    if missing.is_empty() {
        return Ok(tickets);
    }
    run_before(settings).await?;
    let after = tickets.last().cloned();
    let work = Work {
        sweep: sweep.dir(),
        spec: &arm.context.spec,
        iterations: &missing,
        jobs: args.jobs(),
        after: after.as_ref(),
    };
    engine.submit(&work, &mut |ticket| {
        anstream::eprintln!("note: handed to Slurm as job {}", ticket.id);
        let kept = sweep.keep_ticket(&ticket);
        tickets.push(ticket);
        kept.map_err(|error| EngineError::Kept(error.to_string()))
    })?;
    Ok(tickets)
}
