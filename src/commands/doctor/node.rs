//! `doctor --engine slurm`: the checks are made on a node of the cluster, where the sessions would run.

use serde::Deserialize;

use super::{Check, conclude};
use crate::commands::doctor::Args;
use crate::engine::{Slurm, check_lines};
use crate::exit_code::ExitCode;
use crate::message::{hinted, usage};

/// What `doctor --format json` prints on the node.
#[derive(Deserialize)]
struct NodeReport {
    checks: Vec<Check>,
}

/// Runs `doctor` on a node and prints what it found.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    check_lines(&args.sbatch).map_err(|cause| usage(format!("invalid --sbatch: {cause}"), None))?;
    let program = std::env::current_exe()?;
    let backend = args.backend.as_str();
    let mode = args.parallelism.to_string();
    let logs = std::path::absolute(&args.logs.dir)?;
    let mut command: Vec<String> = vec![program.display().to_string()];
    let words = [
        "doctor",
        "--as-worker",
        "--format",
        "json",
        "-i",
        &args.image,
        "--backend",
        backend,
        "-p",
        &mode,
    ];
    command.extend(words.map(str::to_owned));
    command.extend(["--logs-dir".to_owned(), logs.display().to_string()]);
    if let Some(host) = &args.docker_host {
        command.extend(["--docker-host".to_owned(), host.clone()]);
    }
    let said = Slurm::new(args.sbatch.clone()).on_a_node(&command)?;
    let there: NodeReport = serde_json::from_str(&said).map_err(|_| {
        hinted(
            format!("`{}` did not run on a node: {}", program.display(), said.trim()),
            "the program, the tests and the logs must be on a disk that every node sees",
        )
    })?;
    let mut checks = vec![Check::ok("slurm", "a node answers; what follows is what it has")];
    checks.extend(there.checks);
    conclude(args.format, &checks)
}
