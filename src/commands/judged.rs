//! Sweeps with a judgement for every iteration: what is stored, or made now where nothing is stored or can be read.

use std::path::Path;

use rayon::prelude::*;

use crate::judge::{self, SignatureSet};
use crate::model::Outcome;
use crate::store::{self, Record, Scan, StoreError};

/// Reads a sweep; each record of it has an outcome.
///
/// # Errors
/// The directory cannot be read.
pub fn sweep(dir: &Path, signatures: &SignatureSet) -> Result<Scan, StoreError> {
    let mut scan = store::scan(dir)?;
    scan.records.par_iter_mut().filter(|record| record.outcome.is_none()).try_for_each(|record| {
        record.outcome = Some(judge_record(record, signatures)?);
        Ok::<(), StoreError>(())
    })?;
    Ok(scan)
}

fn judge_record(record: &Record, signatures: &SignatureSet) -> Result<Outcome, StoreError> {
    let files = store::run_files(&record.dir)?;
    let mut outcome = judge::judge(&files, record.has_exit.then_some(&record.exit), signatures)
        .map_err(|cause| StoreError::io("read", &record.dir, cause))?;
    outcome.iteration = Some(record.iteration);
    outcome.notes.extend(record.problem.iter().map(|problem| format!("{problem}; judged again")));
    Ok(outcome)
}
