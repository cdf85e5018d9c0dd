//! How often `prove`, `amplify` and `culprit` are right and what they cost, in worlds in which the truth is known. The
//! figures are the published ones of each method; `benches/statistics.rs` asks the same in more worlds and more often.

use reproduce_flaky::stats::Count;
use reproduce_flaky::stats::binomial::ln_pmf;
use reproduce_flaky::stats::prove::looks;

use crate::worlds::{Amplifiable, Dice, Range, Trials, amplifications, controls, proofs, searches};

/// Three standard errors of a share of so many trials around the published one, and its rounding.
#[track_caller]
fn is_about(share: f64, published: f64, trials: u64) {
    let error = (published.max(0.02) * (1.0 - published.min(0.98)) / trials as f64).sqrt();
    assert!(
        (share - published).abs() < 3.0 * error + 0.01,
        "{share}, not {published}"
    );
}

/// Three standard errors of a mean around the published one, and the rounding of both.
#[track_caller]
fn takes_about(trials: &Trials, published: f64) {
    let mean = trials.mean_runs();
    let squares: f64 = trials.runs.iter().map(|runs| (*runs as f64 - mean).powi(2)).sum();
    let error = squares.sqrt() / trials.n as f64;
    assert!(
        (mean - published).abs() < 3.0 * error + 0.02 * published + 0.5,
        "{mean}, not {published}"
    );
}

/// Probability of each number of failures from 1, given that there is one.
fn seen(of: u64, rate: f64) -> impl Iterator<Item = (u64, f64)> {
    let passed = move |k: u64| ln_pmf(k, of, rate).exp();
    let any = 1.0 - passed(0);
    (1..=of).map(move |k| (k, passed(k) / any))
}

#[test]
fn a_fix_that_fixes_nothing_is_shown_in_as_few_cases_as_published() {
    // By the base's failures of 75: the clean runs that show a fix.
    let clean: Vec<u64> = (1..=75)
        .map(|k| looks(Count::new(k, 75).unwrap(), 0)[0].unwrap())
        .collect();
    let mean = |rate: f64, of: &dyn Fn(u64) -> f64| -> f64 {
        let cases = seen(75, rate).zip(&clean);
        cases.map(|((_, p), look)| p * of(*look)).sum()
    };
    // Rate; shown without a fix in percent; runs with a complete fix and without one.
    for (rate, percent, runs_fixed, runs_same) in [
        (0.005, 5.4, 1219.0, 189.0),
        (0.01, 4.2, 1034.0, 96.0),
        (0.02, 3.3, 725.0, 48.0),
        (0.03, 3.2, 496.0, 32.0),
        (0.05, 3.2, 227.0, 19.0),
        (0.08, 3.5, 81.0, 12.0),
        (0.15, 3.9, 25.0, 6.0),
        (0.26, 3.9, 12.0, 4.0),
        (0.68, 2.8, 3.0, 1.0),
    ] {
        let passes = |look: u64| (look as f64 * f64::ln_1p(-rate)).exp();
        let wrong = mean(rate, &passes);
        assert!((100.0 * wrong - percent).abs() < 0.1, "{rate}: {wrong}");
        let fixed = mean(rate, &|look| look as f64);
        assert!((fixed - runs_fixed).abs() <= 0.51, "{rate}: {fixed}");
        let same = mean(rate, &|look| (1.0 - passes(look)) / rate);
        assert!((same - runs_same).abs() <= 0.51, "{rate}: {same}");
    }
}

#[test]
fn of_fixes_and_non_fixes_few_are_shown_wrongly_and_every_complete_fix_is_shown() {
    for (base_of, published) in [(50, 0.015), (75, 0.013), (100, 0.018)] {
        let mut dice = Dice::new(base_of);
        let (mut wrong, trials) = (0, 125);
        for rate in [0.02, 0.03, 0.08, 0.26] {
            wrong += proofs(&mut dice, trials, base_of, rate, rate).wrong;
            assert_eq!(
                proofs(&mut dice, trials, base_of, rate, 0.0).right,
                trials,
                "{base_of} at {rate}"
            );
        }
        is_about(wrong as f64 / (8 * trials) as f64, published, 8 * trials);
    }
}

#[test]
fn a_fix_beside_its_base_is_shown_within_the_published_number_of_blocks() {
    let mut dice = Dice::new(2);
    for (rate, blocks, half, wrong) in [(0.68, 7.0, 7, 0.001), (0.26, 19.0, 18, 0.014), (0.08, 62.0, 59, 0.025)] {
        let fixed = controls(&mut dice, 1000, rate, 0.0);
        assert_eq!(fixed.right, 1000, "{rate}");
        takes_about(&fixed, blocks);
        let half_by = fixed.runs_of(50);
        assert!(half_by.abs_diff(half) <= 1 + half / 20, "{rate}: {half_by}");
        is_about(controls(&mut dice, 1000, rate, rate).wrong(), wrong, 1000);
    }
}

#[test]
fn knobs_that_amplify_are_found_as_often_as_published() {
    for (world, shown, right, runs) in [
        (Amplifiable::new(0.03, 4, &[4.0, 4.0]), 0.99, 0.98, 76.0),
        (Amplifiable::new(0.01, 6, &[30.0]), 0.99, 0.99, 101.0),
        (Amplifiable::new(0.02, 10, &[10.0]), 0.64, 0.64, 135.0),
    ] {
        let found = amplifications(&mut Dice::new(3), 150, &world, 150);
        is_about(found.shown(), shown, 150);
        is_about(found.trials.right(), right, 150);
        takes_about(&found.trials, runs);
        let shown = found.trials.right + found.trials.wrong;
        is_about(found.covered as f64 / shown as f64, 0.95, shown);
        is_about(found.misnamed as f64 / 150.0, 0.03, 150);
    }
}

#[test]
fn knobs_that_do_nothing_are_not_shown() {
    let found = amplifications(&mut Dice::new(4), 150, &Amplifiable::new(0.03, 8, &[]), 150);
    assert_eq!((found.trials.right, found.trials.wrong, found.high), (0, 0, 0));
    takes_about(&found.trials, 118.0);
}

#[test]
fn a_breaker_is_dropped_and_the_others_are_still_found() {
    let mut world = Amplifiable::new(0.03, 4, &[1.0, 6.0, 4.0]);
    world.breaks[0] = 0.5;
    let found = amplifications(&mut Dice::new(6), 100, &world, 150);
    assert!(found.trials.right >= 90, "{found:?}");
}

#[test]
fn a_culprit_is_named_as_often_and_as_cheaply_as_published() {
    let changed = |n, after| Range {
        n,
        before: 0.0,
        after,
        has_change: true,
    };
    for (range, right, runs) in [
        (changed(8, 0.3), 0.99, 52.0),
        (changed(8, 1.0), 1.0, 9.0),
        (changed(32, 0.5), 0.97, 38.0),
        (changed(32, 1.0), 1.0, 11.0),
    ] {
        let named = searches(&mut Dice::new(5), 60, range, false, 1);
        is_about(named.right(), right, 60);
        takes_about(&named, runs);
    }
    for (range, runs) in [(changed(8, 0.3), 88.0), (changed(32, 1.0), 21.0)] {
        let confirmed = searches(&mut Dice::new(6), 40, range, true, 1);
        assert_eq!((confirmed.right, confirmed.wrong), (40, 0));
        takes_about(&confirmed, runs);
    }
}

#[test]
fn a_range_without_a_change_has_no_culprit() {
    for (n, rate, right, runs) in [(8, 0.3, 0.97, 60.0), (32, 1.0, 1.0, 7.0)] {
        let range = Range {
            n,
            before: rate,
            after: rate,
            has_change: false,
        };
        let named = searches(&mut Dice::new(7), 60, range, false, 1);
        is_about(named.right(), right, 60);
        takes_about(&named, runs);
        assert_eq!(searches(&mut Dice::new(8), 30, range, true, 1).wrong, 0);
    }
}

#[test]
fn several_probes_at_once_cost_few_more_runs() {
    let range = Range {
        n: 32,
        before: 0.0,
        after: 0.3,
        has_change: true,
    };
    for (jobs, runs) in [(4, 80.0), (16, 97.0)] {
        takes_about(&searches(&mut Dice::new(9), 40, range, false, jobs), runs);
    }
}
