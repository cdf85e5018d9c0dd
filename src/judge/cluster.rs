//! Groups failures that no signature covers: the same error in the same place is one group, whatever its values.
//!
//! Follows Kubernetes' triage in replacing values, ids, addresses and times before comparing; unlike it nothing is
//! merged by distance, so that a group's id depends on its text alone and stays when runs are added.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::UNKNOWN;
use crate::judge::Outcome;
use crate::judge::pytest::nodeid;

/// Failures that are taken to be one bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Group {
    /// `U-` and eight hexadecimal digits of the digest of its text and place; the same in every sweep.
    pub id: String,
    /// The error with its values replaced.
    pub pattern: String,
    /// The first failure as it was printed.
    pub example: String,
    /// The test function it happens in, without parameter; empty where no test is named.
    pub place: String,
    /// Iterations it happened in, in order, each once.
    #[serde(rename = "runs")]
    pub iterations: Vec<u32>,
    /// Failures in the group; one iteration may have several.
    #[serde(skip)]
    pub failures: u64,
    /// Failures by test.
    #[serde(skip)]
    pub tests: BTreeMap<String, u64>,
}

/// Groups the unknown failures of iterations; the most frequent group comes first.
pub fn cluster<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<Group> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for outcome in outcomes {
        for evidence in outcome.evidence.iter().filter(|evidence| evidence.category == UNKNOWN) {
            let pattern = normalize(&evidence.text);
            let test = evidence.test.as_deref().unwrap_or("");
            let place = test.split('[').next().unwrap_or("").to_owned();
            let group = groups.entry((pattern.clone(), place.clone())).or_insert_with(|| Group {
                id: id(&pattern, &place),
                pattern,
                place,
                example: evidence.text.clone(),
                iterations: Vec::new(),
                failures: 0,
                tests: BTreeMap::new(),
            });
            group.failures += 1;
            if !test.is_empty() {
                *group.tests.entry(test.to_owned()).or_default() += 1;
            }
            if let Some(iteration) = outcome.iteration
                && let Err(at) = group.iterations.binary_search(&iteration)
            {
                group.iterations.insert(at, iteration);
            }
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (b.iterations.len(), b.failures)
            .cmp(&(a.iterations.len(), a.failures))
            .then_with(|| a.id.cmp(&b.id))
    });
    groups
}

impl Group {
    /// A signature file's text for this group, valid as it stands, to be given a name and advice.
    pub fn skeleton(&self, id: &str) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let name = nodeid::name(&self.place);
        let title = if name.is_empty() {
            "Unknown failure".to_owned()
        } else {
            format!("Failure of {name}")
        };
        let first = self.example.lines().next().unwrap_or("");
        format!(
            "[[signature]]\nid = {}\ntitle = {}\nscope = [\"failure\"]\nany = [{}]\nadvice = \"\"\nmatches = [{}]\nrejects = []\n",
            quoted(id),
            quoted(&title),
            quoted(&pattern(first)),
            quoted(&format!("E   {first}")),
        )
    }
}

fn id(pattern: &str, place: &str) -> String {
    let digest = Sha256::digest(format!("{pattern}\n{place}"));
    let digits = digest
        .iter()
        .take(4)
        .fold(0_u32, |digits, byte| digits << 8 | u32::from(*byte));
    format!("U-{digits:08x}")
}

/// Values, longest shapes first: the shape, the word that replaces it, and the pattern that matches its like.
const VALUES: [(&str, &str, &str); 10] = [
    (
        r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
        "UUID",
        r"[0-9a-fA-F-]{36}",
    ),
    (
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?",
        "TIME",
        r"\d{4}-\d\d-\d\d[T ][\d:.,Z+-]+",
    ),
    (r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", "TIME", r"\d\d:\d\d:\d\d[\d.,]*"),
    (r"\b0x[0-9a-fA-F]+\b", "ADDRESS", r"0x[0-9a-fA-F]+"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "IP", r"[\d.]+(?::\d+)?"),
    (r"(?:/tmp|/var/folders|/private)/[^\s'\x22,)\]]+", "PATH", r"/\S+"),
    (r"\bgw\d+\b", "WORKER", r"gw\d+"),
    (
        r"\b[0-9a-f]*\d[0-9a-f]*[a-f][0-9a-f]{6,}\b|\b[0-9a-f]*[a-f][0-9a-f]*\d[0-9a-f]{6,}\b",
        "ID",
        r"[0-9a-f]{8,}",
    ),
    (
        r"\b\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ms|us|ns|s|m|h|%|B|KB|MB|GB|KiB|MiB|GiB)?\b",
        "N",
        r"\d[\d.]*\w*",
    ),
    (r"\d+", "N", r"\d+"),
];

static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    VALUES
        .iter()
        .map(|(shape, _, _)| Regex::new(shape).expect("the pattern is valid"))
        .collect()
});

/// The text with everything replaced that differs between two occurrences of one error.
pub fn normalize(text: &str) -> String {
    let mut normal = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (shape, (_, word, _)) in SHAPES.iter().zip(VALUES) {
        normal = shape.replace_all(&normal, word).into_owned();
    }
    normal.chars().take(300).collect()
}

/// A pattern that matches a line and its like, with other values.
fn pattern(line: &str) -> String {
    let line: String = line.chars().take(200).collect();
    let mut pattern = String::from("^");
    let mut rest = line.as_str();
    'parts: while !rest.is_empty() {
        for (shape, (_, _, like)) in SHAPES.iter().zip(VALUES) {
            if let Some(found) = shape.find(rest)
                && found.start() == 0
                && !found.is_empty()
            {
                pattern.push_str(like);
                rest = &rest[found.end()..];
                continue 'parts;
            }
        }
        let end = rest.char_indices().skip(1).map(|(at, _)| at).find(|at| {
            let before = rest[..*at].chars().next_back().is_some_and(char::is_alphanumeric);
            rest[*at..].starts_with(|char: char| char.is_ascii_digit() || char == '/')
                || (!before && rest[*at..].starts_with(char::is_alphanumeric))
        });
        let (literal, after) = rest.split_at(end.unwrap_or(rest.len()));
        pattern.push_str(&regex::escape(literal));
        rest = after;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Evidence, OutcomeKind, SignatureSet};

    fn failed(iteration: u32, id: &str, text: &str) -> Outcome {
        let mut outcome = Outcome::new(OutcomeKind::Failed);
        outcome.iteration = Some(iteration);
        outcome.evidence.push(Evidence {
            category: UNKNOWN.to_owned(),
            file: "run.log".to_owned(),
            line: Some(1),
            text: text.to_owned(),
            test: Some(id.to_owned()),
            worker: None,
        });
        outcome
    }

    #[test]
    fn one_error_with_other_values_is_one_group() {
        let outcomes = [
            failed(
                7,
                "a.py::test_x[nats]",
                "ConnectionError: 127.0.0.1:4222 refused after 1.5s, id 9f8e7d6c5b4a",
            ),
            failed(
                3,
                "a.py::test_x[tcp]",
                "ConnectionError: 10.0.0.7:40000 refused after 12s, id 1a2b3c4d5e6f",
            ),
            failed(
                3,
                "a.py::test_y",
                "ConnectionError: 10.0.0.7:40000 refused after 12s, id 1a2b3c4d5e6f",
            ),
        ];
        let groups = cluster(&outcomes);
        assert_eq!(groups.len(), 2);
        assert_eq!(
            (groups[0].iterations.as_slice(), groups[0].failures),
            ([3, 7].as_slice(), 2)
        );
        assert_eq!(groups[0].pattern, "ConnectionError: IP refused after N, id ID");
    }

    #[test]
    fn ids_stay_when_runs_are_added() {
        let one = failed(1, "a.py::test_x", "KeyError: 'worker 3'");
        let other = failed(2, "a.py::test_x", "ValueError: 17");
        let alone = cluster([&one]);
        let together = cluster([&other, &one, &other]);
        assert!(together.iter().any(|group| group.id == alone[0].id));
    }

    #[test]
    fn a_skeleton_is_a_signature_that_matches_its_example_and_its_like() {
        for (text, like) in [
            ("KeyError: 'worker 3'", "KeyError: 'worker 44'"),
            ("assert [1, 2] == [1, 3]", "assert [7, 2] == [1, 30]"),
            (
                "OSError: cannot read /tmp/pytest-1/x.txt at 0x7f00aa",
                "OSError: cannot read /tmp/y at 0x1",
            ),
            (
                "TimeoutError: \"no\\answer\" from 127.0.0.1:80 (2024-01-01T00:00:00Z)",
                "TimeoutError: \"no\\answer\" from 10.1.1.1:9 (2025-02-03T04:05:06Z)",
            ),
        ] {
            let group = &cluster([&failed(1, "a.py::test_x[1]", text)])[0];
            let toml = group.skeleton("X1");
            let set = SignatureSet::parse(&[("x.toml".to_owned(), toml.clone())]).expect(&toml);
            assert!(set.failing_examples().is_empty(), "{toml}");
            assert!(set.example_matches(0, &format!("E   {like}")), "{toml}");
        }
    }
}
