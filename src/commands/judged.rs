//! Sweeps with a judgement for every iteration: what is stored, or made now where nothing is stored or can be read.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::judge::{self, SignatureSet};
use crate::model::{Outcome, OutcomeKind, Record, Spec};
use crate::store::{self, ScannedRun, StoreError};

/// A sweep as it stands on disk, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its directory, as given.
    pub dir: PathBuf,
    /// What was asked for; `None` in trees of the script.
    pub spec: Option<Spec>,
    /// Its iterations, in order.
    pub records: Vec<Record>,
    /// What could not be read, besides what a record says of itself.
    pub problems: Vec<String>,
}

/// Reads a sweep; every iteration with an answer has a judgement.
///
/// # Errors
/// The directory cannot be read.
pub fn sweep(dir: &Path, signatures: &SignatureSet) -> Result<Judged, StoreError> {
    let scan = store::scan(dir)?;
    Ok(Judged {
        dir: scan.dir,
        spec: scan.spec,
        records: scan.runs.into_par_iter().map(|run| record(run, signatures)).collect(),
        problems: scan.problems,
    })
}

fn record(run: ScannedRun, signatures: &SignatureSet) -> Record {
    let outcome = run.outcome.clone().unwrap_or_else(|| {
        let mut outcome = judged(&run, signatures);
        outcome.iteration = Some(run.iteration);
        outcome
            .notes
            .extend(run.problem.iter().map(|problem| format!("{problem}; judged again")));
        outcome
    });
    Record {
        iteration: run.iteration,
        dir: run.dir,
        exit: run.exit,
        outcome,
        problem: run.problem,
    }
}

fn judged(run: &ScannedRun, signatures: &SignatureSet) -> Outcome {
    let files = store::run_files(&run.dir).map_err(|error| error.to_string());
    let outcome = files.and_then(|files| {
        judge::judge(&files, run.exit.as_ref(), signatures).map_err(|cause| format!("failed to read the log: {cause}"))
    });
    outcome.unwrap_or_else(|problem| {
        // What cannot be read says nothing about the tests.
        let mut outcome = Outcome::new(OutcomeKind::Infra);
        outcome.notes.push(problem);
        outcome
    })
}
