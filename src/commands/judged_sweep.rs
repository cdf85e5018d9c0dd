//! Sweeps with a judgement for every iteration: the stored one, or one made now where none is stored or it cannot be read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::starvation;
use crate::backend;
use crate::judge::pytest::trail;
use crate::judge::{self, Outcome, OutcomeKind, Record, RunFiles as _, SignatureSet, Verdict, cluster};
use crate::report::paint::Paint;
use crate::report::summary::{Class, Source, Summary};
use crate::report::tables::Listed;
use crate::report::text::{self, Chart};
use crate::run::{self, Reached, Rebuilt, ScannedRun, StoreError, Sweep};
use crate::spec::Spec;
use crate::stats::Answers;
use crate::stats::blame::Blame;
use crate::stats::durations::Spread;
use crate::stats::test_rate::{TestRates, TestTally};

/// Confidence of the intervals where nobody chose one.
pub const CONFIDENCE: f64 = 0.95;

/// How often the derived files are made again when other processes publish meanwhile.
const MOST_REBUILDS: usize = 10;

/// A sweep as it stands on disk, judged.
#[derive(Clone, Debug)]
pub struct JudgedSweep {
    /// The sweep's directory, as given.
    pub dir: PathBuf,
    /// What the sweep runs; `None` in trees of the script.
    pub spec: Option<Spec>,
    /// The answer of each iteration, in order.
    pub records: Vec<Record>,
    /// Answers that `--retry` replaced.
    pub replaced: Vec<Record>,
    /// What of the sweep could not be read; a record names its own problems.
    pub problems: Vec<String>,
    /// The tests that each of the records' runs began, as far as they were read with the runs.
    reached: Vec<Reached>,
}

impl JudgedSweep {
    /// Reads a sweep; every iteration with an answer has a judgement.
    pub fn read(dir: &Path, signatures: &SignatureSet) -> Result<JudgedSweep, StoreError> {
        let mut scan = run::scan_known(dir, backend::cache().as_deref())?;
        let reached = scan.runs.iter_mut().map(|run| std::mem::take(&mut run.reached));
        Ok(JudgedSweep {
            reached: reached.collect(),
            dir: scan.dir,
            spec: scan.spec,
            records: scan.runs.into_par_iter().map(|run| record(run, signatures)).collect(),
            replaced: scan
                .replaced
                .into_par_iter()
                .map(|run| record(run, signatures))
                .collect(),
            problems: scan.problems,
        })
    }

    /// Reads some iterations of a sweep, with the answers that others replaced.
    pub fn read_some(
        dir: &Path,
        iterations: &BTreeSet<u32>,
        signatures: &SignatureSet,
    ) -> Result<JudgedSweep, StoreError> {
        let scan = run::scan(dir)?;
        let wanted = scan
            .runs
            .into_par_iter()
            .filter(|run| iterations.contains(&run.iteration));
        Ok(JudgedSweep {
            reached: Vec::new(),
            dir: scan.dir,
            spec: scan.spec,
            records: wanted.map(|run| record(run, signatures)).collect(),
            replaced: (scan.replaced.into_par_iter())
                .filter(|run| iterations.contains(&run.iteration))
                .map(|run| record(run, signatures))
                .collect(),
            problems: scan.problems,
        })
    }

    /// The sweep in figures; reads which tests each iteration reached.
    pub fn summary(&self, signatures: &SignatureSet, confidence: f64) -> Summary {
        let classes = signatures.iter().map(|signature| Class {
            id: signature.id.clone(),
            title: signature.title.clone(),
            advice: signature.advice.clone(),
        });
        let answers = self.answers();
        let failed = answers.all().filter(|record| record.outcome.verdict == Verdict::Failed);
        Summary::of(&Source {
            answers,
            tests: &self.test_rates(confidence),
            classes: &classes.collect::<Vec<_>>(),
            unknown: &cluster::cluster(failed.map(|record| &record.outcome)),
            running: run::in_flight(&self.dir).map_or(0, |running| running.len() as u64),
            starved: &starvation::of(answers),
            problems: &self.problems,
            confidence,
        })
    }

    /// The answers as statistics take them.
    pub fn answers(&self) -> Answers<'_> {
        Answers {
            dir: &self.dir,
            spec: self.spec.as_ref(),
            records: &self.records,
            replaced: &self.replaced,
        }
    }

    /// Median of the seconds that an answered run took.
    pub fn usual_s(&self) -> Option<f64> {
        let durations = self
            .answers()
            .answered()
            .filter_map(|record| record.exit.as_ref()?.duration_s);
        Spread::of(durations.collect()).map(|spread| spread.median)
    }

    /// Whether the sweep, or any run of it, came in with a bundle.
    pub fn is_imported(&self) -> bool {
        let nothing = Spec::default();
        let spec = self.spec.as_ref().unwrap_or(&nothing);
        let mut runs = self.records.iter();
        spec.imported_at.is_some() || runs.any(|record| run::is_imported(&record.dir, spec))
    }

    /// How often each test failed; reads which tests each iteration reached.
    pub fn test_rates(&self, confidence: f64) -> TestRates {
        self.tally().rates(confidence, self.answers().method())
    }

    /// Counts the tests of the sweep. Errored iterations say nothing about them.
    fn tally(&self) -> TestTally {
        let known = self.reached.iter().chain(std::iter::repeat(&Reached::Unread));
        let standing = self.records.iter().zip(known);
        let replaced = self.replaced.iter().map(|record| (record, &Reached::Unread));
        let counted: Vec<(&Record, &Reached)> = standing
            .chain(replaced)
            .filter(|(record, _)| record.outcome.verdict != Verdict::Errored)
            .collect();
        let reached: Vec<Cow<'_, Reached>> = counted
            .par_iter()
            .map(|(record, known)| match known {
                Reached::Unread => Cow::Owned(started(record)),
                Reached::NoTrail | Reached::Tests(_) => Cow::Borrowed(*known),
            })
            .collect();
        let mut tally = TestTally::default();
        for ((record, _), reached) in counted.iter().zip(&reached) {
            let started = match &**reached {
                Reached::Tests(names) => Some(names.iter().map(String::as_str)),
                Reached::NoTrail | Reached::Unread => None,
            };
            let failed = match record.outcome.verdict {
                Verdict::Failed => Blame::of(&record.outcome),
                Verdict::Passed | Verdict::Errored => Blame::default(),
            };
            tally.add(started, &failed);
        }
        tally
    }
}

/// Brings the derived files of an open sweep up to date, and returns the sweep with its summary.
pub fn conclude(open: &Sweep, signatures: &SignatureSet) -> Result<(JudgedSweep, Summary), StoreError> {
    write_derived(open.shown(), signatures, |records, words| open.rebuild(records, words))
}

/// Brings the derived files of any sweep's directory up to date, the old script's included.
pub fn rebuild(dir: &Path, signatures: &SignatureSet) -> Result<(), StoreError> {
    write_derived(dir, signatures, |records, words| run::rebuild(dir, records, words)).map(|_| ())
}

/// Reads a sweep and has its derived files written; where other processes publish meanwhile, it is read again.
fn write_derived(
    dir: &Path,
    signatures: &SignatureSet,
    write: impl Fn(&[Record], &str) -> Result<Rebuilt, StoreError>,
) -> Result<(JudgedSweep, Summary), StoreError> {
    let mut left = MOST_REBUILDS;
    loop {
        let judged = JudgedSweep::read(dir, signatures)?;
        let summary = judged.summary(signatures, CONFIDENCE);
        let words = text::report(
            std::slice::from_ref(&summary),
            Listed::NotPassed,
            Paint::Plain,
            Chart::Unicode,
        );
        left -= 1;
        if write(&judged.records, &words)? == Rebuilt::Current || left == 0 {
            return Ok((judged, summary));
        }
    }
}

fn record(mut run: ScannedRun, signatures: &SignatureSet) -> Record {
    let outcome = run.outcome.take().unwrap_or_else(|| {
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
    let files = run::run_files(&run.dir).map_err(|error| error.to_string());
    let outcome = files.and_then(|files| {
        judge::judge(&files, run.exit.as_ref(), signatures).map_err(|cause| format!("failed to read the log: {cause}"))
    });
    outcome.unwrap_or_else(|problem| {
        // A run that cannot be read says nothing about the tests.
        let mut outcome = Outcome::new(OutcomeKind::Infra);
        outcome.notes.push(problem);
        outcome
    })
}

/// The tests that an iteration started.
fn started(record: &Record) -> Reached {
    let read = || -> Option<BTreeSet<String>> {
        let files = run::run_files(&record.dir).ok()?;
        trail::started(files.trail().ok()??).ok()?
    };
    read().map_or(Reached::NoTrail, |names| Reached::Tests(Arc::new(names)))
}
