//! Sweeps with a judgement for every iteration: what is stored, or made now where nothing is stored or can be read.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::reached;
use crate::judge::{self, SignatureSet, cluster};
use crate::model::summary::{Class, Source, Summary, Unknown};
use crate::model::{Outcome, OutcomeKind, Record, Spec, Verdict};
use crate::render::paint::Paint;
use crate::render::tables::Listed;
use crate::render::text;
use crate::store::{self, Rebuilt, ScannedRun, StoreError, Sweep};

/// Confidence of the intervals where nobody chose one.
pub const CONFIDENCE: f64 = 0.95;

/// How often the derived files are made again when other processes publish meanwhile.
const MOST_REBUILDS: usize = 10;

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

impl Judged {
    /// The sweep in figures; reads which tests each iteration reached.
    #[must_use]
    pub fn summary(&self, signatures: &SignatureSet, confidence: f64) -> Summary {
        let classes = signatures.iter().map(|signature| Class {
            id: signature.id.clone(),
            title: signature.title.clone(),
            advice: signature.advice.clone(),
        });
        Summary::of(&Source {
            sweep: &self.dir.display().to_string(),
            spec: self.spec.as_ref(),
            records: &self.records,
            tests: &reached::tally(self).rates(confidence),
            classes: &classes.collect::<Vec<_>>(),
            unknown: &unknown(&self.records),
            running: store::in_flight(&self.dir).map_or(0, |running| running.len() as u64),
            problems: &self.problems,
            confidence,
        })
    }
}

/// The failures that no signature covers, grouped.
fn unknown(records: &[Record]) -> Vec<Unknown> {
    let failed = records
        .iter()
        .filter(|record| record.outcome.verdict == Verdict::Failed);
    let groups = cluster::cluster(failed.map(|record| &record.outcome));
    let unknown = groups.into_iter().map(|group| Unknown {
        id: group.id,
        pattern: group.pattern,
        example: group.example,
        place: group.place,
        runs: group.iterations,
    });
    unknown.collect()
}

/// Brings the derived files of an open sweep up to date, and says what it came to.
///
/// # Errors
/// The directory cannot be read, or the files cannot be written.
pub fn conclude(open: &Sweep, signatures: &SignatureSet) -> Result<(Judged, Summary), StoreError> {
    write_derived(open.shown(), signatures, |records, words| open.rebuild(records, words))
}

/// Brings the derived files of any sweep's directory up to date, the old script's included.
///
/// # Errors
/// The directory cannot be read, or the files cannot be written.
pub fn rebuild(dir: &Path, signatures: &SignatureSet) -> Result<(), StoreError> {
    write_derived(dir, signatures, |records, words| store::rebuild(dir, records, words)).map(|_| ())
}

/// Reads a sweep and has its derived files written; where other processes publish meanwhile, it is read again.
fn write_derived(
    dir: &Path,
    signatures: &SignatureSet,
    write: impl Fn(&[Record], &str) -> Result<Rebuilt, StoreError>,
) -> Result<(Judged, Summary), StoreError> {
    let mut left = MOST_REBUILDS;
    loop {
        let judged = sweep(dir, signatures)?;
        let summary = judged.summary(signatures, CONFIDENCE);
        let words = text::report(std::slice::from_ref(&summary), Listed::NotPassed, Paint::Plain);
        left -= 1;
        if write(&judged.records, &words)? == Rebuilt::Current || left == 0 {
            return Ok((judged, summary));
        }
    }
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
