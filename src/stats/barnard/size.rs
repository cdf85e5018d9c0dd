//! The size of an exact test: the largest probability, over a common rate, of a set of tables.

use std::f64::consts::FRAC_PI_2;

use crate::stats::binomial::ln_pmf;
use crate::stats::rate::{Count, whole};

/// The largest probability, over a common rate, of the tables that are `inside`. The set has to grow with the base's
/// failures and to shrink with the new one's.
pub(super) fn largest_size(base_of: u64, new_of: u64, inside: impl Fn(Count, Count) -> bool) -> f64 {
    let region = Region::new(base_of, new_of, inside);
    let coarse = region.largest_size(Floor::Coarse);
    // What lies below the coarse floor changes only probabilities that are not far above it.
    let size = if coarse < 1e-9 {
        region.largest_size(Floor::Fine)
    } else {
        coarse
    };
    size.min(1.0)
}

/// The share of the mode's probability below which a count is left out of a sum.
#[derive(Clone, Copy)]
enum Floor {
    Coarse,
    Fine,
}

impl Floor {
    fn share(self) -> f64 {
        match self {
            Floor::Coarse => 1e-18,
            Floor::Fine => 1e-290,
        }
    }
}

/// A set of tables, by the smallest number of the base's failures that is inside for each of the new one's.
struct Region {
    base_of: u64,
    new_of: u64,
    /// By the new one's failures from 0; `base_of + 1` where no table is inside. Never falls.
    stairs: Vec<u64>,
}

impl Region {
    fn new(base_of: u64, new_of: u64, inside: impl Fn(Count, Count) -> bool) -> Region {
        let is_inside = |base: u64, new: u64| match (Count::new(base, base_of), Count::new(new, new_of)) {
            (Some(base), Some(new)) => inside(base, new),
            _ => true,
        };
        let mut step = 0;
        let stairs = (0..=new_of)
            .map(|new| {
                while step <= base_of && !is_inside(step, new) {
                    step += 1;
                }
                step
            })
            .collect();
        Region {
            base_of,
            new_of,
            stairs,
        }
    }

    /// Searched on the scale of θ with p = sin²θ, where a binomial is equally wide everywhere: points in equal
    /// distances, then golden sections around each local maximum that may hold the largest.
    fn largest_size(&self, floor: Floor) -> f64 {
        let mut bulks = Bulks::default();
        let mut size = |theta: f64| self.size(theta, floor, &mut bulks);
        let points = 64 + 8 * whole(((self.base_of + self.new_of) as f64).sqrt().ceil()).unwrap_or(0);
        let step = FRAC_PI_2 / (points + 1) as f64;
        let sizes: Vec<f64> = (0..=points + 1)
            .map(|point| {
                if point == 0 || point > points {
                    0.0
                } else {
                    size(point as f64 * step)
                }
            })
            .collect();
        let top = sizes.iter().copied().fold(0.0, f64::max);
        let mut best = top;
        for (point, around) in sizes.windows(3).enumerate() {
            if around[1] >= around[0] && around[1] >= around[2] && around[1] > 0.98 * top {
                let (low, high) = (point as f64 * step, (point + 2) as f64 * step);
                best = best.max(golden_section(low, high, &mut size));
            }
        }
        best
    }

    /// Probability of the set where both fail at the rate sin²θ.
    fn size(&self, theta: f64, floor: Floor, bulks: &mut Bulks) -> f64 {
        let p = theta.sin().powi(2);
        bulks.new.fill(self.new_of, p, floor);
        if self.base_of != self.new_of {
            bulks.base.fill(self.base_of, p, floor);
        }
        let base = if self.base_of == self.new_of {
            &bulks.new
        } else {
            &bulks.base
        };
        let last = base.first + base.pmf.len() as u64;
        let stairs = &self.stairs[index(bulks.new.first)..];
        let (mut sum, mut tail, mut at) = (0.0, 0.0, last);
        for (&pmf, &step) in bulks.new.pmf.iter().zip(stairs).rev() {
            let step = step.clamp(base.first, last);
            while at > step {
                at -= 1;
                tail += base.pmf[index(at - base.first)];
            }
            sum += pmf * tail;
        }
        sum
    }
}

/// The largest value that 24 golden sections meet between two ends around a maximum.
fn golden_section(mut low: f64, mut high: f64, value: &mut impl FnMut(f64) -> f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    for _ in 0..24 {
        if at_left >= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = value(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = value(right);
        }
    }
    at_left.max(at_right)
}

/// Probabilities of both sides at one rate; kept so that the search allocates once.
#[derive(Default)]
struct Bulks {
    base: Bulk,
    new: Bulk,
}

/// Binomial probabilities of the counts around the mode.
#[derive(Default)]
struct Bulk {
    /// The count of the first probability.
    first: u64,
    pmf: Vec<f64>,
}

impl Bulk {
    /// From the mode outwards by the ratio of neighbors, as far as the floor.
    fn fill(&mut self, n: u64, p: f64, floor: Floor) {
        let mode = whole((n + 1) as f64 * p).unwrap_or(0).min(n);
        let odds = p / (1.0 - p);
        let at_mode = ln_pmf(mode, n, p).exp();
        let least = at_mode * floor.share();
        self.pmf.clear();
        let (mut k, mut pmf) = (mode, at_mode);
        while k > 0 {
            pmf *= k as f64 / ((n - k + 1) as f64 * odds);
            if pmf < least {
                break;
            }
            k -= 1;
            self.pmf.push(pmf);
        }
        self.first = k;
        self.pmf.reverse();
        self.pmf.push(at_mode);
        (k, pmf) = (mode, at_mode);
        while k < n {
            k += 1;
            pmf *= (n - k + 1) as f64 * odds / k as f64;
            if pmf < least {
                break;
            }
            self.pmf.push(pmf);
        }
    }
}

/// A count as an index; counts here are within [`ExactTest::MOST`].
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
