//! Random numbers that follow from their place: a resume draws the same without any state.
//!
//! Source: `SplitMix64` (G. Steele, D. Lea and C. Flood, 2014).

/// The place of the draw that decides which side of a block runs first; knobs number from 0 and stay below it.
pub const ORDER: u64 = 63;

/// Uniform in [0, 1), by a seed, the number of an iteration from 1, and a knob from 0 to 63.
pub fn draw(seed: u64, iteration: u64, knob: u64) -> f64 {
    let place = iteration.wrapping_mul(64).wrapping_add(knob).wrapping_add(1);
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(place));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether the higher side of a block runs before the lower one; `first` is the number of the block's first iteration.
pub fn is_higher_first(seed: u64, first: u64) -> bool {
    draw(seed, first, ORDER) < 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_below_one_and_differ_by_each_part_of_their_place() {
        let places = [(0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 1, 0), (u64::MAX, u64::MAX, 63)];
        let mut drawn: Vec<f64> = places.iter().map(|&(seed, i, knob)| draw(seed, i, knob)).collect();
        assert!(drawn.iter().all(|u| (0.0..1.0).contains(u)));
        drawn.sort_by(f64::total_cmp);
        drawn.dedup();
        assert_eq!(drawn.len(), places.len());
    }

    #[test]
    fn each_side_runs_first_about_half_the_time() {
        let first = (0..1000).filter(|block| is_higher_first(7, 1 + 2 * block)).count();
        assert!((440..560).contains(&first), "{first}");
    }
}
