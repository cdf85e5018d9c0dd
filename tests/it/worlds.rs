//! Made-up worlds in which it is known what is true, for asking `prove`, `amplify` and `culprit` how often they are right
//! and what they cost. Seeded: the same on every machine. Also part of `benches/statistics.rs`, which asks more often.

use reproduce_flaky::stats::amplify::{Base, Course, Planned, Recorded, Report, Step as Amplification};
use reproduce_flaky::stats::culprit::{Attempt, Axis, End, Search, Step};
use reproduce_flaky::stats::prove::Plan;
use reproduce_flaky::stats::sign::SignPlan;
use reproduce_flaky::stats::{Answer, Block, Conclusion, Count, draw};

/// Uniform numbers from a seed.
pub(crate) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { seed, thrown: 0 }
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.thrown += 1;
        draw::draw(self.seed, self.thrown, 0)
    }

    pub(crate) fn fails(&mut self, rate: f64) -> bool {
        self.uniform() < rate
    }

    fn answer(&mut self, rate: f64) -> Answer {
        Some(self.fails(rate)).into()
    }

    fn count(&mut self, n: u64, rate: f64) -> Count {
        (0..n).map(|_| self.fails(rate)).collect()
    }

    /// A base in which the class was seen: nobody asks about another one.
    fn base(&mut self, n: u64, rate: f64) -> Count {
        loop {
            let base = self.count(n, rate);
            if base.failed() > 0 {
                return base;
            }
        }
    }
}

/// What came of some trials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trials {
    pub(crate) n: u64,
    /// Trials that ended with the right answer.
    pub(crate) right: u64,
    /// Trials that ended with a wrong one; the rest ended with none.
    pub(crate) wrong: u64,
    /// Runs of each trial.
    pub(crate) runs: Vec<u64>,
}

impl Trials {
    fn add(&mut self, is_right: Option<bool>, runs: u64) {
        self.n += 1;
        self.right += u64::from(is_right == Some(true));
        self.wrong += u64::from(is_right == Some(false));
        self.runs.push(runs);
    }

    pub(crate) fn right(&self) -> f64 {
        self.right as f64 / self.n as f64
    }

    pub(crate) fn wrong(&self) -> f64 {
        self.wrong as f64 / self.n as f64
    }

    pub(crate) fn mean_runs(&self) -> f64 {
        self.runs.iter().sum::<u64>() as f64 / self.n as f64
    }

    /// Runs that a share of the trials stayed within.
    pub(crate) fn runs_of(&self, percent: usize) -> u64 {
        let mut sorted = self.runs.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
    }
}

/// Proofs against a recorded base: "fewer" is right where the fix fails less often.
pub(crate) fn proofs(dice: &mut Dice, trials: u64, base_of: u64, rate: f64, fix_rate: f64) -> Trials {
    let mut found = Trials::default();
    for _ in 0..trials {
        let plan = Plan::choose(dice.base(base_of, rate), 0.0, 0.8).unwrap();
        let mut runs = Vec::new();
        while plan.wanted(&runs) > 0 {
            // As many as may be in flight, so that nothing is asked a thousand times.
            let wanted = plan.wanted(&runs);
            let first_failure = (0..wanted).find(|_| dice.fails(fix_rate));
            runs.extend(std::iter::repeat_n(
                Answer::Passed,
                usize::try_from(first_failure.unwrap_or(wanted)).unwrap(),
            ));
            runs.extend(first_failure.map(|_| Answer::Failed));
        }
        let decision = plan.decide(&runs);
        let is_shown = decision.conclusion == Some(Conclusion::Fewer);
        found.add(is_shown.then_some(fix_rate < rate), decision.fix.of());
    }
    found
}

/// The same with the base run again beside the fix; runs are blocks.
pub(crate) fn controls(dice: &mut Dice, trials: u64, rate: f64, fix_rate: f64) -> Trials {
    let mut found = Trials::default();
    let plan = SignPlan::allowing(0);
    for _ in 0..trials {
        let mut blocks = Vec::new();
        while plan.wanted(&blocks) > 0 {
            for _ in 0..plan.wanted(&blocks) {
                let (higher, lower) = (dice.answer(rate), dice.answer(fix_rate));
                blocks.push(Block { higher, lower });
            }
        }
        let decision = plan.decide(&blocks);
        let is_shown = decision.conclusion == Some(Conclusion::Fewer);
        found.add(is_shown.then_some(fix_rate < rate), decision.blocks);
    }
    found
}

/// A class that some knobs amplify.
pub(crate) struct Amplifiable {
    /// Rate with every knob off.
    pub(crate) rate: f64,
    /// By what each knob multiplies it.
    pub(crate) factors: Vec<f64>,
    /// Probability that the knob breaks the suite; half of the target's failures are then not seen.
    pub(crate) breaks: Vec<f64>,
}

impl Amplifiable {
    /// Knobs that do nothing, but for the first ones.
    pub(crate) fn new(rate: f64, knobs: usize, factors: &[f64]) -> Amplifiable {
        let mut all = factors.to_vec();
        all.resize(knobs, 1.0);
        Amplifiable {
            rate,
            factors: all,
            breaks: vec![0.0; knobs],
        }
    }

    fn product(&self, on: u32, of: impl Fn(usize) -> f64) -> f64 {
        (0..self.factors.len())
            .filter(|knob| on >> knob & 1 == 1)
            .map(of)
            .product()
    }

    fn rate_with(&self, on: u32) -> f64 {
        let broken = 1.0 - self.product(on, |knob| 1.0 - self.breaks[knob]);
        (self.rate * self.product(on, |knob| self.factors[knob])).min(0.9) * (1.0 - broken / 2.0)
    }

    fn run(&self, dice: &mut Dice, planned: Planned) -> Recorded {
        let broken = 1.0 - self.product(planned.on, |knob| 1.0 - self.breaks[knob]);
        let other = dice.fails(broken);
        let failed = dice.fails((self.rate * self.product(planned.on, |knob| self.factors[knob])).min(0.9));
        let is_hidden = other && dice.fails(0.5);
        Recorded {
            planned,
            target: Some(failed && !is_hidden),
            other,
        }
    }

    fn best(&self) -> f64 {
        (0..1_u32 << self.factors.len())
            .map(|on| self.rate_with(on))
            .fold(0.0, f64::max)
    }
}

/// What came of some amplifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amplified {
    /// Right: shown, with at least 0.6 of the best rate there is. Wrong: shown with less.
    pub(crate) trials: Trials,
    /// Of those shown: lower bound of the rate at least 15 %.
    pub(crate) high: u64,
    /// Of those shown: the bound is below the true rate.
    pub(crate) covered: u64,
    /// Trials that called a knob one that matters which does nothing, or less than nothing.
    pub(crate) misnamed: u64,
}

pub(crate) fn amplifications(dice: &mut Dice, trials: u64, world: &Amplifiable, max_runs: u64) -> Amplified {
    let mut found = Amplified::default();
    let best = world.best();
    for trial in 0..trials {
        let course = Course {
            knobs: world.factors.len(),
            base: Base {
                target: dice.base(75, world.rate),
                other: 0,
            },
            seed: dice.seed.wrapping_mul(1_000_003).wrapping_add(trial),
            max_runs,
            block: Course::block_size(1),
        };
        let mut recorded = Vec::new();
        let report = loop {
            match course.next(&recorded) {
                Amplification::Run(runs) => recorded.extend(runs.into_iter().map(|run| world.run(dice, run))),
                Amplification::Shown(report) => break Some(report),
                Amplification::Stopped(_) => break None,
            }
        };
        let spent = recorded.len() as u64;
        match report {
            Some(report) => found.add(world, &report, best, spent),
            None => found.trials.add(None, spent),
        }
    }
    found
}

impl Amplified {
    fn add(&mut self, world: &Amplifiable, report: &Report, best: f64, runs: u64) {
        let on = report.winner.iter().fold(0, |mask, knob| mask | 1 << knob);
        let rate = world.rate_with(on);
        self.trials.add(Some(rate >= 0.6 * best && rate > world.rate), runs);
        self.high += u64::from(report.bounds.rate >= 0.15);
        self.covered += u64::from(report.bounds.rate <= rate);
        let mut named = report.factors.iter().zip(&world.factors);
        self.misnamed += u64::from(named.any(|(found, factor)| found.low > 1.0 && *factor <= 1.0));
    }

    pub(crate) fn shown(&self) -> f64 {
        self.trials.right() + self.trials.wrong()
    }
}

/// A range of candidates with a change, or none.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) n: usize,
    /// Rate before the change.
    pub(crate) before: f64,
    /// Rate from the change on; also of every candidate where there is none.
    pub(crate) after: f64,
    pub(crate) has_change: bool,
}

/// Searches for the culprit without a limit on runs; the change is anywhere. Right: its candidate, or that there is
/// none. Wrong: another candidate.
pub(crate) fn searches(dice: &mut Dice, trials: u64, range: Range, is_confirmed: bool, jobs: usize) -> Trials {
    let mut found = Trials::default();
    for _ in 0..trials {
        let change = if range.has_change {
            (1..=range.n)
                .find(|at| dice.fails(1.0 / (range.n - at + 1) as f64))
                .unwrap()
        } else {
            0
        };
        let rate = |candidate: usize| {
            if range.has_change && candidate < change {
                range.before
            } else {
                range.after
            }
        };
        let search = Search {
            axis: Axis::new(range.n),
            max_runs: 1_000_000,
            is_confirmed,
        };
        let mut attempts = vec![Attempt {
            probes: vec![Count::default(); range.n + 1],
            ..Attempt::default()
        }];
        let mut spent = 0;
        let is_right = loop {
            match search.next(&attempts, spent, jobs) {
                Step::Probe(candidates) => {
                    if attempts.last().unwrap().culprit.is_some() {
                        attempts.push(Attempt {
                            probes: vec![Count::default(); range.n + 1],
                            ..Attempt::default()
                        });
                    }
                    for candidate in candidates {
                        spent += 1;
                        let count = &mut attempts.last_mut().unwrap().probes[candidate];
                        let failed = u64::from(dice.fails(rate(candidate)));
                        *count = Count::new(count.failed() + failed, count.of() + 1).unwrap();
                    }
                }
                Step::Confirm { culprit, plan } => {
                    let is_over = |attempt: &Attempt| attempt.culprit.is_some() && plan.wanted(&attempt.blocks) == 0;
                    if is_over(attempts.last().unwrap()) {
                        attempts.push(Attempt::default());
                    }
                    let attempt = attempts.last_mut().unwrap();
                    attempt.culprit = Some(culprit);
                    for _ in 0..plan.wanted(&attempt.blocks) {
                        spent += 2;
                        let (higher, lower) = (dice.answer(rate(culprit)), dice.answer(rate(culprit - 1)));
                        attempt.blocks.push(Block { higher, lower });
                    }
                }
                Step::Over(End::Culprit { candidate, .. }) => break Some(candidate == change),
                Step::Over(End::NoCulprit { .. }) if !range.has_change => break Some(true),
                Step::Over(_) => break None,
            }
        };
        found.add(is_right, spent);
    }
    found
}
