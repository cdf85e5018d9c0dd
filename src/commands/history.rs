//! `history`: nights in a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use super::{judged, output, signatures};
use crate::cli::figures::Format;
use crate::cli::history::Args;
use crate::exit_code::ExitCode;
use crate::message::hinted;
use crate::model::history::{History, Night};
use crate::render;
use crate::store;

/// Prints the history.
///
/// # Errors
/// A directory that cannot be read, or none that holds a sweep.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut sweeps: Vec<PathBuf> = Vec::new();
    let mut seen = BTreeSet::new();
    for path in &args.logs {
        // The same night named twice, as a glob and its parent would, is one night.
        let found = store::find_sweeps(path)?.into_iter();
        sweeps.extend(found.filter(|sweep| seen.insert(fs::canonicalize(sweep).unwrap_or_else(|_| sweep.clone()))));
    }
    if sweeps.is_empty() {
        let named: Vec<String> = args.logs.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(hinted(
            format!("no sweep below {}", named.join(", ")),
            "name directories that hold runNNN directories, or a directory of those",
        ));
    }
    let nights: Vec<Night> = sweeps
        .par_iter()
        .map(|dir| {
            let sweep = judged::sweep(dir, &signatures)?;
            Ok(Night::from_records(
                &dir.display().to_string(),
                sweep.spec.as_ref(),
                &sweep.records,
            ))
        })
        .collect::<Result<_, store::StoreError>>()?;
    let history = History::of(nights, args.confidence);
    match args.format {
        Format::Json => output::json(&history)?,
        Format::Text => output::text(&render::history::text(&history, args.confidence))?,
        Format::Markdown => output::text(&render::history::as_markdown(&history, args.confidence))?,
    }
    Ok(ExitCode::Passed)
}
