//! The answers of a sweep, and what their number depends on.

use std::collections::BTreeMap;
use std::path::Path;

use super::digits::counted;
use super::{Count, Method, Rate};
use crate::judge::{Record, Verdict};
use crate::spec::Spec;

/// A sweep as the statistics see it. Every answer that was given is in every rate, also one that `--retry` replaced:
/// who is asked again depends on what was answered, and asking until the answer is right makes any rate.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The sweep's directory, as the user would type it.
    pub dir: &'a Path,
    /// `None` in trees of the script.
    pub spec: Option<&'a Spec>,
    /// The answer of each iteration that stands, in order.
    pub records: &'a [Record],
    /// The answers that others replaced.
    pub replaced: &'a [Record],
}

impl<'a> Answers<'a> {
    pub fn name(self) -> String {
        self.dir.display().to_string()
    }

    pub fn all(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.records.iter().chain(self.replaced)
    }

    /// The answers that say something about the tests.
    pub fn answered(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.all().filter(|record| record.outcome.verdict != Verdict::Errored)
    }

    /// The answer that each iteration gave first: what a block of interleaved arms showed before anybody asked again.
    pub fn first(self) -> Vec<Record> {
        let mut first: BTreeMap<u32, &Record> = BTreeMap::new();
        let told = |record: &&Record| record.outcome.verdict != Verdict::Errored;
        for record in self.records.iter().chain(self.replaced.iter().rev().filter(told)) {
            first.insert(record.iteration, record);
        }
        first.into_values().cloned().collect()
    }

    /// Failed of passed or failed.
    pub fn count(self) -> Count {
        let n_with = |verdict| n_with(self.all(), verdict);
        let failed = n_with(Verdict::Failed);
        Count::new(failed, failed + n_with(Verdict::Passed)).unwrap_or_default()
    }

    /// The interval that the sweep's course allows, the same for every rate of the sweep.
    pub fn method(self) -> Method {
        if self.is_asked_again() || self.spec.is_some_and(|spec| spec.stop_rule().is_some()) {
            Method::ConfidenceSequence
        } else {
            Method::Wilson
        }
    }

    pub fn rate(self, confidence: f64) -> Rate {
        Rate::new(self.count(), confidence, self.method())
    }

    /// Why the number of answers depends on what they were, one reason each; none where the number was fixed
    /// beforehand.
    pub fn reasons(self) -> Vec<String> {
        let rule = self.spec.and_then(Spec::stop_rule);
        let mut reasons: Vec<String> = rule
            .iter()
            .map(|rule| match rule.strip_prefix("prove-below ") {
                Some(limit) => format!("ended by its stop rule `{rule}`, which shows a rate below {limit}"),
                None => format!("ended by its stop rule `{rule}`"),
            })
            .collect();
        if self.is_asked_again() {
            reasons.extend(self.replaced());
        }
        reasons
    }

    /// How many answers `--retry` replaced, in words; `None` where it replaced none.
    pub fn replaced(self) -> Option<String> {
        let kinds = [
            (Verdict::Failed, "failed"),
            (Verdict::Passed, "passed"),
            (Verdict::Errored, "errored"),
        ];
        let kinds: Vec<String> = kinds
            .into_iter()
            .map(|(verdict, word)| (n_with(self.replaced.iter(), verdict), word))
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{n} {word}"))
            .collect();
        let answers = counted(self.replaced.len() as u64, "answer was", "answers were");
        let counts = if self.is_asked_again() {
            ", and every answer counts"
        } else {
            ""
        };
        (!kinds.is_empty()).then(|| format!("{answers} replaced by --retry ({}){counts}", kinds.join(", ")))
    }

    /// Whether `--retry` had an answer given once more: the sweep was selected by what it showed.
    pub fn is_asked_again(self) -> bool {
        self.replaced
            .iter()
            .any(|record| record.outcome.verdict != Verdict::Errored)
    }
}

pub(crate) fn n_with<'a>(records: impl Iterator<Item = &'a Record>, verdict: Verdict) -> u64 {
    records.filter(|record| record.outcome.verdict == verdict).count() as u64
}
