//! Which CPUs there are, and the one of them that an iteration gets where it is to run on one alone.

use rustix::thread::{CpuSet, sched_getaffinity};

/// The CPUs of a list such as `0-1,3`, in order; `None` where it is no such list.
pub(super) fn listed(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?.min(CpuSet::MAX_CPU));
    }
    Some(cpus)
}

/// The CPUs that this process may run on.
pub(super) fn here() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else {
        return vec![0];
    };
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

/// The one CPU of an iteration: iterations side by side get different ones as far as there are any.
pub(super) fn one(of: &[usize], iteration: u32) -> usize {
    let at = iteration as usize % of.len().max(1);
    of.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_take_the_cpus_of_a_list_in_turn() {
        let cpus = listed("0-1,3").unwrap();
        assert_eq!(cpus, [0, 1, 3]);
        assert_eq!([1, 2, 3, 4].map(|iteration| one(&cpus, iteration)), [1, 3, 0, 1]);
        assert_eq!(one(&[], 7), 0);
        assert_eq!(listed("0-x"), None);
        assert!(!here().is_empty());
    }
}
