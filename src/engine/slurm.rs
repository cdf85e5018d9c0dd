//! Slurm, through its commands: `sbatch`, `squeue`, `scontrol`, `scancel`. Its libraries and its REST service change
//! with every release; the commands, called as here, have not for ten years.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use chrono::Utc;

use super::{Batch, Engine, EngineError, TaskState, Which};
use crate::engine::ticket::{Ticket, runs};

mod batch;
mod blocks;
mod queue;

pub use batch::check_lines;

/// The engine's name in flags and files.
pub(super) const NAME: &str = "slurm";

/// What Slurm says of a job that it has forgotten, which is no error: forgotten jobs have ended.
const FORGOTTEN: [&str; 3] = ["Invalid job id", "already finished", "already completing or completed"];

/// Slurm, as this machine reaches it.
#[derive(Clone, Debug)]
pub struct Slurm {
    /// More arguments for `sbatch`.
    lines: Vec<String>,
}

impl Slurm {
    /// `lines` are more arguments for `sbatch`, each with the words of a `#SBATCH` line.
    pub fn new(lines: Vec<String>) -> Slurm {
        Slurm { lines }
    }

    /// Runs a command on one node of the cluster and returns what it prints, whatever it ended with.
    ///
    /// # Errors
    /// No node could be had, or the command said nothing there.
    pub fn on_a_node(&self, command: &[String]) -> Result<String, EngineError> {
        let words = batch::words(&self.lines);
        let own = ["--ntasks=1", "--nodes=1", "--quiet"].map(str::to_owned);
        let all: Vec<String> = own.into_iter().chain(words).chain(command.iter().cloned()).collect();
        let output = run("srun", &all, None)?;
        if output.stdout.is_empty() {
            return said("srun", &output);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Engine for Slurm {
    fn submit(
        &self,
        batch: &Batch<'_>,
        keep: &mut dyn FnMut(Ticket) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let largest = queue::largest_index(&call("scontrol", &["show", "config"].map(str::to_owned), None)?)?;
        let mut after = batch.after.map(|ticket| ticket.id.clone());
        for (offset, iterations) in blocks::blocks(batch.iterations, largest) {
            let arguments = batch::arguments(batch, &self.lines, offset, &iterations, after.as_deref());
            let said = call("sbatch", &arguments, Some(&batch::script(batch, offset)?))?;
            // With several clusters the cluster's name follows.
            let id = said.trim().split(';').next().unwrap_or_default().to_owned();
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
                let program = "sbatch".to_owned();
                return Err(EngineError::Unreadable { program, said });
            }
            after = Some(id.clone());
            keep(Ticket {
                format: 1,
                engine: NAME.to_owned(),
                id,
                offset,
                iterations: runs(&iterations),
                jobs: batch.jobs,
                submitted_at: Utc::now(),
                cancelled_at: None,
            })?;
        }
        Ok(())
    }

    fn states(&self, tickets: &[Ticket]) -> Result<BTreeMap<u32, TaskState>, EngineError> {
        if tickets.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<&str> = tickets.iter().map(|ticket| ticket.id.as_str()).collect();
        let arguments = ["-h", "-r", "-j", &ids.join(","), "-o", "%F|%K|%T|%N|%r"].map(str::to_owned);
        Ok(queue::read(&forgiving("squeue", &arguments)?, tickets))
    }

    fn set_jobs(&self, tickets: &[Ticket], jobs: u32) -> Result<(), EngineError> {
        for ticket in tickets {
            let job = format!("jobid={}", ticket.id);
            let throttle = format!("ArrayTaskThrottle={jobs}");
            forgiving("scontrol", &["update".to_owned(), job, throttle])?;
        }
        Ok(())
    }

    fn cancel(&self, tickets: &[Ticket], which: Which) -> Result<(), EngineError> {
        if tickets.is_empty() {
            return Ok(());
        }
        let mut arguments = Vec::new();
        if which == Which::Queued {
            arguments.push("--state=PENDING".to_owned());
        }
        arguments.extend(tickets.iter().map(|ticket| ticket.id.clone()));
        forgiving("scancel", &arguments).map(|_| ())
    }
}

/// Calls a program of Slurm; that a job is forgotten is as good as an empty answer.
fn forgiving(program: &str, arguments: &[String]) -> Result<String, EngineError> {
    match call(program, arguments, None) {
        Err(EngineError::Refused { cause, .. }) if FORGOTTEN.iter().any(|words| cause.contains(words)) => {
            Ok(String::new())
        }
        other => other,
    }
}

/// Calls a program of Slurm and returns what it prints.
fn call(program: &str, arguments: &[String], input: Option<&str>) -> Result<String, EngineError> {
    said(program, &run(program, arguments, input)?)
}

fn run(program: &str, arguments: &[String], input: Option<&str>) -> Result<Output, EngineError> {
    use std::io::Write as _;
    let refused = |cause: String| EngineError::Refused {
        program: program.to_owned(),
        cause,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => EngineError::Missing {
                program: program.to_owned(),
            },
            _ => refused(error.to_string()),
        })?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // Errors are ignored: a program that ends before it has read its input says why itself.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait_with_output().map_err(|error| refused(error.to_string()))
}

/// What a program printed, or why it failed.
fn said(program: &str, output: &Output) -> Result<String, EngineError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let prefix = format!("{program}: error: ");
    let cause = if lines.is_empty() {
        output.status.to_string()
    } else {
        let lines: Vec<&str> = lines
            .iter()
            .map(|line| line.strip_prefix(&prefix).unwrap_or(line))
            .collect();
        lines.join("; ")
    };
    Err(EngineError::Refused {
        program: program.to_owned(),
        cause,
    })
}
