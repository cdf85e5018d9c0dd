//! Whether the winner of a search fails more often than the base, on fresh runs of both side by side, and by how much.

use serde::Serialize;

use crate::stats::block::Block;
use crate::stats::rate::{Count, upper_bound};

/// By attempt: blocks in which only the winner failed that show it when 0, 1, 2 blocks speak against it. A fair walk
/// touches them with 3.8 and 0.9 %, with 4.8 % together.
const BOUNDARIES: [[u64; 3]; 2] = [[5, 9, 12], [8, 10, 13]];

/// Complete blocks after which a winner that never failed is given up.
const GIVE_UP_SILENT: u64 = 12;
/// Complete blocks from which on a winner that leads by less than two failures is given up.
const GIVE_UP_LEVEL: u64 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Verdict {
    #[serde(rename = "more")]
    More,
    #[serde(rename = "not shown")]
    NotShown,
}

/// The blocks of a confirmation up to the one that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// What follows; `None` while it goes on.
    pub verdict: Option<Verdict>,
    /// Complete blocks.
    pub blocks: u64,
    pub winner_failed: u64,
    pub base_failed: u64,
    /// The fewest further blocks that can decide it; 0 once it is decided. No more should be in flight.
    pub wanted: u64,
}

/// Looks at the blocks of an attempt (1 or 2) in their order, the winner as the higher side. A block is looked at when
/// every earlier one is recorded; one with an unanswered side is set aside.
pub fn confirm(attempt: u8, blocks: &[Block]) -> Confirmation {
    let boundaries = &BOUNDARIES[usize::from(attempt.clamp(1, 2)) - 1];
    let (mut for_it, mut against) = (0, 0_u64);
    let mut seen = Confirmation {
        verdict: None,
        blocks: 0,
        winner_failed: 0,
        base_failed: 0,
        wanted: 0,
    };
    for (winner, base) in Block::recorded(blocks).filter_map(Block::failed) {
        seen.blocks += 1;
        seen.winner_failed += u64::from(winner);
        seen.base_failed += u64::from(base);
        for_it += u64::from(winner && !base);
        against += u64::from(base && !winner);
        seen.verdict = match boundaries.get(usize::try_from(against).unwrap_or(usize::MAX)) {
            None => Some(Verdict::NotShown),
            Some(boundary) if for_it >= *boundary => Some(Verdict::More),
            Some(_) if seen.is_hopeless() => Some(Verdict::NotShown),
            Some(_) => None,
        };
        if seen.verdict.is_some() {
            return seen;
        }
    }
    let boundary = boundaries[usize::try_from(against).unwrap_or(0)];
    seen.wanted = (boundary - for_it)
        .min(boundaries.len() as u64 - against)
        .min(seen.blocks_to_hopeless());
    seen
}

impl Confirmation {
    fn is_hopeless(&self) -> bool {
        self.blocks >= GIVE_UP_SILENT && self.winner_failed == 0
            || self.blocks >= GIVE_UP_LEVEL && self.winner_failed <= self.base_failed + 1
    }

    /// The fewest further blocks after which the winner may be given up for failing too seldom.
    fn blocks_to_hopeless(&self) -> u64 {
        let lead = self.winner_failed.saturating_sub(self.base_failed + 1);
        let level = GIVE_UP_LEVEL.saturating_sub(self.blocks).max(lead).max(1);
        let silent = GIVE_UP_SILENT.saturating_sub(self.blocks).max(1);
        if self.winner_failed == 0 {
            silent.min(level)
        } else {
            level
        }
    }
}

/// Lower bounds, each one-sided at 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Of the winner's rate. Exact where the series ended at a fixed number of failures.
    pub rate: f64,
    /// Of the winner's rate over the base's; 0 where nothing is known of the base.
    pub factor: f64,
}

/// How often the winner fails at least, and how many times as often as the base.
///
/// The share of the winner's failures in those of both has an exact bound, as if failures were rare events.
pub fn bounds(winner: Count, base: Count) -> Bounds {
    let passed = winner.of() - winner.failed();
    // Bounds of the opposite shares: the quantiles of Beta(a, b) at 0.05 and of Beta(b, a) at 0.95 add up to 1.
    let opposite = upper_bound(base.failed(), base.failed() + winner.failed(), 0.95);
    let factor = (1.0 - opposite) / opposite * base.of() as f64 / winner.of() as f64;
    Bounds {
        rate: 1.0 - upper_bound(passed, winner.of(), 0.95),
        factor: if winner.failed() == 0 || !factor.is_finite() {
            0.0
        } else {
            factor
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempt: u8, text: &str, verdict: Option<Verdict>, n: u64) {
        let found = confirm(attempt, &Block::series(text));
        assert_eq!((found.verdict, found.blocks), (verdict, n), "{text}");
    }

    #[test]
    fn five_to_none_shows_it_and_eight_to_none_in_a_second_attempt() {
        check(1, "h.hh.h", None, 6);
        check(1, "h.hh.hh", Some(Verdict::More), 7);
        check(1, "h.hh.hhlll", Some(Verdict::More), 7);
        check(2, "hhhhhhh", None, 7);
        check(2, "hhhhhhhh", Some(Verdict::More), 8);
    }

    #[test]
    fn three_blocks_against_it_twelve_silent_ones_or_no_lead_after_24_end_it() {
        check(1, "hhlhhll", Some(Verdict::NotShown), 7);
        check(1, "...........", None, 11);
        check(1, "............", Some(Verdict::NotShown), 12);
        check(1, "...........l", Some(Verdict::NotShown), 12);
        check(1, "bbbb........h..........", None, 23);
        check(1, "bbbb........h...........", Some(Verdict::NotShown), 24);
        check(1, "hh......................", None, 24);
    }

    #[test]
    fn a_block_is_set_aside_without_an_answer_and_looked_at_in_its_turn() {
        check(1, "hxhxhhh", Some(Verdict::More), 5);
        check(1, "hh?hhh", None, 2);
    }

    #[test]
    fn no_more_blocks_are_wanted_than_can_decide() {
        let wanted = |text| confirm(1, &Block::series(text)).wanted;
        assert_eq!(wanted(""), 3);
        assert_eq!(wanted("hhh"), 2);
        assert_eq!(wanted("l"), 2);
        assert_eq!(wanted("hl"), 2);
        assert_eq!(wanted("..........."), 1);
        assert_eq!(wanted("hhh.."), 2);
        assert_eq!(wanted("hhhhh"), 0);
        assert_eq!(wanted("hh......................"), 1);
    }

    #[test]
    fn of_a_winner_that_never_failed_nothing_is_bounded() {
        let count = |failed, of| Count::new(failed, of).unwrap();
        assert_eq!(bounds(count(0, 12), count(2, 87)), Bounds { rate: 0.0, factor: 0.0 });
        assert_eq!(bounds(count(0, 0), count(0, 0)), Bounds { rate: 0.0, factor: 0.0 });
        assert!(bounds(count(5, 5), count(0, 5)).factor > 0.5);
        assert_eq!(bounds(count(5, 5), count(0, 0)).factor.to_bits(), 0.0_f64.to_bits());
    }
}
