//! Whether a series of iterations has one constant rate, and whether its failures are spread as chance would.

use std::ops::Range;

use super::binomial::ln_choose;
use super::rate::Count;

/// A split is reported where its p-value is below this.
pub const LEVEL: f64 = 0.01;

/// Most cells of the path count that are visited; about half a second. With 100,000 iterations that is enough for any
/// p above 1e-50, and for fewer than 20,000 iterations it is enough for all.
const MOST_CELLS: usize = 400_000_000;

/// Gains that differ by less are equal: the same split seen through rounding.
const SAME_GAIN: f64 = 1e-9;

/// The split of a series that explains it best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Position of the first iteration of the second part, from 0; `None` where all or none failed.
    pub at: Option<usize>,
    /// Chance that some split of a shuffled series explains it at least as well.
    pub p: f64,
}

/// A stretch of a series with one rate, as positions from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regime {
    pub positions: Range<usize>,
    pub count: Count,
}

/// Log-likelihood of `k` failures in `n` at the rate that fits them best.
fn log_likelihood(k: usize, n: usize) -> f64 {
    if k == 0 || k == n {
        return 0.0;
    }
    let (failed, passed, all) = (k as f64, (n - k) as f64, n as f64);
    failed * (failed / all).ln() + passed * (passed / all).ln()
}

/// A series as its totals: how many iterations, and how many of them failed.
#[derive(Clone, Copy)]
struct Totals {
    n: usize,
    k: usize,
}

impl Totals {
    /// What two rates explain better than one, if `s` of the first `t` iterations failed.
    fn gain(self, s: usize, t: usize) -> f64 {
        log_likelihood(s, t) + log_likelihood(self.k - s, self.n - t) - log_likelihood(self.k, self.n)
    }

    /// The numbers of failures that are possible after `t` iterations.
    fn possible(self, t: usize) -> (usize, usize) {
        (self.k.saturating_sub(self.n - t), self.k.min(t))
    }

    /// The numbers of failures after `t` iterations whose gain stays below a limit. The gain is convex in that number,
    /// so they are neighbors; the last answer is where the search begins, since the band moves slowly.
    fn band(self, t: usize, limit: f64, last: (usize, usize)) -> Option<(usize, usize)> {
        let (fewest, most) = self.possible(t);
        let is_inside = |s: usize| self.gain(s, t) < limit;
        let expected = t * self.k / self.n;
        let middle = [expected, expected + 1]
            .map(|s| s.clamp(fewest, most))
            .into_iter()
            .find(|&s| is_inside(s))?;
        let mut low = last.0.clamp(fewest, middle);
        while !is_inside(low) {
            low += 1;
        }
        while low > fewest && is_inside(low - 1) {
            low -= 1;
        }
        let mut high = last.1.clamp(middle, most);
        while !is_inside(high) {
            high -= 1;
        }
        while high < most && is_inside(high + 1) {
            high += 1;
        }
        Some((low, high))
    }

    /// Chance that a shuffled series reaches the limit at some of these splits, given in order.
    ///
    /// Follows the distribution of the number of failures among the series that have stayed below so far, and adds up
    /// what leaves it, step by step: all terms are positive, so tiny chances keep their digits.
    fn chance_to_reach(self, limit: f64, splits: &[usize]) -> f64 {
        let mut splits = splits.iter().peekable();
        let mut mass = vec![0.0; self.k + 2];
        mass[0] = 1.0;
        let (mut low, mut high) = (0, 0);
        let (mut reached, mut cells) = (0.0, 0);
        for t in 1..self.n {
            let left = (self.n - t + 1) as f64;
            let mut carried = 0.0;
            for (s, cell) in mass.iter_mut().enumerate().take(high + 2).skip(low) {
                // Both factors are exactly zero where the step is impossible; their sum being 1 is not relied on.
                let fails = self.k.saturating_sub(s) as f64;
                let moved = *cell * (fails / left);
                *cell = *cell * ((left - fails) / left) + carried;
                carried = moved;
            }
            high = (high + 1).min(self.k);
            cells += high - low + 1;
            if cells > MOST_CELLS {
                return self.bound(limit).max(reached).min(1.0);
            }
            if splits.next_if(|split| **split == t).is_none() {
                continue;
            }
            let Some((next_low, next_high)) = self.band(t, limit, (low, high)) else {
                return mass[low..=high].iter().sum::<f64>() + reached;
            };
            while low < next_low {
                reached += std::mem::take(&mut mass[low]);
                low += 1;
            }
            while high > next_high {
                reached += std::mem::take(&mut mass[high]);
                high -= 1;
            }
        }
        reached
    }

    /// An upper bound of [`Totals::chance_to_reach`]: each of the at most n (k+1) places with such a gain is reached
    /// with a chance of at most (n+1) e^-gain (method of types; Cover and Thomas, chapter 11).
    fn bound(self, limit: f64) -> f64 {
        let (n, k) = (self.n as f64, self.k as f64);
        (n.ln() + (k + 1.0).ln() + (n + 1.0).ln() - limit).exp().min(1.0)
    }
}

/// The split with the largest gain in binomial log-likelihood, the earliest of equals, and its exact p-value given the
/// number of failures: the share of all orders of the same outcomes in which some split gains at least as much.
///
/// Source: maximally selected likelihood ratio (A. N. Pettitt, 1979, in its exact conditional form), by counting
/// paths. Work grows with n times the width of the band between the limits, about n·√n; above a bound of work the
/// p-value is an upper bound instead of exact, and by then far below any level.
pub fn best_split(series: &[bool]) -> Split {
    best_split_between(&singles(series))
}

fn singles(series: &[bool]) -> Vec<Count> {
    series
        .iter()
        .filter_map(|failed| Count::new(u64::from(*failed), 1))
        .collect()
}

/// As [`best_split`], where only the borders between groups of iterations, such as nights, are looked at; `at` is the
/// first group of the second part.
pub fn best_split_between(groups: &[Count]) -> Split {
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let totals = Totals {
        n: groups.iter().map(|group| size(group.of())).sum(),
        k: groups.iter().map(|group| size(group.failed())).sum(),
    };
    if totals.k == 0 || totals.k == totals.n {
        return Split { at: None, p: 1.0 };
    }
    let (mut best, mut at) = (-1.0, None);
    let (mut t, mut failed) = (0, 0);
    let mut splits = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        if t > 0 && t < totals.n && splits.last() != Some(&t) {
            splits.push(t);
            let gain = totals.gain(failed, t);
            if gain > best + 1e-12 {
                (best, at) = (gain, Some(index));
            }
        }
        t += size(group.of());
        failed += size(group.failed());
    }
    if at.is_none() {
        return Split { at, p: 1.0 };
    }
    Split {
        at,
        p: totals.chance_to_reach(best - SAME_GAIN, &splits).min(1.0),
    }
}

/// The stretches of a series that differ at [`LEVEL`]: one where nothing changed, none of an empty series. The second
/// value is the p of the first split.
///
/// A split makes two parts that are looked at again; a wrong extra split after a true one is seen in at most 1.7 %.
pub fn regimes(series: &[bool]) -> (Vec<Regime>, f64) {
    regimes_between(&singles(series))
}

/// As [`regimes`], where only the borders between groups are looked at; positions are those of groups.
pub fn regimes_between(groups: &[Count]) -> (Vec<Regime>, f64) {
    let first = best_split_between(groups);
    let mut open = vec![(0..groups.len(), first)];
    let mut done = Vec::new();
    while let Some((part, split)) = open.pop() {
        match split.at {
            Some(at) if split.p < LEVEL => {
                // The first part is taken up next, so that they come out in order.
                let middle = part.start + at;
                for half in [middle..part.end, part.start..middle] {
                    let split = best_split_between(&groups[half.clone()]);
                    open.push((half, split));
                }
            }
            Some(_) | None if part.is_empty() => {}
            Some(_) | None => done.push(Regime {
                count: total(&groups[part.clone()]),
                positions: part,
            }),
        }
    }
    (done, first.p)
}

/// The sum of counts; the largest count there is, where it is beyond it.
fn total(groups: &[Count]) -> Count {
    let failed = groups.iter().map(|group| group.failed()).sum::<u64>().min(Count::MAX);
    let of = groups.iter().map(|group| group.of()).sum::<u64>().min(Count::MAX);
    Count::new(failed, of).unwrap_or_default()
}

/// Chance that shuffled outcomes form at most as many stretches of equal ones: small where failures come in bursts.
/// `None` where all or none failed.
///
/// Source: exact runs test (Wald and Wolfowitz, 1940), the side of too few runs.
pub fn bursts(series: &[bool]) -> Option<f64> {
    let n = series.len() as u64;
    let failed = series.iter().filter(|failed| **failed).count() as u64;
    let passed = n - failed;
    if failed == 0 || passed == 0 {
        return None;
    }
    let stretches = 1 + series.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
    let all = ln_choose(n, failed);
    let ways = |failures: u64, passes: u64| {
        if failures > failed || passes > passed {
            return 0.0;
        }
        (ln_choose(failed - 1, failures - 1) + ln_choose(passed - 1, passes - 1) - all).exp()
    };
    let chance = |stretches: u64| {
        let half = stretches / 2;
        if stretches.is_multiple_of(2) {
            2.0 * ways(half, half)
        } else {
            ways(half + 1, half) + ways(half, half + 1)
        }
    };
    Some((2..=stretches).map(chance).sum::<f64>().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(n: usize, failed: &[usize]) -> Vec<bool> {
        (1..=n).map(|number| failed.contains(&number)).collect()
    }

    #[test]
    fn the_exact_p_is_the_share_of_all_orders() {
        // Every order of 4 failures among 12, counted one by one.
        let n = 12;
        let orders: Vec<Vec<bool>> = (0_u32..1 << n)
            .filter(|bits| bits.count_ones() == 4)
            .map(|bits| (0..n).map(|bit| bits >> bit & 1 == 1).collect())
            .collect();
        let totals = Totals { n, k: 4 };
        let best = |order: &[bool]| {
            let mut failed = 0;
            (1..n)
                .map(|t| {
                    failed += usize::from(order[t - 1]);
                    totals.gain(failed, t)
                })
                .fold(f64::MIN, f64::max)
        };
        for order in orders.iter().step_by(17) {
            let limit = best(order) - SAME_GAIN;
            let reaching = orders.iter().filter(|other| best(other) >= limit).count();
            let share = reaching as f64 / orders.len() as f64;
            assert!((best_split(order).p - share).abs() < 1e-12, "{order:?}");
        }
    }

    #[test]
    fn two_rates_in_one_sweep_are_two_regimes() {
        let (found, p) = regimes(&series(100, &[91, 96, 98, 99, 100]));
        let shown: Vec<(Range<usize>, String)> = found
            .into_iter()
            .map(|regime| (regime.positions, regime.count.to_string()))
            .collect();
        assert_eq!(shown, [(0..90, "0/90".to_owned()), (90..100, "5/10".to_owned())]);
        assert!((p - 9.085e-6).abs() < 1e-8);
    }

    #[test]
    fn parts_are_looked_at_again() {
        let mut three = vec![false; 60];
        three[20..40].fill(true);
        let (found, _) = regimes(&three);
        assert_eq!(
            found.iter().map(|regime| regime.count.failed()).collect::<Vec<_>>(),
            [0, 20, 0]
        );
    }

    #[test]
    fn groups_are_split_only_at_their_borders() {
        let groups = [(0, 5), (0, 5), (0, 0), (3, 5), (4, 5)].map(|(k, n)| Count::new(k, n).unwrap());
        let split = best_split_between(&groups);
        assert_eq!(split.at, Some(2));
        // Of all orders of 7 failures in 20, those that gain as much at 5, 10 or 15.
        let reaching: f64 = (0_u32..1 << 20)
            .filter(|bits| bits.count_ones() == 7)
            .filter(|bits| {
                let totals = Totals { n: 20, k: 7 };
                let best = totals.gain(0, 10) - SAME_GAIN;
                [5, 10, 15]
                    .iter()
                    .any(|t| totals.gain((bits & ((1 << t) - 1)).count_ones() as usize, *t) >= best)
            })
            .count() as f64;
        assert!((split.p - reaching / 77_520.0).abs() < 1e-12, "{split:?}");
        assert_eq!(best_split_between(&groups[..1]), Split { at: None, p: 1.0 });
        assert_eq!(
            best_split_between(&[Count::new(1, 2).unwrap()]),
            Split { at: None, p: 1.0 }
        );
    }

    #[test]
    fn a_series_of_nothing_or_of_one_kind_is_at_most_one_regime() {
        assert_eq!(regimes(&[]), (Vec::new(), 1.0));
        assert_eq!(regimes(&[true]).0.len(), 1);
        assert_eq!(regimes(&[false; 5]).0.len(), 1);
        assert_eq!(bursts(&[]), None);
        assert_eq!(bursts(&[true, true]), None);
    }

    #[test]
    fn bursts_are_fewer_stretches_than_chance_makes() {
        // 2 stretches of 3 failures and 3 passes: 2 of 20 orders.
        assert!((bursts(&series(6, &[1, 2, 3])).unwrap() - 0.1).abs() < 1e-12);
        assert!((bursts(&series(6, &[1, 3, 5])).unwrap() - 1.0).abs() < 1e-12);
        let burst = series(200, &[10, 11, 12, 80, 81, 82, 83, 150, 151, 152]);
        assert!(bursts(&burst).unwrap() < 1e-6);
    }

    #[test]
    fn ten_thousand_iterations_are_searched_and_bounded_ones_stay_tiny() {
        let spread: Vec<bool> = (0..10_000).map(|number| number % 33 == 16).collect();
        assert!(best_split(&spread).p > 0.5);
        let totals = Totals { n: 100_000, k: 50_000 };
        assert!(totals.bound(200.0) < 1e-70);
    }
}
