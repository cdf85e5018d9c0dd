//! Which iteration of which sweep goes where, when sweeps of one thing become one.

use std::collections::{BTreeMap, BTreeSet};

/// What tells one run from all others: what it says of itself; `None` where it says nothing.
pub type Identity = Option<Vec<u8>>;

/// An iteration to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Number of the source, from 0.
    pub source: usize,
    /// Its number there.
    pub from: u32,
    /// Its number in the target.
    pub to: u32,
}

/// What a merge comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergePlan {
    /// What is to be copied, in the order of sources and numbers.
    pub moves: Vec<Move>,
    /// Iterations that the target, or a source before, has already: the same run, not only the same number.
    pub already: usize,
    /// Iterations whose number another run has: source and number.
    pub taken: Vec<(usize, u32)>,
}

/// Plans a merge. With `renumber`, an iteration whose number is taken gets the first one after all others.
#[must_use]
pub fn plan(target: &BTreeMap<u32, Identity>, sources: &[BTreeMap<u32, Identity>], renumber: bool) -> MergePlan {
    let mut plan = MergePlan::default();
    let mut used: BTreeSet<u32> = target.keys().copied().collect();
    let mut known: BTreeSet<&Vec<u8>> = target.values().flatten().collect();
    // Numbers that sources bring along stay theirs as long as nobody has them.
    let highest = sources.iter().flat_map(BTreeMap::keys).chain(target.keys()).max();
    let mut next = highest.copied().unwrap_or(0) + 1;
    for (source, runs) in sources.iter().enumerate() {
        for (from, identity) in runs {
            if identity.as_ref().is_some_and(|identity| known.contains(identity)) {
                plan.already += 1;
                continue;
            }
            let to = if used.insert(*from) {
                *from
            } else if renumber {
                next += 1;
                used.insert(next - 1);
                next - 1
            } else {
                plan.taken.push((source, *from));
                continue;
            };
            known.extend(identity);
            plan.moves.push(Move {
                source,
                from: *from,
                to,
            });
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(runs: &[(u32, &str)]) -> BTreeMap<u32, Identity> {
        let runs = runs
            .iter()
            .map(|(number, identity)| (*number, Some(identity.as_bytes().to_vec())));
        runs.collect()
    }

    fn moves(plan: &MergePlan) -> Vec<(usize, u32, u32)> {
        plan.moves.iter().map(|one| (one.source, one.from, one.to)).collect()
    }

    #[test]
    fn shards_with_numbers_of_their_own_keep_them() {
        let plan = plan(&runs(&[]), &[runs(&[(1, "a"), (2, "b")]), runs(&[(3, "c")])], false);
        assert_eq!(moves(&plan), [(0, 1, 1), (0, 2, 2), (1, 3, 3)]);
        assert_eq!((plan.already, plan.taken.len()), (0, 0));
    }

    #[test]
    fn a_number_that_is_taken_is_told_or_becomes_another() {
        let (target, sources) = (runs(&[(1, "a")]), [runs(&[(1, "b"), (2, "c")]), runs(&[(2, "d")])]);
        assert_eq!(plan(&target, &sources, false).taken, [(0, 1), (1, 2)]);
        assert_eq!(moves(&plan(&target, &sources, true)), [(0, 1, 3), (0, 2, 2), (1, 2, 4)]);
    }

    #[test]
    fn merging_again_adds_nothing() {
        let sources = [runs(&[(1, "b"), (2, "c")])];
        let merged = runs(&[(1, "a"), (2, "c"), (3, "b")]);
        let again = plan(&merged, &sources, true);
        assert_eq!((again.moves.len(), again.already), (0, 2));
        let one = sources[0].clone();
        assert_eq!(plan(&runs(&[]), &[one.clone(), one], true).already, 2);
    }

    #[test]
    fn runs_that_say_nothing_of_themselves_are_never_taken_for_the_same() {
        let unknown = BTreeMap::from([(1, None)]);
        assert_eq!(plan(&unknown, std::slice::from_ref(&unknown), true).moves.len(), 1);
    }
}
