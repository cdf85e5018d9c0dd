//! Which target gets a request: cost, and what decides between equals.

use std::cmp::Reverse;
use std::collections::HashMap;

use rand::RngExt;

use crate::event::Target;

/// What decides between targets of equal cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// The target with the fewest blocks, then the lowest id: spreads load.
    SmallestTree,
    /// The target with the most blocks, then the lowest id: prefers caches that are filling.
    LargestTree,
    /// Whichever the hash map yields first, which its seed decides anew for every map.
    MapOrder,
}

/// What is known about a target when a request comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Blocks of the request that its cache holds.
    pub overlap: usize,
    /// Blocks of requests it is working on.
    pub active: usize,
    /// Blocks it has reported, applied to the tree or not.
    pub tree_size: usize,
}

/// Chooses a target for a request of `n_blocks`; `None` without candidates.
///
/// Cost is what must be computed anew plus what the target is already busy with. With temperature 0 the cheapest wins.
pub fn select(
    n_blocks: usize,
    candidates: &HashMap<Target, Load>,
    temperature: f64,
    tie_break: TieBreak,
) -> Option<Target> {
    let costs: HashMap<Target, f64> = candidates
        .iter()
        .map(|(target, load)| (*target, (n_blocks.saturating_sub(load.overlap) + load.active) as f64))
        .collect();
    let best = softmax_sample(&costs, temperature);
    let size = |target: &Target| candidates[target].tree_size;
    match tie_break {
        TieBreak::SmallestTree => best.into_iter().min_by_key(|target| (size(target), *target)),
        TieBreak::LargestTree => best.into_iter().min_by_key(|target| (Reverse(size(target)), *target)),
        TieBreak::MapOrder => best.into_iter().next(),
    }
}

/// One target drawn with probability proportional to `exp(-cost / temperature)`, costs scaled to 0..1; with temperature
/// 0 all the cheapest, in the map's order.
pub fn softmax_sample(costs: &HashMap<Target, f64>, temperature: f64) -> Vec<Target> {
    let lowest = costs.values().copied().fold(f64::INFINITY, f64::min);
    let highest = costs.values().copied().fold(f64::NEG_INFINITY, f64::max);
    if temperature <= 0.0 {
        return costs
            .iter()
            .filter(|(_, cost)| **cost <= lowest)
            .map(|(target, _)| *target)
            .collect();
    }
    if costs.is_empty() {
        return Vec::new();
    }
    let range = if highest > lowest { highest - lowest } else { 1.0 };
    let weight = |cost: f64| (-(cost - lowest) / range / temperature).exp();
    let total: f64 = costs.values().map(|cost| weight(*cost)).sum();
    let mut left = rand::rng().random_range(0.0..total);
    let mut drawn = None;
    for (target, cost) in costs {
        drawn = Some(*target);
        left -= weight(*cost);
        if left < 0.0 {
            break;
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(worker_id: u64) -> Target {
        Target { worker_id, dp_rank: 0 }
    }

    fn two(first: Load, second: Load) -> HashMap<Target, Load> {
        HashMap::from([(target(1), first), (target(2), second)])
    }

    #[test]
    fn overlap_beats_every_tie_break() {
        let candidates = two(
            Load {
                tree_size: 9,
                ..Load::default()
            },
            Load {
                overlap: 1,
                tree_size: 5,
                ..Load::default()
            },
        );
        for tie_break in [TieBreak::SmallestTree, TieBreak::LargestTree, TieBreak::MapOrder] {
            assert_eq!(select(4, &candidates, 0.0, tie_break), Some(target(2)));
        }
    }

    #[test]
    fn a_busy_target_loses_its_advantage() {
        let candidates = two(
            Load {
                overlap: 3,
                active: 4,
                ..Load::default()
            },
            Load::default(),
        );
        assert_eq!(select(4, &candidates, 0.0, TieBreak::LargestTree), Some(target(2)));
    }

    #[test]
    fn the_tie_break_decides_between_equals() {
        let candidates = two(
            Load {
                tree_size: 3,
                ..Load::default()
            },
            Load {
                tree_size: 2,
                ..Load::default()
            },
        );
        assert_eq!(select(4, &candidates, 0.0, TieBreak::SmallestTree), Some(target(2)));
        assert_eq!(select(4, &candidates, 0.0, TieBreak::LargestTree), Some(target(1)));
        let equal = two(Load::default(), Load::default());
        assert_eq!(select(4, &equal, 0.0, TieBreak::SmallestTree), Some(target(1)));
        assert_eq!(select(4, &equal, 0.0, TieBreak::LargestTree), Some(target(1)));
    }

    #[test]
    fn map_order_differs_from_map_to_map() {
        let candidates = two(Load::default(), Load::default());
        let chosen: std::collections::HashSet<_> = (0..200)
            .filter_map(|_| select(4, &candidates, 0.0, TieBreak::MapOrder))
            .collect();
        assert_eq!(chosen.len(), 2);
    }

    #[test]
    fn a_high_temperature_draws_everyone_and_a_low_one_the_cheapest() {
        let costs = HashMap::from([(target(1), 0.0), (target(2), 10.0)]);
        let seen: std::collections::HashSet<_> = (0..500).flat_map(|_| softmax_sample(&costs, 5.0)).collect();
        assert_eq!(seen.len(), 2);
        assert!((0..500).all(|_| softmax_sample(&costs, 0.01) == vec![target(1)]));
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(select(1, &HashMap::new(), 0.0, TieBreak::SmallestTree), None);
        assert_eq!(select(1, &HashMap::new(), 1.0, TieBreak::MapOrder), None);
    }
}
