//! The statistics of `prove`, `amplify` and `culprit` at full size: how often each is wrong in worlds in which the truth
//! is known, what each costs, and how long a p-value and a decision take.
//!
//! `cargo bench --bench statistics [-- TRIALS]`: trials of a row, 1000 unless told otherwise. Times are ratios against
//! Fisher's test of the same counts in the same run, beside milliseconds on this machine.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::time::Instant;

use reproduce_flaky::stats::amplify::{Base, Run, State};
use reproduce_flaky::stats::culprit::Axis;
use reproduce_flaky::stats::prove::Plan;
use reproduce_flaky::stats::sign::SignPlan;
use reproduce_flaky::stats::{Count, ExactTest};

#[path = "../tests/it/worlds.rs"]
mod worlds;

use worlds::{Amplifiable, Dice, Range, amplifications, controls, proofs, searches};

fn main() {
    let trials = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(1000);
    times();
    prove(trials);
    amplify(trials);
    culprit(trials);
}

fn count(failed: u64, of: u64) -> Count {
    Count::new(failed, of).unwrap()
}

/// The shortest of nine, in milliseconds: the others were interrupted.
fn time<T>(repeat: u32, work: impl Fn() -> T) -> f64 {
    let times = (0..9).map(|_| {
        let began = Instant::now();
        for _ in 0..repeat {
            black_box(work());
        }
        began.elapsed().as_secs_f64() * 1000.0 / f64::from(repeat)
    });
    times.fold(f64::INFINITY, f64::min)
}

fn times() {
    println!("a p-value, by Fisher's, Barnard's and Boschloo's test (ratios to Fisher's):");
    for (base, new) in [
        ((13, 50), (5, 50)),
        ((300, 1000), (250, 1000)),
        ((3000, 10_000), (2900, 10_000)),
    ] {
        let (base, new) = (count(base.0, base.1), count(new.0, new.1));
        let by = |test: ExactTest, repeat| time(repeat, || test.p_values(black_box(base), black_box(new)));
        let fisher = by(ExactTest::Fisher, 200);
        let (barnard, boschloo) = (by(ExactTest::Barnard, 1), by(ExactTest::Boschloo, 1));
        println!(
            "  {base} and {new}: {fisher:.4} ms, {barnard:.2} ms ({:.0}), {boschloo:.2} ms ({:.0})",
            barnard / fisher,
            boschloo / fisher
        );
    }
    println!("a plan and a decision:");
    let base = count(13, 50);
    println!("  prove: plan {:.2} ms", time(1, || Plan::choose(base, 0.25, 0.8)));
    println!(
        "  prove --control: plan {:.2} ms",
        time(1, || SignPlan::for_control(base, 0.25, 0.8))
    );
    let base = Base {
        target: count(2, 75),
        other: 0,
    };
    let mut dice = Dice::new(1);
    let mut run = || Run {
        on: (0..10).map(|knob| u32::from(dice.fails(0.5)) << knob).sum(),
        target: Some(dice.fails(0.1)),
        other: false,
    };
    let runs: Vec<Run> = (0..150).map(|_| run()).collect();
    println!(
        "  amplify: state of 10 knobs after 150 runs {:.2} ms",
        time(5, || State::of(10, base, &runs))
    );
    for n in [32, 1024] {
        let counts: Vec<Count> = (0..=n)
            .map(|candidate| count(3 * u64::from(candidate > n / 2), 9))
            .collect();
        let axis = Axis::new(n);
        println!(
            "  culprit: next of {n} candidates {:.2} ms",
            time(5, || axis.next(&counts, 1))
        );
    }
}

fn prove(trials: u64) {
    println!("\nprove, a recorded base of 75: wrongly shown without a fix; runs without and with a complete fix");
    for rate in [0.02, 0.03, 0.08, 0.26, 0.68] {
        let dice = &mut Dice::new(1);
        let (same, fixed) = (
            proofs(dice, trials, 75, rate, rate),
            proofs(dice, trials, 75, rate, 0.0),
        );
        println!(
            "  {:2.0} %: {:.1} %, {:.0} runs; shown {:.1} %, {:.0} runs (median {})",
            100.0 * rate,
            100.0 * same.wrong(),
            same.mean_runs(),
            100.0 * fixed.right(),
            fixed.mean_runs(),
            fixed.runs_of(50)
        );
    }
    println!("mixed fixes and non-fixes at 2, 3, 8 and 26 %: wrong, complete fixes shown");
    for base_of in [50, 75, 100] {
        let dice = &mut Dice::new(base_of);
        let (mut wrong, mut right) = (0, 0);
        for rate in [0.02, 0.03, 0.08, 0.26] {
            wrong += proofs(dice, trials / 8, base_of, rate, rate).wrong;
            right += proofs(dice, trials / 8, base_of, rate, 0.0).right;
        }
        let of = (trials / 8 * 4) as f64;
        println!(
            "  base of {base_of}: {:.1} %, {:.1} %",
            50.0 * wrong as f64 / of,
            100.0 * right as f64 / of
        );
    }
    println!("prove --control: wrongly shown without a fix; blocks with a complete fix: mean, half by, 80 % by");
    for rate in [0.03, 0.08, 0.26, 0.68] {
        let dice = &mut Dice::new(2);
        let (same, fixed) = (controls(dice, trials, rate, rate), controls(dice, trials, rate, 0.0));
        println!(
            "  {:2.0} %: {:.1} %; {:.0}, {}, {}",
            100.0 * rate,
            100.0 * same.wrong(),
            fixed.mean_runs(),
            fixed.runs_of(50),
            fixed.runs_of(80)
        );
    }
}

fn amplify(trials: u64) {
    let breaking = |mut world: Amplifiable, knob: usize, breaks| {
        world.breaks[knob] = breaks;
        world
    };
    let worlds = [
        ("2 %, x10, of 10", Amplifiable::new(0.02, 10, &[10.0])),
        ("2 %, x6 and x3, of 10", Amplifiable::new(0.02, 10, &[6.0, 3.0])),
        ("1 %, x30, of 6", Amplifiable::new(0.01, 6, &[30.0])),
        ("3 %, x4 and x4, of 4", Amplifiable::new(0.03, 4, &[4.0, 4.0])),
        (
            "2 %, x5 x3 x2, cure x0.3, breaker 0.3, of 12",
            breaking(Amplifiable::new(0.02, 12, &[5.0, 3.0, 2.0, 0.3]), 4, 0.3),
        ),
        (
            "3 %, x6, two cure x0.1, of 8",
            Amplifiable::new(0.03, 8, &[6.0, 0.1, 0.1]),
        ),
        ("3 %, x4, of 10", Amplifiable::new(0.03, 10, &[4.0])),
        ("none of 8, 3 %", Amplifiable::new(0.03, 8, &[])),
        ("none of 12, 5 %", Amplifiable::new(0.05, 12, &[])),
    ];
    println!(
        "\namplify within 150 and 300 runs: shown, right, runs; of those shown: bound of at least 15 %, covered; misnamed"
    );
    for (name, world) in worlds {
        for max_runs in [150, 300] {
            let found = amplifications(&mut Dice::new(3), trials, &world, max_runs);
            let shown = (found.trials.right + found.trials.wrong).max(1) as f64;
            println!(
                "  {name}, {max_runs}: {:.3}, {:.3}, {:.0}; {:.2}, {:.2}; {:.3}",
                found.shown(),
                found.trials.right(),
                found.trials.mean_runs(),
                found.high as f64 / shown,
                found.covered as f64 / shown,
                found.misnamed as f64 / found.trials.n as f64
            );
        }
    }
}

fn culprit(trials: u64) {
    let trials = trials / 5;
    println!("\nculprit, {trials} searches a cell: right, wrong, mean runs (90 % within); the same with confirmation");
    for n in [8, 32, 128] {
        for after in [0.1, 0.3, 1.0] {
            let changed = |ratio: f64| Range {
                n,
                before: ratio * after,
                after,
                has_change: true,
            };
            let unchanged = Range {
                has_change: false,
                ..changed(1.0)
            };
            let mut cells = vec![("before 0", changed(0.0)), ("no change", unchanged)];
            if n < 128 {
                // Thousands of runs a search.
                cells.push(("before a third", changed(1.0 / 3.0)));
            }
            for (name, range) in cells {
                let dice = &mut Dice::new(4);
                let named = searches(dice, trials, range, false, 1);
                let confirmed = searches(dice, trials, range, true, 1);
                println!(
                    "  {n}, {:.0} %, {name}: {:.3}, {:.3}, {:.0} ({}); {:.3}, {:.3}, {:.0}",
                    100.0 * after,
                    named.right(),
                    named.wrong(),
                    named.mean_runs(),
                    named.runs_of(90),
                    confirmed.right(),
                    confirmed.wrong(),
                    confirmed.mean_runs()
                );
            }
        }
    }
    println!("several at once, 32 candidates, 10 % from the change on, 0 before: runs");
    for jobs in [1, 4, 8, 16] {
        let range = Range {
            n: 32,
            before: 0.0,
            after: 0.1,
            has_change: true,
        };
        let found = searches(&mut Dice::new(5), trials, range, false, jobs);
        println!("  {jobs}: {:.0}", found.mean_runs());
    }
}
