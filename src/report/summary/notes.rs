//! What a reader must know before believing the figures, a sentence each.

use super::numbers::spans;
use super::{Gaps, Source, ranges};
use crate::judge::{Record, Verdict};
use crate::spec::Perturbation;
use crate::stats::drift::Drift;
use crate::stats::durations::Durations;
use crate::stats::iterations;
use crate::stats::starvation::Starved;

/// The notes of a sweep: what is missing, what does not count, which facts lied, whether the rate is one.
pub(super) fn notes(source: &Source<'_>, gaps: &Gaps, drift: &Drift, durations: &Durations) -> Vec<String> {
    let answers = source.answers;
    let mut notes = Vec::new();
    if source.running == 0 && gaps.n > 0 {
        notes.push(format!("{} missing: {}", iterations(gaps.n), spans(&gaps.stretches)));
    }
    let mut listed = |words: &str, is: &dyn Fn(&Record) -> bool| {
        let records = answers.records.iter().filter(|record| is(record));
        let numbers: Vec<u32> = records.map(|record| record.iteration).collect();
        if !numbers.is_empty() {
            notes.push(format!(
                "{} {words}: {}",
                iterations(numbers.len() as u64),
                ranges(numbers)
            ));
        }
    };
    let has = |record: &Record, verdict| record.outcome.verdict == verdict;
    let code = |record: &Record| record.exit.as_ref().and_then(|exit| exit.code);
    listed("errored, outside the rate", &|record| has(record, Verdict::Errored));
    listed("failed with exit code 0", &|record| {
        has(record, Verdict::Failed) && code(record) == Some(0)
    });
    listed("passed although the exit code was not 0", &|record| {
        has(record, Verdict::Passed) && code(record).is_some_and(|code| code != 0)
    });
    if source.running > 0 {
        notes.push(format!(
            "still running, {} in flight: figures of this moment",
            iterations(source.running)
        ));
    }
    let reasons = answers.reasons();
    // Replaced answers that said nothing change no interval, and are told all the same.
    notes.extend(answers.replaced().filter(|replaced| !reasons.contains(replaced)));
    let watched = |reason| format!("{reason}: intervals are those that may be watched");
    notes.extend(reasons.iter().map(watched));
    if let Some(spec) = answers.spec {
        let holes = spec.container.holes().into_iter();
        notes.extend(holes.map(|hole| format!("not isolated: {hole}")));
    }
    notes.extend(drift.sentences());
    notes.extend(durations.notes());
    if answers.spec.is_some_and(|spec| spec.is_under(Perturbation::Starve)) && answers.count().failed() > 0 {
        let own = "threads and processes were stopped: a class of failure that a sweep without never shows may be the stops' own";
        notes.push(own.to_owned());
    }
    notes.extend(source.starved.iter().map(Starved::sentence));
    notes.extend(source.problems.iter().cloned());
    for record in answers.all() {
        let problem = record.problem.iter();
        notes.extend(problem.map(|problem| format!("iteration {}: {problem}", record.iteration)));
    }
    notes
}
