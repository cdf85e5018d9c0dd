//! `import`: puts the runs of a bundle where sweeps are.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::json;

use super::{judged_sweep, output};
use crate::cli::values::{Format, LogsDir};
use crate::commands::export::text;
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::run;
use crate::spec::values::memory;

/// `import`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky import run024.tar.zst\n  \
    reproduce-flaky import run024.tar.zst --logs-dir from-ci\n\n\
    Next: reproduce-flaky show on one of its runs")]
pub struct Args {
    /// What `export` wrote; a run that is there already stays as it is.
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    #[command(flatten)]
    pub logs: LogsDir,
    /// Most bytes that it may have unpacked.
    #[arg(long, default_value = "20g", value_name = "SIZE", value_parser = memory)]
    pub max_size: u64,
    /// How to say what was done.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// Unpacks a bundle, looks at all of it, and only then moves its runs into place.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let unpacked = run::unpack(&args.bundle, &args.logs.dir, args.max_size)?;
    let placed = run::place(&unpacked, &args.logs.dir)?;
    let signatures = SignatureSet::built_in();
    for sweep in placed
        .iter()
        .filter(|sweep| !sweep.new.is_empty() || sweep.replaced > 0)
    {
        judged_sweep::rebuild(&sweep.dir, &signatures)?;
    }
    match args.format {
        Format::Json => {
            let sweeps: Vec<_> = placed
                .iter()
                .map(|sweep| {
                    json!({
                        "sweep": sweep.dir.display().to_string(),
                        "imported": sweep.new,
                        "known": sweep.known,
                        "replaced": sweep.replaced,
                    })
                })
                .collect();
            output::json(&json!({"format": 1, "sweeps": sweeps, "redacted": unpacked.closing.redacted}))?;
        }
        Format::Text => {
            let sweeps = placed.iter().map(|sweep| text::Imported {
                dir: sweep.dir.display().to_string(),
                new: sweep.new.iter().copied().collect(),
                known: sweep.known.len() as u64,
                replaced: sweep.replaced as u64,
            });
            output::words(&text::imported(&sweeps.collect::<Vec<_>>(), &unpacked.closing))?;
        }
    }
    Ok(ExitCode::Passed)
}
