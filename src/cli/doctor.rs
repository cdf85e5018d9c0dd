//! Flags of `doctor`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::sweep::{Backend, Engine};
use crate::model::Mode;

/// `doctor`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky doctor -i app:ci -p 4\n\n\
    Exit code 0 if a sweep can run, else 1.\n\
    Next: reproduce-flaky demo")]
pub struct Args {
    /// Image to look into; `host` is this machine's own Python.
    #[arg(short, long, default_value = "host")]
    pub image: String,
    /// Where attempts would execute.
    #[arg(long, default_value = "docker", value_name = "WHERE")]
    pub backend: Backend,
    /// Who would place iterations: with `slurm`, a node of the cluster is looked at, through srun.
    #[arg(long, default_value = "here", value_name = "WHO")]
    pub engine: Engine,
    /// Arguments that choose the node, as those of the sweep: `--sbatch=--partition=main`.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Socket that speaks Docker's API, as in `DOCKER_HOST`.
    #[arg(long, value_name = "ADDRESS")]
    pub docker_host: Option<String>,
    /// Look as a worker would, which starts Podman where no engine answers.
    #[arg(long, hide = true)]
    pub as_worker: bool,
    /// How pytest would run: `serial`, or N xdist workers, which need pytest-xdist.
    #[arg(short, long, default_value = "serial", value_name = "serial|N")]
    pub parallelism: Mode,
    /// Where sweeps would go.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    pub logs_dir: PathBuf,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// What `doctor` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each thing.
    Text,
    /// One JSON object.
    Json,
}
