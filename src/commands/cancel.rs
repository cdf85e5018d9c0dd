//! `cancel`, and `status --jobs`: what was handed to an engine is taken back, or runs more or less at once.

use std::path::Path;

use chrono::Utc;

use crate::cli::cancel::Args;
use crate::engine::{self, Engine, Slurm, Which};
use crate::exit_code::ExitCode;
use crate::message::usage;
use crate::model::ticket::Ticket;
use crate::store::Sweep;

/// Takes back everything of a sweep that is queued or running; what is recorded stays.
///
/// # Errors
/// There is no such sweep, nothing of it was placed, or the engine refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (sweep, mut tickets, engine) = placed(&args.sweep)?;
    let live = engine.live(&tickets)?;
    // Written down first: whoever follows must not take what goes now for lost.
    for ticket in &mut tickets {
        if ticket.cancelled_at.is_none() {
            ticket.cancelled_at = Some(Utc::now());
            sweep.keep_ticket(ticket)?;
        }
    }
    engine.cancel(&tickets, Which::All)?;
    anstream::println!("{} iterations taken back; what is recorded stays", live.len());
    Ok(ExitCode::Passed)
}

/// Changes how many iterations run at once, now.
///
/// # Errors
/// As for [`run`].
pub(super) fn set_jobs(dir: &Path, jobs: u32) -> anyhow::Result<()> {
    let (sweep, tickets, engine) = placed(dir)?;
    let live = engine.live(&tickets)?;
    let mut tickets: Vec<Ticket> = tickets
        .into_iter()
        .filter(|ticket| live.keys().any(|iteration| ticket.has(*iteration)))
        .collect();
    engine.set_jobs(&tickets, jobs)?;
    for ticket in &mut tickets {
        ticket.jobs = jobs;
        sweep.keep_ticket(ticket)?;
    }
    anstream::eprintln!("note: {jobs} at once from now on, for {} iterations", live.len());
    Ok(())
}

/// A sweep, what was handed over of it, and to whom.
fn placed(dir: &Path) -> anyhow::Result<(Sweep, Vec<Ticket>, Slurm)> {
    let (sweep, _) = Sweep::existing(dir)?;
    let tickets = sweep.tickets()?;
    let engine = tickets.first().and_then(|ticket| engine::named(&ticket.engine));
    let Some(engine) = engine else {
        return Err(usage(
            format!("nothing of `{}` was handed to an engine", dir.display()),
            Some("iterations that run in a process are ended by ending it"),
        ));
    };
    Ok((sweep, tickets, engine))
}
