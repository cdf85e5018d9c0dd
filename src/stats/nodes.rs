//! Iterations by the machine they ran on: flakes depend on it, and a bad machine looks like a bad test.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Answers, Count, Rate, fisher, holm, regime};
use crate::judge::Verdict;

/// The iterations of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// Failed of passed or failed.
    #[serde(flatten)]
    pub rate: Rate,
    /// Iterations that say nothing about the tests.
    pub errored: u64,
    /// Fisher's exact test against all others together, two-sided, after Holm over the machines.
    pub p_adjusted: f64,
    /// Whether it differs from the others by more than chance.
    pub stands_out: bool,
}

/// The machines of a sweep by name; none where all iterations ran on one, or nothing says where.
pub fn nodes(answers: Answers<'_>, confidence: f64) -> Vec<Node> {
    let mut tallies: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for record in answers.all() {
        let Some(node) = record.exit.as_ref().and_then(|exit| exit.node.as_deref()) else {
            continue;
        };
        let tally = tallies.entry(node).or_default();
        match record.outcome.verdict {
            Verdict::Passed => tally.1 += 1,
            Verdict::Failed => (tally.0, tally.1) = (tally.0 + 1, tally.1 + 1),
            Verdict::Errored => tally.2 += 1,
        }
    }
    if tallies.len() < 2 {
        return Vec::new();
    }
    let (failed, of) = tallies
        .values()
        .fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1));
    let counts: Vec<(Count, Count)> = tallies
        .values()
        .map(|tally| {
            let own = Count::new(tally.0, tally.1).unwrap_or_default();
            (own, Count::new(failed - tally.0, of - tally.1).unwrap_or_default())
        })
        .collect();
    let p_values: Vec<f64> = counts.iter().map(|(own, rest)| fisher(*rest, *own).two_sided).collect();
    tallies
        .iter()
        .zip(counts)
        .zip(holm(&p_values))
        .map(|(((node, tally), (count, _)), p_adjusted)| Node {
            node: (*node).to_owned(),
            rate: Rate::new(count, confidence, answers.method()),
            errored: tally.2,
            p_adjusted,
            stands_out: p_adjusted < regime::LEVEL,
        })
        .collect()
}

pub fn standing_out(nodes: &[Node]) -> Vec<String> {
    let total = nodes.iter().fold((0, 0), |sum, node| {
        (sum.0 + node.rate.count.failed(), sum.1 + node.rate.count.of())
    });
    nodes
        .iter()
        .filter(|node| node.stands_out)
        .map(|node| {
            let (failed, of) = (total.0 - node.rate.count.failed(), total.1 - node.rate.count.of());
            format!(
                "node {} stands out: {} failed, {failed}/{of} elsewhere (p = {:.0e} over {} nodes)",
                node.node,
                node.rate.count,
                node.p_adjusted,
                nodes.len()
            )
        })
        .collect()
}

/// One machine, or one that only one of two sweeps used, in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NodePair {
    /// Its name.
    pub node: String,
    /// Before.
    pub base: Count,
    /// Now.
    pub new: Count,
}

/// The machines of two sweeps side by side; none where neither used more than one.
pub fn pairs(base: &[Node], new: &[Node]) -> Vec<NodePair> {
    let mut pairs: BTreeMap<&str, (Count, Count)> = BTreeMap::new();
    for node in base {
        pairs.entry(&node.node).or_default().0 = node.rate.count;
    }
    for node in new {
        pairs.entry(&node.node).or_default().1 = node.rate.count;
    }
    pairs
        .into_iter()
        .map(|(node, (base, new))| NodePair {
            node: node.to_owned(),
            base,
            new,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Exit, Outcome, OutcomeKind, Record};

    fn nodes_of(records: &[Record]) -> Vec<Node> {
        let answers = Answers {
            dir: std::path::Path::new("logs/n4"),
            spec: None,
            records,
            replaced: &[],
        };
        nodes(answers, 0.95)
    }

    /// Iterations on nodes: name, failed, passed, errored.
    fn records(nodes: &[(&str, u32, u32, u32)]) -> Vec<Record> {
        let mut records = Vec::new();
        for (node, failed, passed, errored) in nodes {
            let kinds = [
                (OutcomeKind::Failed, *failed),
                (OutcomeKind::Passed, *passed),
                (OutcomeKind::NoResult, *errored),
            ];
            for (kind, n) in kinds {
                for _ in 0..n {
                    records.push(Record {
                        iteration: u32::try_from(records.len()).unwrap() + 1,
                        dir: std::path::PathBuf::new(),
                        exit: Some(Exit {
                            node: Some((*node).to_owned()),
                            ..Exit::default()
                        }),
                        outcome: Outcome::new(kind),
                        problem: None,
                    });
                }
            }
        }
        records
    }

    #[test]
    fn a_bad_node_stands_out_and_errored_iterations_are_in_no_count() {
        let found = nodes_of(&records(&[("n1", 9, 1, 0), ("n2", 0, 20, 2), ("n3", 1, 19, 0)]));
        let counts: Vec<String> = found.iter().map(|node| node.rate.count.to_string()).collect();
        assert_eq!(counts, ["9/10", "0/20", "1/20"]);
        assert_eq!(found[1].errored, 2);
        assert!(found[0].stands_out && !found[2].stands_out);
        // Of C(50, 10) = 10272278170 ways 401 have nine or ten of the ten failures on n1: p = 3.9037e-8, times three.
        assert!(
            (found[0].p_adjusted / 1.171_1e-7 - 1.0).abs() < 0.01,
            "{}",
            found[0].p_adjusted
        );
        assert!(standing_out(&found)[0].starts_with("node n1 stands out: 9/10 failed, 1/40 elsewhere (p = 1e-7"));
    }

    #[test]
    fn a_node_of_its_own_is_no_group() {
        assert_eq!(nodes_of(&records(&[("n1", 9, 1, 0)])), []);
        let alike = nodes_of(&records(&[("n1", 2, 8, 0), ("n2", 3, 7, 0)]));
        assert_eq!(standing_out(&alike), Vec::<String>::new());
    }

    #[test]
    fn pairs_name_every_node_of_either_sweep() {
        let base = nodes_of(&records(&[("n1", 1, 9, 0), ("n2", 0, 5, 0)]));
        let new = nodes_of(&records(&[("n2", 2, 3, 0), ("n3", 0, 5, 0)]));
        let pairs = pairs(&base, &new);
        let shown: Vec<String> = pairs
            .iter()
            .map(|pair| format!("{} {} {}", pair.node, pair.base, pair.new))
            .collect();
        assert_eq!(shown, ["n1 1/10 0/0", "n2 0/5 2/5", "n3 0/0 0/5"]);
    }
}
