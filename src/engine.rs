//! Who places iterations, where it is not this process: an engine starts `worker` on other machines, and nothing else.
//!
//! No engine executes a task exactly once: one that loses a node runs its tasks again while the first may still be alive.
//! Recording exactly once is the work of `run`. An engine is asked only what is still queued or running; its exit codes, its
//! accounting and its logs are never read for results.

pub mod ticket;

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::ticket::Ticket;
use crate::spec::Spec;

mod slurm;

pub use slurm::{Slurm, check_lines};

/// Why an engine could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A program of the engine is not on this machine.
    #[error("`{program}` is not on this machine")]
    Missing { program: String },
    /// The engine refused.
    #[error("`{program}` refused: {cause}")]
    Refused { program: String, cause: String },
    /// The engine's answer cannot be read.
    #[error("`{program}` said what cannot be read: {said}")]
    Unreadable { program: String, said: String },
    /// A ticket could not be kept.
    #[error("{0}")]
    Kept(String),
}

impl EngineError {
    /// What the user can do, where we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            EngineError::Missing { .. } => {
                Some("run this where Slurm's commands are, such as the cluster's login node".to_owned())
            }
            EngineError::Refused { program, .. } if program == "sbatch" => Some(
                "partition, account and time come from --sbatch, such as --sbatch=--partition=main; sinfo shows what there is"
                    .to_owned(),
            ),
            EngineError::Refused { .. } => Some("sinfo and squeue say how the cluster is".to_owned()),
            EngineError::Unreadable { .. } | EngineError::Kept(_) => None,
        }
    }
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Directory of the sweep, absolute, on a disk that every machine sees.
    pub sweep: &'a Path,
    pub spec: &'a Spec,
    /// The iterations, in order.
    pub iterations: &'a [u32],
    /// Most of them at once.
    pub jobs: u32,
    /// Job that must have ended before: its iterations count among those that run at once.
    pub after: Option<&'a Ticket>,
}

/// Where an iteration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Queued, for this reason.
    Queued(String),
    /// On this node: running, about to run, or just ended.
    Running(String),
}

/// Which of the iterations that were placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Iterations that have not begun.
    Queued,
    All,
}

/// Something that places iterations.
pub trait Engine: Send + Sync {
    /// Places iterations. Each ticket is handed to `keep` as soon as the engine has accepted it.
    ///
    /// # Errors
    /// The engine refused; what it had accepted before is kept.
    fn submit(
        &self,
        batch: &Batch<'_>,
        keep: &mut dyn FnMut(Ticket) -> Result<(), EngineError>,
    ) -> Result<(), EngineError>;

    /// The iterations that are queued or running; one that is in none of these has ended, whatever came of it.
    ///
    /// # Errors
    /// The engine cannot be asked, so that nothing is known.
    fn states(&self, tickets: &[Ticket]) -> Result<BTreeMap<u32, TaskState>, EngineError>;

    /// Changes how many run at once.
    ///
    /// # Errors
    /// The engine refused.
    fn set_jobs(&self, tickets: &[Ticket], jobs: u32) -> Result<(), EngineError>;

    /// Takes iterations back. Those that run are asked to end, and are no results.
    ///
    /// # Errors
    /// The engine refused.
    fn cancel(&self, tickets: &[Ticket], which: Which) -> Result<(), EngineError>;
}

/// The engine of this name; `None` where there is no such engine.
pub fn named(name: &str) -> Option<Slurm> {
    (name == slurm::NAME).then(|| Slurm::new(Vec::new()))
}
