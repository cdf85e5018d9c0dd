//! Runs judged from their files: any run below a path, in parallel.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rayon::prelude::*;

use crate::judge::{self, Outcome, SignatureSet};
use crate::sweep::display::Counting;
use crate::{message, run};

/// The runs below a path.
pub fn runs_below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let runs = run::find_runs(path)?;
    if runs.is_empty() {
        return Err(message::hinted(
            format!("nothing to judge below `{}`", path.display()),
            "a run's directory holds run.log or pytest.log; a folder of logs holds files called *.log",
        ));
    }
    Ok(runs)
}

/// Judges many runs, in parallel and in their order.
pub fn judge_all(runs: &[PathBuf], signatures: &SignatureSet) -> anyhow::Result<Vec<Outcome>> {
    let bar = Counting::new(runs.len() as u64, "judged");
    let outcomes = runs.par_iter().map(|run| {
        let outcome = judge_path(run, signatures);
        bar.step();
        outcome
    });
    let outcomes = outcomes.collect();
    bar.finish();
    outcomes
}

/// Judges one run from its files.
pub fn judge_path(path: &Path, signatures: &SignatureSet) -> anyhow::Result<Outcome> {
    let files = run::run_files(path)?;
    let (exit, problems) = files.exit();
    let mut outcome = judge::judge(&files, exit.as_ref(), signatures)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    outcome.iteration = files.iteration();
    outcome.notes.extend(problems);
    Ok(outcome)
}
