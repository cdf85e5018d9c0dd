//! Names of tests as far as a reader needs them.

use std::collections::{BTreeMap, BTreeSet};

use super::summary::Summary;

/// Short names for tests: without their file where that is clear within one report.
#[derive(Clone, Debug, Default)]
pub struct TestNames {
    ambiguous: BTreeSet<String>,
}

impl TestNames {
    /// Names for the failing tests of a sweep.
    pub fn of(summary: &Summary) -> TestNames {
        let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for test in &summary.tests {
            let (file, name) = split(&test.nodeid);
            files.entry(name).or_default().insert(file);
        }
        TestNames {
            ambiguous: files
                .into_iter()
                .filter(|(_, files)| files.len() > 1)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }

    /// The name of one test.
    pub fn short<'a>(&self, nodeid: &'a str) -> &'a str {
        let (_, name) = split(nodeid);
        if self.ambiguous.contains(name) { nodeid } else { name }
    }
}

/// File and name of a test; of what is no test, such as a file that could not be collected, the name is all.
pub fn split(nodeid: &str) -> (&str, &str) {
    nodeid.split_once("::").unwrap_or(("", nodeid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tests_are_short_unless_two_files_have_one() {
        let mut names = TestNames::default();
        assert_eq!(names.short("tests/a.py::TestX::test_y[a::b]"), "TestX::test_y[a::b]");
        assert_eq!(names.short("tests/broken.py"), "tests/broken.py");
        names.ambiguous.insert("test_y".to_owned());
        assert_eq!(names.short("tests/a.py::test_y"), "tests/a.py::test_y");
    }
}
