//! `cancel` takes back iterations that were handed to an engine; `status --jobs` changes how many of them run at once.

use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args as ClapArgs;

use crate::commands::output;
use crate::engine::ticket::Ticket;
use crate::engine::{self, Engine, Slurm, Which};
use crate::exit_code::ExitCode;
use crate::message::{tell, usage};
use crate::run::Sweep;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky cancel logs/n4_fix8\n\n\
    Next: reproduce-flaky summary, or the sweep's own command, which runs what is missing")]
pub struct Args {
    /// Directory of the sweep.
    #[arg(value_name = "SWEEP")]
    pub sweep: PathBuf,
}

/// Takes back every iteration of a sweep that is queued or running; recorded iterations stay.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (sweep, mut tickets, engine) = placed(&args.sweep)?;
    let live = engine.states(&tickets)?;
    // Recorded before the engine is told: a process that follows the sweep must not take the iterations for lost.
    for ticket in &mut tickets {
        if ticket.cancelled_at.is_none() {
            ticket.cancelled_at = Some(Utc::now());
            sweep.keep_ticket(ticket)?;
        }
    }
    engine.cancel(&tickets, Which::All)?;
    output::line(format_args!(
        "{} iterations taken back; what is recorded stays",
        live.len()
    ))?;
    Ok(ExitCode::Passed)
}

/// Changes how many iterations run at once, now.
pub(super) fn set_jobs(dir: &Path, jobs: u32) -> anyhow::Result<()> {
    let (sweep, tickets, engine) = placed(dir)?;
    let live = engine.states(&tickets)?;
    let mut tickets: Vec<Ticket> = tickets
        .into_iter()
        .filter(|ticket| live.keys().any(|iteration| ticket.has(*iteration)))
        .collect();
    engine.set_jobs(&tickets, jobs)?;
    for ticket in &mut tickets {
        ticket.jobs = jobs;
        sweep.keep_ticket(ticket)?;
    }
    tell(format_args!(
        "note: {jobs} at once from now on, for {} iterations",
        live.len()
    ));
    Ok(())
}

/// A sweep, the tickets of its iterations, and the engine that has them.
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
