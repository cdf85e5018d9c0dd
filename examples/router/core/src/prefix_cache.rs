//! A memory of the router's own decisions: a sequence that starts like an earlier one goes where that one went,
//! whether or not the worker's events have arrived.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::event::Target;

/// How long a decision is remembered after its last use.
pub const TTL: Duration = Duration::from_secs(5 * 60);

/// Shorter prefixes say nothing: chats start alike.
pub const MIN_TOKENS: usize = 3;

/// Last decisions by prefix, least recently used first out.
#[derive(Debug)]
pub struct PrefixCache {
    capacity: usize,
    entries: HashMap<Vec<u32>, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    used_at: Instant,
    used: u64,
}

impl PrefixCache {
    /// A cache of at most `capacity` prefixes.
    pub fn new(capacity: usize) -> PrefixCache {
        PrefixCache {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            clock: 0,
        }
    }

    /// Where the longest remembered prefix of `tokens` went, if that target is still there and the memory fresh.
    pub fn lookup(&mut self, tokens: &[u32], now: Instant, is_alive: impl Fn(Target) -> bool) -> Option<Target> {
        self.entries
            .retain(|_, entry| now.duration_since(entry.used_at) < TTL && is_alive(entry.target));
        self.clock += 1;
        for length in (MIN_TOKENS..=tokens.len()).rev() {
            if let Some(entry) = self.entries.get_mut(&tokens[..length]) {
                entry.used = self.clock;
                entry.used_at = now;
                return Some(entry.target);
            }
        }
        None
    }

    /// Remembers a decision.
    pub fn remember(&mut self, tokens: &[u32], target: Target, now: Instant) {
        if tokens.len() < MIN_TOKENS {
            return;
        }
        self.clock += 1;
        self.entries.insert(
            tokens.to_vec(),
            Entry {
                target,
                used_at: now,
                used: self.clock,
            },
        );
        while self.entries.len() > self.capacity {
            let Some(oldest) = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(tokens, _)| tokens.clone())
            else {
                return;
            };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Target = Target {
        worker_id: 1,
        dp_rank: 0,
    };
    const B: Target = Target {
        worker_id: 2,
        dp_rank: 0,
    };

    #[test]
    fn the_longest_prefix_wins() {
        let now = Instant::now();
        let mut cache = PrefixCache::new(8);
        cache.remember(&[1, 2, 3], A, now);
        cache.remember(&[1, 2, 3, 4], B, now);
        assert_eq!(cache.lookup(&[1, 2, 3, 4, 5], now, |_| true), Some(B));
        assert_eq!(cache.lookup(&[1, 2, 3, 9], now, |_| true), Some(A));
        assert_eq!(cache.lookup(&[1, 2], now, |_| true), None);
    }

    #[test]
    fn two_tokens_are_too_few() {
        let now = Instant::now();
        let mut cache = PrefixCache::new(8);
        cache.remember(&[1, 2], A, now);
        assert_eq!(cache.lookup(&[1, 2, 3], now, |_| true), None);
    }

    #[test]
    fn a_decision_expires_five_minutes_after_its_last_use() {
        let now = Instant::now();
        let mut cache = PrefixCache::new(8);
        cache.remember(&[1, 2, 3], A, now);
        let later = now + TTL / 2;
        assert_eq!(cache.lookup(&[1, 2, 3], later, |_| true), Some(A));
        assert_eq!(cache.lookup(&[1, 2, 3], now + TTL, |_| true), Some(A));
        assert_eq!(cache.lookup(&[1, 2, 3], now + TTL * 2, |_| true), None);
    }

    #[test]
    fn a_worker_that_left_is_forgotten() {
        let now = Instant::now();
        let mut cache = PrefixCache::new(8);
        cache.remember(&[1, 2, 3], A, now);
        assert_eq!(cache.lookup(&[1, 2, 3], now, |target| target != A), None);
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let now = Instant::now();
        let mut cache = PrefixCache::new(2);
        cache.remember(&[1, 1, 1], A, now);
        cache.remember(&[2, 2, 2], A, now);
        cache.lookup(&[1, 1, 1], now, |_| true);
        cache.remember(&[3, 3, 3], B, now);
        assert_eq!(cache.lookup(&[2, 2, 2], now, |_| true), None);
        assert_eq!(cache.lookup(&[1, 1, 1], now, |_| true), Some(A));
    }
}
