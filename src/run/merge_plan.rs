//! Which iteration of which sweep goes where, when sweeps of one thing become one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

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

/// An answer that `--retry` had set aside, as a sweep holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// The iteration that it answered.
    pub iteration: u32,
    pub dir: PathBuf,
    pub identity: Identity,
}

/// Every answer of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Those that stand, by iteration.
    pub standing: BTreeMap<u32, Identity>,
    /// Those that others replaced.
    pub replaced: Vec<Aside>,
}

impl Answers {
    fn identities(&self) -> impl Iterator<Item = &Vec<u8>> {
        let replaced = self.replaced.iter().filter_map(|aside| aside.identity.as_ref());
        self.standing.values().flatten().chain(replaced)
    }
}

/// An answer to be copied that another had replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveAside {
    /// Number of the source, from 0.
    pub source: usize,
    /// Its directory there.
    pub from: PathBuf,
    /// Its iteration there.
    pub iteration: u32,
    /// The iteration that it belongs to in the target.
    pub to: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergePlan {
    /// What is to be copied, in the order of sources and numbers.
    pub moves: Vec<Move>,
    /// Answers that `--retry` had set aside go where the iteration goes that they belong to.
    pub asides: Vec<MoveAside>,
    /// Iterations that the target, or a source before, has already: the same run, not only the same number.
    pub already: usize,
    /// Iterations whose number another run has: source and number.
    pub taken: Vec<(usize, u32)>,
}

/// Plans a merge. With `renumber`, an iteration whose number is taken gets the first one after all others.
pub fn plan(target: &Answers, sources: &[Answers], renumber: bool) -> MergePlan {
    let mut plan = MergePlan::default();
    let mut used: BTreeSet<u32> = target.standing.keys().copied().collect();
    let mut known: BTreeSet<&Vec<u8>> = target.identities().collect();
    let mut numbers: BTreeMap<(usize, u32), u32> = BTreeMap::new();
    // Numbers that sources bring along stay theirs as long as nobody has them.
    let all = sources.iter().chain([target]);
    let highest = all.flat_map(|answers| answers.standing.keys()).max();
    let mut next = highest.copied().unwrap_or(0) + 1;
    for (source, answers) in sources.iter().enumerate() {
        for (from, identity) in &answers.standing {
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
            numbers.insert((source, *from), to);
            plan.moves.push(Move {
                source,
                from: *from,
                to,
            });
        }
    }
    for (source, answers) in sources.iter().enumerate() {
        for aside in &answers.replaced {
            if (aside.identity.as_ref()).is_some_and(|identity| !known.insert(identity)) {
                continue;
            }
            let to = numbers.get(&(source, aside.iteration)).copied();
            plan.asides.push(MoveAside {
                source,
                from: aside.dir.clone(),
                iteration: aside.iteration,
                to: to.unwrap_or(aside.iteration),
            });
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Vec<u8> {
        name.as_bytes().to_vec()
    }

    fn runs(runs: &[(u32, &str)]) -> Answers {
        Answers {
            standing: runs
                .iter()
                .map(|(number, name)| (*number, Some(identity(name))))
                .collect(),
            replaced: Vec::new(),
        }
    }

    /// The same with answers that others replaced.
    fn retried(standing: &[(u32, &str)], replaced: &[(u32, &str)]) -> Answers {
        let aside = |(iteration, name): &(u32, &str)| Aside {
            iteration: *iteration,
            dir: PathBuf::from(name),
            identity: Some(identity(name)),
        };
        Answers {
            replaced: replaced.iter().map(aside).collect(),
            ..runs(standing)
        }
    }

    fn asides(plan: &MergePlan) -> Vec<(&str, u32)> {
        let asides = plan.asides.iter();
        asides.map(|one| (one.from.to_str().unwrap(), one.to)).collect()
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
        let unknown = Answers {
            standing: BTreeMap::from([(1, None)]),
            replaced: Vec::new(),
        };
        assert_eq!(plan(&unknown, std::slice::from_ref(&unknown), true).moves.len(), 1);
    }

    #[test]
    fn answers_that_others_replaced_go_where_their_iteration_goes_and_come_once() {
        let (target, source) = (
            runs(&[(1, "x")]),
            retried(&[(1, "b"), (2, "c")], &[(1, "a"), (2, "a2")]),
        );
        let first = plan(&target, &[source.clone(), source.clone()], true);
        assert_eq!(moves(&first), [(0, 1, 3), (0, 2, 2)]);
        assert_eq!(asides(&first), [("a", 3), ("a2", 2)]);
        let merged = retried(&[(1, "x"), (2, "c"), (3, "b")], &[(3, "a"), (2, "a2")]);
        let again = plan(&merged, std::slice::from_ref(&source), true);
        assert_eq!((again.moves.len(), again.asides.len(), again.already), (0, 0, 2));
        // The source as it was before its iterations ran again, and after the target's did.
        let before = plan(&merged, &[runs(&[(1, "a"), (2, "a2")])], true);
        assert_eq!((before.moves.len(), before.already), (0, 2));
        let after = plan(&runs(&[(1, "a")]), &[retried(&[(1, "b")], &[(1, "a")])], true);
        assert_eq!((moves(&after), after.asides.len()), (vec![(0, 1, 2)], 0));
    }
}
