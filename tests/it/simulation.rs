//! How often the figures are wrong where nothing happened, and how often they notice what did: seeded simulations.
//!
//! The limits are those that the methods promise; the measured shares are close to the ones in the comments.

use reproduce_flaky::stats::{self, ArmsTest, Count, regime};

/// `SplitMix64`: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn fails(&mut self, rate: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64) / ((1_u64 << 53) as f64) < rate
    }

    fn series(&mut self, parts: &[(usize, f64)]) -> Vec<bool> {
        parts
            .iter()
            .flat_map(|(n, rate)| vec![*rate; *n])
            .map(|rate| self.fails(rate))
            .collect()
    }

    fn count(&mut self, n: u64, rate: f64) -> Count {
        let failed = (0..n).filter(|_| self.fails(rate)).count() as u64;
        Count::new(failed, n).expect("no more failed than there are")
    }
}

fn share(n: usize, mut holds: impl FnMut() -> bool) -> f64 {
    (0..n).filter(|_| holds()).count() as f64 / n as f64
}

/// Iterations at which `k` failures first are evidence that the rate is below the limit.
fn first_proof(k: u64, limit: f64) -> u64 {
    let is_proof = |n: u64| stats::log_e_below(Count::new(k, n).expect("k of n"), limit) >= Some(20.0_f64.ln());
    let (mut low, mut high) = (k, k + 10_000);
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        *(if is_proof(middle) { &mut high } else { &mut low }) = middle;
    }
    high
}

#[test]
fn a_rate_at_the_limit_is_rarely_called_below_it_though_one_looks_a_thousand_times() {
    let limit = 0.03;
    let proofs: Vec<u64> = (0..=100).map(|k| first_proof(k, limit)).collect();
    let mut dice = Dice(1);
    let alarms = share(4000, || {
        let mut failed = 0;
        (1..=1000).any(|n| {
            failed += usize::from(dice.fails(limit));
            n >= proofs[failed]
        })
    });
    // 4.0 % of 4,000 sweeps of 1,000.
    assert!((0.03..0.05).contains(&alarms), "{alarms}");
}

/// Shares of streams that were decided within each number of blocks.
fn decided(dice: &mut Dice, rates: (f64, f64), streams: usize, blocks: usize, within: &[usize]) -> Vec<f64> {
    let ends: Vec<usize> = (0..streams)
        .map(|_| {
            let mut test = ArmsTest::default();
            (1..=blocks)
                .find(|_| {
                    test.observe(dice.fails(rates.0), dice.fails(rates.1));
                    test.is_decided(0.05)
                })
                .unwrap_or(usize::MAX)
        })
        .collect();
    within
        .iter()
        .map(|within| ends.iter().filter(|end| *end <= within).count() as f64 / streams as f64)
        .collect()
}

#[test]
fn arms_that_fail_alike_are_rarely_told_apart() {
    let mut dice = Dice(2);
    for rate in [0.03, 0.26, 0.68] {
        // 3.1, 2.6 and 2.6 % of streams of 500 blocks.
        let alarms = decided(&mut dice, (rate, rate), 3000, 500, &[500])[0];
        assert!((0.01..0.045).contains(&alarms), "{rate}: {alarms}");
    }
}

#[test]
fn arms_that_differ_are_told_apart_after_about_the_published_number_of_blocks() {
    let mut dice = Dice(3);
    for (rate, half, most) in [(0.08, 73, 100), (0.26, 23, 31), (0.68, 8, 10)] {
        let shares = decided(&mut dice, (rate, 0.0), 1500, most, &[half - 1, half, most - 1, most]);
        assert!(shares[0] < 0.53 && shares[1] > 0.47, "{rate}, half: {shares:?}");
        assert!(shares[2] < 0.83 && shares[3] > 0.77, "{rate}, 80 %: {shares:?}");
    }
}

fn found(dice: &mut Dice, n: usize, parts: &[(usize, f64)]) -> f64 {
    share(n, || regime::best_split(&dice.series(parts)).p < regime::LEVEL)
}

#[test]
fn one_rate_is_rarely_taken_for_two() {
    let mut dice = Dice(4);
    for rate in [0.03, 0.1, 0.26, 0.5] {
        // 0.7 to 0.8 %.
        let alarms = found(&mut dice, 2500, &[(100, rate)]);
        assert!(alarms < 0.0125, "{rate}: {alarms}");
    }
}

#[test]
fn a_rate_that_rises_in_the_last_ten_of_a_hundred_is_noticed_as_often_as_published() {
    let mut dice = Dice(5);
    for (before, after, published) in [(0.0, 0.5, 0.97), (0.03, 0.5, 0.80), (0.03, 0.3, 0.37)] {
        let power = found(&mut dice, 1500, &[(90, before), (10, after)]);
        assert!((power - published).abs() < 0.05, "{before} to {after}: {power}");
    }
}

#[test]
fn a_true_split_rarely_brings_a_false_one_with_it() {
    let mut dice = Dice(6);
    let extra = share(1500, || {
        regime::regimes(&dice.series(&[(60, 0.0), (60, 0.5)])).0.len() > 2
    });
    // At most 1.7 %.
    assert!(extra < 0.025, "{extra}");
}

#[test]
fn verdicts_of_comparisons_without_a_change_are_wrong_in_fewer_than_one_of_twenty() {
    use reproduce_flaky::stats::comparison::{Comparison, Finding, Question};
    use reproduce_flaky::stats::sample::Sample;
    let mut dice = Dice(7);
    for (n, rate) in [(300, 0.26), (50, 0.26), (100, 0.03)] {
        let wrong = share(3000, || {
            let side = |count| Sample::from_counts("", count);
            let (base, new) = (side(dice.count(n, rate)), side(dice.count(n, rate)));
            Comparison::new(&base, &new, Question::default()).classes[0].verdict != Finding::NoEvidence
        });
        assert!(wrong < 0.05, "{n} at {rate}: {wrong}");
    }
}
