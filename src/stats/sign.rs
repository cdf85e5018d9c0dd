//! Whether one of two sides that run side by side fails more often: a sign test over the blocks in which exactly one of
//! the two failed, looked at after every block.
//!
//! It needs no common rate, and holds under any drift that both sides share. All looks together are wrong in at most
//! 5 %: each boundary is one that a fair walk touches that seldom (exact enumeration).

use serde::Serialize;

use super::binomial::{at_least, ln_pmf};
use super::block::{Block, Conclusion};
use super::prove::{LEVEL_OF_MORE, MOST, NoPlan, posterior};
use super::rate::{Count, whole};
use super::runs_needed::smallest_above;

/// By the blocks that may speak against the claim, C: blocks for it that show it when 0, 1 … C speak against it. A fair
/// walk touches them with 3.1, 4.1, 4.8, 4.7, 4.9, 4.8, 4.8, 4.8, 4.9, 5.0, 5.0, 4.6, 4.8 %.
const BOUNDARIES: [&[u64]; 13] = [
    &[5],
    &[5, 8],
    &[5, 8, 10],
    &[6, 8, 10, 11],
    &[6, 8, 10, 12, 13],
    &[6, 8, 10, 12, 14, 16],
    &[6, 9, 10, 12, 14, 16, 17],
    &[6, 9, 11, 12, 14, 16, 17, 19],
    &[6, 9, 11, 12, 14, 16, 17, 19, 21],
    &[6, 9, 11, 13, 14, 16, 17, 19, 21, 22],
    &[6, 9, 11, 13, 14, 16, 18, 19, 21, 22, 24],
    &[7, 9, 11, 13, 14, 16, 18, 19, 21, 22, 24, 25],
    &[7, 9, 11, 13, 14, 16, 18, 19, 21, 22, 24, 25, 27],
];

/// When a series of blocks shows that its lower side fails less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SignPlan {
    /// Shown when so many blocks speak for it and `j` against it, by `j`.
    pub boundaries: &'static [u64],
    /// Complete blocks after which nothing more is expected; `None`: no limit.
    pub most_blocks: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What follows for the lower side; `None` while the plan goes on.
    pub conclusion: Option<Conclusion>,
    /// Complete blocks that were looked at: up to the one that decided.
    pub blocks: u64,
    /// Those in which only the higher side failed.
    pub only_higher: u64,
    /// Those in which only the lower side failed.
    pub only_lower: u64,
}

impl SignPlan {
    /// The plan that lets this many blocks speak against it, at most 12, without a limit on blocks.
    pub fn allowing(against: usize) -> SignPlan {
        SignPlan {
            boundaries: BOUNDARIES[against.min(BOUNDARIES.len() - 1)],
            most_blocks: None,
        }
    }

    /// The same with a limit on complete blocks.
    #[must_use]
    pub fn within(self, blocks: u64) -> SignPlan {
        SignPlan {
            most_blocks: Some(blocks),
            ..self
        }
    }

    /// The plan for a base that is run again beside its fix: the one that allows the fewest blocks against it and still
    /// shows, with probability `power`, a fix that leaves the share `remaining` of the base's rate (0: a complete fix).
    pub fn for_control(base: Count, remaining: f64, power: f64) -> Result<SignPlan, NoPlan> {
        if base.failed() == 0 {
            return Err(NoPlan::NeverFailed);
        }
        let remaining = remaining.clamp(0.0, 1.0);
        let rates: Vec<(f64, f64)> = posterior(base).collect();
        let candidates = if remaining > 0.0 { BOUNDARIES.len() } else { 1 };
        let mut assurance = 0.0;
        for boundaries in &BOUNDARIES[..candidates] {
            let walks: Vec<Walk> = rates
                .iter()
                .map(|&(rate, weight)| Walk::new(boundaries, rate, remaining, weight))
                .collect();
            assurance = walks.iter().map(|walk| walk.touches.iter().sum::<f64>()).sum();
            if assurance < power + (1.0 - power) / 2.0 {
                continue;
            }
            let reached = |blocks| {
                walks
                    .iter()
                    .map(|walk| walk.touches_within(blocks, boundaries))
                    .sum::<f64>()
                    >= power
            };
            let most_blocks = smallest_above(0, MOST, reached).ok_or(NoPlan::TooLong)?;
            return Ok(SignPlan {
                boundaries,
                most_blocks: Some(most_blocks),
            });
        }
        Err(NoPlan::TooWeak { assurance })
    }

    /// Blocks that may speak against it.
    pub fn allowed(&self) -> u64 {
        self.boundaries.len().saturating_sub(1) as u64
    }

    /// Looks at the blocks in their order. A block is looked at when every earlier one is recorded; one with an
    /// unanswered side is set aside. Where nothing may speak against the claim, the first failure of the lower side ends
    /// the series. Blocks after the one that decided change nothing.
    pub fn decide(&self, blocks: &[Block]) -> Decision {
        let mut seen = Decision::default();
        for (higher, lower) in Block::recorded(blocks).filter_map(Block::failed) {
            seen.blocks += 1;
            seen.only_higher += u64::from(higher && !lower);
            seen.only_lower += u64::from(lower && !higher);
            seen.conclusion = self.conclusion(&seen, higher && lower);
            if seen.conclusion.is_some() {
                break;
            }
        }
        seen
    }

    fn conclusion(&self, seen: &Decision, both_failed: bool) -> Option<Conclusion> {
        if both_failed && self.allowed() == 0 {
            return Some(Conclusion::NotShown);
        }
        let Some(boundary) = self.boundary(seen.only_lower) else {
            let p = at_least(seen.only_lower, seen.only_higher + seen.only_lower, 0.5);
            return Some(if p <= LEVEL_OF_MORE {
                Conclusion::More
            } else {
                Conclusion::NotShown
            });
        };
        if seen.only_higher >= boundary {
            return Some(Conclusion::Fewer);
        }
        self.most_blocks
            .is_some_and(|most| seen.blocks >= most)
            .then_some(Conclusion::NotShown)
    }

    /// How many blocks may be in flight now: the fewest that can still show the claim. 0 once the plan is decided.
    pub fn wanted(&self, blocks: &[Block]) -> u64 {
        let seen = self.decide(blocks);
        match (seen.conclusion, self.boundary(seen.only_lower)) {
            (None, Some(boundary)) => {
                let left = self.most_blocks.map_or(u64::MAX, |most| most - seen.blocks);
                (boundary - seen.only_higher).min(left)
            }
            _ => 0,
        }
    }

    fn boundary(&self, only_lower: u64) -> Option<u64> {
        self.boundaries.get(usize::try_from(only_lower).ok()?).copied()
    }
}

/// Blocks after which a complete fix is shown, about: printed before anything starts.
pub fn expected_blocks(base: Count) -> Option<u64> {
    let rate = base.rate().filter(|rate| *rate > 0.0)?;
    whole((BOUNDARIES[0][0] as f64 / rate - 1e-9).ceil())
}

/// How blocks of a base with a known rate and its fix walk towards a boundary.
struct Walk {
    /// Weight of the rate times the probability that the walk first touches the boundary at each `j`.
    touches: Vec<f64>,
    /// Probability that exactly one side of a block fails.
    counts: f64,
}

impl Walk {
    fn new(boundaries: &[u64], rate: f64, remaining: f64, weight: f64) -> Walk {
        let only_base = rate * (1.0 - remaining * rate);
        let only_fix = remaining * rate * (1.0 - rate);
        let counts = only_base + only_fix;
        let touches = first_passage(boundaries, only_base / counts);
        Walk {
            touches: touches.into_iter().map(|touch| weight * touch).collect(),
            counts,
        }
    }

    /// Probability, times the weight, that the boundary is touched within so many blocks.
    fn touches_within(&self, blocks: u64, boundaries: &[u64]) -> f64 {
        // P(at least `steps` of the blocks count), from the largest number of steps down.
        let steps = |index: usize| boundaries[index] + index as u64;
        let mut at = steps(boundaries.len() - 1);
        let mut enough = at_least(at, blocks, self.counts);
        let mut sum = 0.0;
        for (index, touch) in self.touches.iter().enumerate().rev() {
            while at > steps(index) {
                at -= 1;
                enough += ln_pmf(at, blocks, self.counts).exp();
            }
            sum += touch * enough;
        }
        sum
    }
}

/// Probability that a walk which goes right with probability `right`, and else up, first touches the boundary at the
/// height `j`, for each `j`. The boundary must not fall.
fn first_passage(boundaries: &[u64], right: f64) -> Vec<f64> {
    // Probability of standing at each column of the row below and going up from there.
    let mut rising: Vec<f64> = vec![1.0];
    boundaries
        .iter()
        .map(|&boundary| {
            let width = usize::try_from(boundary).unwrap_or(0);
            let mut row = vec![0.0; width];
            for column in 0..width {
                let from_left = if column > 0 { row[column - 1] * right } else { 0.0 };
                row[column] = rising.get(column).copied().unwrap_or(0.0) + from_left;
            }
            let touched = row.last().copied().unwrap_or(0.0) * right;
            rising = row.into_iter().map(|here| here * (1.0 - right)).collect();
            touched
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::count;

    #[track_caller]
    fn check(plan: SignPlan, text: &str, conclusion: Option<Conclusion>, n: u64) {
        let decision = plan.decide(&Block::series(text));
        assert_eq!((decision.conclusion, decision.blocks), (conclusion, n), "{text}");
    }

    #[test]
    fn a_fair_walk_touches_each_boundary_as_seldom_as_published() {
        let published = [
            3.125, 4.102, 4.834, 4.651, 4.874, 4.762, 4.795, 4.750, 4.926, 4.970, 4.990, 4.645, 4.779,
        ];
        for (boundaries, percent) in BOUNDARIES.iter().zip(published) {
            let touched: f64 = first_passage(boundaries, 0.5).iter().sum();
            assert!((100.0 * touched - percent).abs() < 0.0006, "{touched}");
        }
    }

    #[test]
    fn a_walk_that_only_goes_right_touches_at_the_bottom() {
        assert_eq!(first_passage(&[5, 8], 1.0), [1.0, 0.0]);
        assert_eq!(first_passage(&[5, 8], 0.0), [0.0, 0.0]);
    }

    #[test]
    fn a_complete_fix_is_shown_at_the_fifth_block_in_which_only_the_base_failed() {
        let plan = SignPlan::allowing(0);
        check(plan, "h.h.h.h", None, 7);
        check(plan, "h.h.h.h.h", Some(Conclusion::Fewer), 9);
        check(plan, "h.h.h.h.hlll", Some(Conclusion::Fewer), 9);
        check(plan, "hhhhb", Some(Conclusion::NotShown), 5);
        check(plan, "l", Some(Conclusion::NotShown), 1);
        check(plan, "", None, 0);
    }

    #[test]
    fn a_block_with_an_unanswered_side_is_set_aside_and_one_that_is_awaited_waited_for() {
        let plan = SignPlan::allowing(0);
        check(plan, "hxhxhhh", Some(Conclusion::Fewer), 5);
        check(plan, "hh?hhh", None, 2);
        check(plan, "?b", None, 0);
    }

    #[test]
    fn both_sides_failing_says_nothing_where_failures_are_allowed() {
        check(SignPlan::allowing(1), "bbbbbbbb", None, 8);
        check(SignPlan::allowing(1), "lhhhhhhhh", Some(Conclusion::Fewer), 9);
        check(SignPlan::allowing(1), "ll", Some(Conclusion::NotShown), 2);
        check(SignPlan::allowing(5), "llllll", Some(Conclusion::More), 6);
    }

    #[test]
    fn at_its_last_block_a_plan_without_a_decision_is_over() {
        let plan = SignPlan::allowing(0).within(6);
        check(plan, "h.h.h", None, 5);
        check(plan, "h.h.hx.", Some(Conclusion::NotShown), 6);
        check(plan, "h.hhhh", Some(Conclusion::Fewer), 6);
    }

    #[test]
    fn no_more_blocks_are_wanted_than_can_still_show_it() {
        let plan = SignPlan::allowing(1).within(20);
        assert_eq!(plan.wanted(&[]), 5);
        assert_eq!(plan.wanted(&Block::series("h.h")), 3);
        assert_eq!(plan.wanted(&Block::series("hl")), 7);
        assert_eq!(plan.wanted(&Block::series("..................")), 2);
        assert_eq!(plan.wanted(&Block::series("ll")), 0);
        assert_eq!(plan.wanted(&Block::series("hhhhh")), 0);
    }

    #[test]
    fn the_printed_costs_are_those_of_the_example() {
        let plan = SignPlan::for_control(count(2, 75), 0.0, 0.8).unwrap();
        assert_eq!(
            (expected_blocks(count(2, 75)), plan.most_blocks),
            (Some(188), Some(328))
        );
        assert_eq!(expected_blocks(count(0, 75)), None);
        assert_eq!(expected_blocks(count(5, 5)), Some(5));
    }

    #[test]
    fn there_is_no_plan_for_a_base_that_never_fails_or_a_fix_that_changes_little() {
        assert_eq!(SignPlan::for_control(count(0, 50), 0.0, 0.8), Err(NoPlan::NeverFailed));
        assert!(matches!(
            SignPlan::for_control(count(13, 50), 0.9, 0.8),
            Err(NoPlan::TooWeak { .. })
        ));
    }
}
