//! Takes secrets out of the values that a report shows.

use std::collections::BTreeMap;

use super::{Found, Redactor};
use crate::judge::{Evidence, Record};
use crate::report::summary::{Run, Summary};
use crate::spec::Spec;

impl Redactor {
    /// Takes the secrets out of a summary; names that were equal stay equal.
    pub fn summary(&self, summary: &mut Summary, found: &mut Found) {
        self.clean(&mut summary.sweep, found);
        self.all(&mut summary.notes, found);
        for category in &mut summary.categories {
            let tests = std::mem::take(&mut category.tests);
            let mut clean: BTreeMap<String, u64> = BTreeMap::new();
            for (test, n) in tests {
                *clean.entry(self.text(&test, found).into_owned()).or_default() += n;
            }
            category.tests = clean;
        }
        for test in summary.tests.iter_mut().chain(&mut summary.test_groups) {
            self.clean(&mut test.nodeid, found);
        }
        for group in &mut summary.unknown {
            for text in [&mut group.pattern, &mut group.example, &mut group.place] {
                self.clean(text, found);
            }
        }
        let runs = summary.not_passed.iter_mut().chain(&mut summary.replaced);
        for run in runs.chain(&mut summary.passed) {
            self.run(run, found);
        }
    }

    fn run(&self, run: &mut Run, found: &mut Found) {
        self.clean(&mut run.dir, found);
        self.all(&mut run.failing_tests, found);
        self.all(&mut run.notes, found);
        self.evidence(&mut run.evidence, found);
    }

    fn evidence(&self, lines: &mut [Evidence], found: &mut Found) {
        for evidence in lines {
            self.clean(&mut evidence.file, found);
            self.clean(&mut evidence.text, found);
            if let Some(test) = &mut evidence.test {
                self.clean(test, found);
            }
        }
    }

    /// Takes the secrets out of the record of a run.
    pub fn record(&self, record: &mut Record, found: &mut Found) {
        if let Some(exit) = &mut record.exit {
            self.all(&mut exit.argv, found);
            if let Some(error) = &mut exit.error {
                self.clean(error, found);
            }
        }
        // The judgement is in the summary too, and counted there.
        let found = &mut Found::default();
        self.all(&mut record.outcome.failing_tests, found);
        self.all(&mut record.outcome.reran, found);
        self.all(&mut record.outcome.notes, found);
        self.evidence(&mut record.outcome.evidence, found);
    }

    /// Takes the secrets out of a sweep's specification; of its variables only the names stay.
    pub fn spec(&self, spec: &mut Spec, found: &mut Found) {
        self.all(&mut spec.pytest_args, found);
        self.all(&mut spec.container.volumes, found);
        for variable in &mut spec.env {
            variable.value = None;
        }
    }

    fn all(&self, texts: &mut [String], found: &mut Found) {
        for text in texts {
            self.clean(text, found);
        }
    }
}
