//! `import`: puts the runs of a bundle where sweeps are.

use serde_json::json;

use super::{judged, output};
use crate::cli::import::Args;
use crate::cli::status::Format;
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::render::bundle as render;
use crate::store;

/// Unpacks a bundle, looks at all of it, and only then moves its runs into place.
///
/// # Errors
/// It is no bundle, or not one that can be trusted; another run has the name of one of its runs.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let unpacked = store::unpack(&args.bundle, &args.logs_dir, args.max_size)?;
    let placed = store::place(&unpacked, &args.logs_dir)?;
    let signatures = SignatureSet::built_in();
    for sweep in placed.iter().filter(|sweep| !sweep.new.is_empty()) {
        judged::rebuild(&sweep.dir, &signatures)?;
    }
    match args.format {
        Format::Json => {
            let sweeps: Vec<_> = placed
                .iter()
                .map(|sweep| json!({"sweep": sweep.dir.display().to_string(), "imported": sweep.new, "known": sweep.known}))
                .collect();
            output::json(&json!({"format": 1, "sweeps": sweeps, "redacted": unpacked.closing.redacted}))?;
        }
        Format::Text => {
            let sweeps = placed.iter().map(|sweep| render::Imported {
                dir: sweep.dir.display().to_string(),
                new: sweep.new.iter().copied().collect(),
                known: sweep.known.len() as u64,
            });
            output::text(&render::imported(&sweeps.collect::<Vec<_>>(), &unpacked.closing))?;
        }
    }
    Ok(ExitCode::Passed)
}
