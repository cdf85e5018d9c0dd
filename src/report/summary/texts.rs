//! Every text of a summary that a test, a log or a bundle may have written.

use std::collections::BTreeMap;

use super::{Run, Summary};
use crate::report::shown::shown;

impl Summary {
    /// Summaries as a renderer may show them: each text on one line, without anything that acts on a reader.
    pub fn shown(summaries: &[Summary]) -> Vec<Summary> {
        let mut summaries = summaries.to_vec();
        for summary in &mut summaries {
            summary.change_texts(&mut |text| {
                if let std::borrow::Cow::Owned(line) = shown(text) {
                    *text = line;
                }
            });
        }
        summaries
    }

    /// Changes every text; tests of a category that then have one name are counted together.
    pub fn change_texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(&mut self.sweep);
        self.mode.iter_mut().chain(&mut self.tag).for_each(&mut *change);
        self.notes.iter_mut().for_each(&mut *change);
        for category in &mut self.categories {
            for text in [&mut category.id, &mut category.title, &mut category.advice] {
                change(text);
            }
            let mut tests = BTreeMap::new();
            for (mut test, n) in std::mem::take(&mut category.tests) {
                change(&mut test);
                *tests.entry(test).or_default() += n;
            }
            category.tests = tests;
        }
        for test in self.tests.iter_mut().chain(&mut self.test_groups) {
            change(&mut test.nodeid);
            test.categories.iter_mut().for_each(&mut *change);
        }
        self.reran.iter_mut().for_each(|test| change(&mut test.nodeid));
        for group in &mut self.unknown {
            for text in [&mut group.id, &mut group.pattern, &mut group.example, &mut group.place] {
                change(text);
            }
        }
        self.nodes.iter_mut().for_each(|node| change(&mut node.node));
        for starved in &mut self.starved {
            starved.test.iter_mut().for_each(&mut *change);
            starved
                .suspects
                .iter_mut()
                .for_each(|suspect| change(&mut suspect.name));
        }
        let runs = self.not_passed.iter_mut().chain(&mut self.replaced);
        for run in runs.chain(&mut self.passed) {
            run.change_texts(change);
        }
        if let Some(conditions) = &mut self.conditions {
            change(&mut conditions.image);
            let words = conditions.image_id.iter_mut().chain(&mut conditions.pytest_args);
            words.for_each(&mut *change);
            let cpus = conditions.load.iter_mut().filter_map(|limits| limits.cpuset.as_mut());
            cpus.for_each(change);
        }
    }
}

impl Run {
    fn change_texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(&mut self.dir);
        let lists = [&mut self.categories, &mut self.failing_tests, &mut self.notes];
        lists.into_iter().flatten().for_each(&mut *change);
        for evidence in &mut self.evidence {
            for text in [&mut evidence.category, &mut evidence.file, &mut evidence.text] {
                change(text);
            }
            evidence
                .test
                .iter_mut()
                .chain(&mut evidence.worker)
                .for_each(&mut *change);
        }
    }
}
