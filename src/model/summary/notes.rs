//! What a reader must know before believing the figures, a sentence each.

use super::super::drift::Drift;
use super::super::durations::Durations;
use super::super::side::iterations;
use super::super::{Record, Spec, Verdict};
use super::{Source, ranges};

/// The notes of a sweep: what is missing, what does not count, which facts lied, whether the rate is one.
pub(super) fn notes(source: &Source<'_>, missing: &[u32], drift: &Drift, durations: &Durations) -> Vec<String> {
    let mut notes = Vec::new();
    let numbers = |is: &dyn Fn(&Record) -> bool| -> Vec<u32> {
        source
            .records
            .iter()
            .filter(|record| is(record))
            .map(|record| record.iteration)
            .collect()
    };
    let mut listed = |numbers: &[u32], words: &str| {
        if !numbers.is_empty() {
            notes.push(format!(
                "{} {words}: {}",
                iterations(numbers.len() as u64),
                ranges(numbers)
            ));
        }
    };
    if source.running == 0 {
        listed(missing, "missing");
    }
    let errored = numbers(&|record| record.outcome.verdict == Verdict::Errored);
    listed(&errored, "errored, outside the rate");
    let code = |record: &Record| record.exit.as_ref().and_then(|exit| exit.code);
    let lied = numbers(&|record| record.outcome.verdict == Verdict::Failed && code(record) == Some(0));
    listed(&lied, "failed with exit code 0");
    let excused =
        numbers(&|record| record.outcome.verdict == Verdict::Passed && code(record).is_some_and(|code| code != 0));
    listed(&excused, "passed although the exit code was not 0");
    if source.running > 0 {
        notes.push(format!(
            "still running, {} in flight: figures of this moment",
            iterations(source.running)
        ));
    }
    if let Some(rule) = source.spec.and_then(Spec::stop_rule) {
        notes.push(format!(
            "ended by its stop rule `{rule}`: intervals are those that may be watched"
        ));
    }
    if let Some(spec) = source.spec {
        notes.extend(
            spec.container
                .holes()
                .into_iter()
                .map(|hole| format!("not isolated: {hole}")),
        );
    }
    notes.extend(drift.sentences());
    notes.extend(durations.notes());
    notes.extend(source.problems.iter().cloned());
    for record in source.records {
        notes.extend(
            record
                .problem
                .iter()
                .map(|problem| format!("iteration {}: {problem}", record.iteration)),
        );
    }
    notes
}
