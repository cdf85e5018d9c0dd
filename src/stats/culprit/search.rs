//! The course of a search for a culprit: probes until one hypothesis is sure, fresh runs of the culprit beside its
//! parent, and on if these do not confirm it. What it costs is predicted before it starts.

use super::{Axis, CALIBRATION, Next, Posterior};
use crate::stats::block::{Answer, Block, Conclusion};
use crate::stats::rate::{Count, whole};
use crate::stats::sign::{Decision, SignPlan};

/// Confirmations before a search ends without one.
const ATTEMPTS: usize = 3;

/// A search over an axis; recorded with its options, so that a resume has the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub axis: Axis,
    /// Runs, answered or not, after which the search ends with what it knows.
    pub max_runs: u64,
    /// Whether the answer is confirmed on fresh runs.
    pub is_confirmed: bool,
}

/// The runs up to and including one confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Failures of the class in the answered probes of each candidate, 0 to `n`. The runs that were recorded at an end
    /// before the search are probes of the first attempt.
    pub probes: Vec<Count>,
    /// The candidate that is confirmed, from 1; `None` before the probes have named one.
    pub culprit: Option<usize>,
    /// Its fresh runs beside those of its parent, the culprit as the higher side; in order.
    pub blocks: Vec<Block>,
}

/// What comes next. Candidates are numbered along the axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// One run of each of these candidates, ascending; the next step is asked when all have ended.
    Probe(Vec<usize>),
    /// Fresh blocks of this candidate and the one before it, as many as [`SignPlan::wanted`] has it at a time. A run of
    /// them belongs to the attempt that is then the last.
    Confirm {
        /// From 1 to `n`.
        culprit: usize,
        /// When it is confirmed, and when it is given up.
        plan: SignPlan,
    },
    Over(End),
}

/// What a search came to; `p` is the posterior probability of that, before the confirmation where there was one.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The change came with this candidate.
    Culprit {
        candidate: usize,
        p: f64,
        /// `None` where nothing was to be confirmed.
        confirmation: Option<Decision>,
    },
    /// The rate did not change along the axis.
    NoCulprit { p: f64 },
    /// The bad end fails too seldom: amplify the class first.
    TooRare { bad_end: Count },
    /// The runs ended first.
    Between {
        /// The fewest candidates, ascending, that hold 95 % of the probability, with "no change" where `or_none`.
        candidates: Vec<usize>,
        or_none: bool,
        p: f64,
    },
    /// The likeliest candidate; three confirmations did not confirm what they were of.
    NotConfirmed { candidate: usize, p: f64 },
    /// Fewer than two candidates can be run.
    TooFew,
}

impl End {
    /// The same with the candidates' numbers looked up in a list.
    #[must_use]
    pub fn renumbered(mut self, numbers: &[usize]) -> End {
        match &mut self {
            End::Culprit { candidate, .. } | End::NotConfirmed { candidate, .. } => *candidate = numbers[*candidate],
            End::Between { candidates, .. } => candidates.iter_mut().for_each(|at| *at = numbers[*at]),
            End::NoCulprit { .. } | End::TooRare { .. } | End::TooFew => {}
        }
        self
    }
}

impl Search {
    /// What comes next after the recorded runs, with so many in flight at once. `spent` is the number of runs that the
    /// search has started, answered or not, its confirmations among them.
    ///
    /// An attempt whose `culprit` is set is under confirmation or was refuted; [`Search::next`] tells which by replaying
    /// it from the attempts before it.
    pub fn next(&self, attempts: &[Attempt], spent: u64, jobs: usize) -> Step {
        let mut counts = vec![Count::default(); self.axis.n() + 1];
        let mut refuted = 0;
        for attempt in attempts {
            for (candidate, &probes) in attempt.probes.iter().enumerate() {
                add(&mut counts, candidate, probes);
            }
            let Some(culprit) = attempt.culprit.filter(|culprit| (1..counts.len()).contains(culprit)) else {
                continue;
            };
            let posterior = self.axis.posterior(&counts);
            let plan = confirmation(culprit, &counts, &posterior);
            let p = posterior.change[culprit - 1];
            let decision = plan.decide(&attempt.blocks);
            match decision.conclusion {
                None if spent < self.max_runs => return Step::Confirm { culprit, plan },
                Some(Conclusion::Fewer) => {
                    return Step::Over(End::Culprit {
                        candidate: culprit,
                        p,
                        confirmation: Some(decision),
                    });
                }
                None | Some(Conclusion::More | Conclusion::NotShown) => {
                    refuted += 1;
                    for (candidate, side) in [(culprit, true), (culprit - 1, false)] {
                        let of = |block: &Block| if side { block.higher } else { block.lower };
                        let runs: Vec<Answer> = attempt.blocks.iter().map(of).collect();
                        add(&mut counts, candidate, Answer::count(&runs));
                    }
                }
            }
        }
        self.search(&counts, refuted, spent, jobs)
    }

    fn search(&self, counts: &[Count], refuted: usize, spent: u64, jobs: usize) -> Step {
        let is_over = spent >= self.max_runs;
        let bad_end = counts[self.axis.n()];
        if bad_end.failed() < CALIBRATION && 3 * spent >= self.max_runs {
            return Step::Over(End::TooRare { bad_end });
        }
        let posterior = self.axis.posterior(counts);
        if refuted >= ATTEMPTS {
            let (candidate, p) = posterior.most_likely();
            return Step::Over(End::NotConfirmed { candidate, p });
        }
        match self.axis.next(counts, jobs) {
            Next::NoCulprit { p } => Step::Over(End::NoCulprit { p }),
            Next::Culprit { candidate, p } if !self.is_confirmed => Step::Over(End::Culprit {
                candidate,
                p,
                confirmation: None,
            }),
            Next::Culprit { .. } | Next::Probe(_) if is_over => between(&posterior),
            Next::Culprit { candidate, .. } => Step::Confirm {
                culprit: candidate,
                plan: confirmation(candidate, counts, &posterior),
            },
            Next::Probe(mut candidates) => {
                let left = usize::try_from(self.max_runs - spent).unwrap_or(usize::MAX);
                candidates.truncate(left);
                Step::Probe(candidates)
            }
        }
    }
}

fn add(counts: &mut [Count], candidate: usize, more: Count) {
    if let Some(count) = counts.get_mut(candidate) {
        *count = count.plus(more);
    }
}

fn between(posterior: &Posterior) -> Step {
    let mut candidates = posterior.credible();
    candidates.sort_unstable();
    let p = candidates.iter().map(|hypothesis| match hypothesis {
        0 => posterior.none,
        candidate => posterior.change[candidate - 1],
    });
    let p: f64 = p.sum();
    let or_none = candidates.first() == Some(&0);
    candidates.retain(|candidate| *candidate > 0);
    Step::Over(End::Between { candidates, or_none, p })
}

/// The plan that confirms a candidate against its parent, after the counts that named it: one block may speak against
/// it, or eight where the class failed before the candidate too.
pub fn confirmation(culprit: usize, counts: &[Count], posterior: &Posterior) -> SignPlan {
    let has_failed_before = counts.iter().take(culprit).any(|count| count.failed() > 0);
    let plan = SignPlan::allowing(if has_failed_before { 8 } else { 1 });
    let rate = posterior.after.get(culprit).copied().unwrap_or(1.0);
    let most_blocks = (2.0 * plan.boundaries[0] as f64 / rate).ceil();
    plan.within(whole(most_blocks).unwrap_or(u64::MAX))
}

/// Runs that a search takes on average, printed before it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Until a candidate is named.
    pub search: f64,
    /// To confirm it.
    pub confirmation: f64,
}

impl Cost {
    /// Above this many runs it is cheaper to amplify the class first.
    pub const HIGH: f64 = 300.0;

    /// The cost over `n` candidates after the good end. `bad_rate` is the rate at the bad end; the counts are of what is
    /// recorded at the good and the bad end, none where nothing is.
    ///
    /// From simulations: twice as much where the good end fails at a tenth of the bad end's rate, four times at a third,
    /// 0.6 of it with 100 runs recorded at each end.
    pub fn predicted(n: usize, bad_rate: f64, good: Count, bad: Count) -> Cost {
        // The ratio nearest to what was seen, of those that the hypotheses have.
        let times = match good.rate().unwrap_or(0.0) / bad_rate {
            ratio if ratio < 0.05 => 1.0,
            ratio if ratio < 0.2 => 2.0,
            _ => 4.0,
        };
        let recorded = if good.of().min(bad.of()) >= 100 { 0.6 } else { 1.0 };
        Cost {
            search: times * recorded * (8.0 + 2.8 * (n.max(1) as f64).log2()) / bad_rate,
            confirmation: 10.0 / bad_rate,
        }
    }

    pub fn runs(&self) -> f64 {
        self.search + self.confirmation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rate::counts;

    fn search() -> Search {
        Search {
            axis: Axis::new(3),
            max_runs: 500,
            is_confirmed: true,
        }
    }

    /// The culprit is the higher side of a block.
    fn attempt(probes: &[(u64, u64)], culprit: Option<usize>, blocks: &str) -> Attempt {
        Attempt {
            probes: counts(probes),
            culprit,
            blocks: Block::series(blocks),
        }
    }

    const SURE: [(u64, u64); 4] = [(0, 10), (0, 40), (12, 30), (6, 15)];

    #[test]
    fn the_bad_end_is_run_until_it_has_failed_three_times_or_a_third_of_the_runs_is_spent() {
        let next = |bad_end, spent| search().next(&[attempt(&[(0, 0), (0, 0), (0, 0), bad_end], None, "")], spent, 2);
        assert_eq!(next((2, 100), 100), Step::Probe(vec![3, 3]));
        let bad_end = Count::new(2, 167).unwrap();
        assert_eq!(next((2, 167), 167), Step::Over(End::TooRare { bad_end }));
        assert!(matches!(next((3, 167), 167), Step::Probe(_)));
        assert_eq!(search().next(&[], 0, 1), Step::Probe(vec![3]));
    }

    #[test]
    fn a_sure_candidate_is_confirmed_on_fresh_blocks() {
        let Step::Confirm { culprit: 2, plan } = search().next(&[attempt(&SURE, None, "")], 95, 1) else {
            panic!("not named")
        };
        assert_eq!(plan.boundaries, [5, 8]);
        assert!((20..40).contains(&plan.most_blocks.unwrap()), "{plan:?}");
        let next = |blocks| search().next(&[attempt(&SURE, Some(2), blocks)], 95, 1);
        assert!(matches!(next("h.h"), Step::Confirm { culprit: 2, .. }));
        let Step::Over(End::Culprit {
            candidate: 2,
            p,
            confirmation: Some(decision),
        }) = next("h.h.hhh")
        else {
            panic!("not confirmed")
        };
        assert_eq!((decision.only_higher, decision.only_lower, decision.blocks), (5, 0, 7));
        assert!(p >= 0.95);
    }

    #[test]
    fn where_the_class_failed_before_the_candidate_more_blocks_may_speak_against_it() {
        let probes = [(1, 60), (1, 60), (30, 60), (30, 60)];
        let Step::Confirm { plan, .. } = search().next(&[attempt(&probes, None, "")], 240, 1) else {
            panic!("not named")
        };
        assert_eq!(plan.allowed(), 8);
    }

    #[test]
    fn a_candidate_is_not_confirmed_where_that_was_not_asked_for() {
        let search = Search {
            is_confirmed: false,
            ..search()
        };
        let step = search.next(&[attempt(&SURE, None, "")], 95, 1);
        assert!(
            matches!(
                step,
                Step::Over(End::Culprit {
                    candidate: 2,
                    confirmation: None,
                    ..
                })
            ),
            "{step:?}"
        );
    }

    #[test]
    fn blocks_that_refute_a_candidate_are_probes_of_the_next_search() {
        // Its parent fails just as often in fresh runs.
        let probes = [(0, 0), (0, 12), (5, 10), (5, 10)];
        let refuted = attempt(&probes, Some(2), "ll");
        let step = search().next(std::slice::from_ref(&refuted), 36, 1);
        let merged = counts(&[(0, 0), (2, 14), (5, 12), (5, 10)]);
        let Next::Probe(candidates) = Axis::new(3).next(&merged, 1) else {
            panic!("still sure")
        };
        assert_eq!(step, Step::Probe(candidates));
    }

    #[test]
    fn after_three_refutations_the_likeliest_is_named_as_not_confirmed() {
        let silent = ".".repeat(60);
        let attempts = [
            attempt(&[(0, 90), (0, 900), (300, 900), (300, 900)], Some(2), &silent),
            attempt(&[], Some(2), &silent),
            attempt(&[], Some(2), &silent),
        ];
        assert!(matches!(search().next(&attempts[..2], 400, 1), Step::Confirm { .. }));
        let step = search().next(&attempts, 400, 1);
        assert!(
            matches!(step, Step::Over(End::NotConfirmed { candidate: 2, .. })),
            "{step:?}"
        );
    }

    #[test]
    fn at_the_last_run_what_is_left_is_named_as_a_range() {
        let probes = [(0, 20), (0, 0), (0, 0), (5, 20)];
        let step = search().next(&[attempt(&probes, None, "")], 500, 1);
        let Step::Over(End::Between { candidates, p, .. }) = step else {
            panic!("{step:?}")
        };
        assert!(candidates == [1, 2, 3] && p >= 0.95, "{candidates:?}");
        assert_eq!(
            search().next(&[attempt(&probes, None, "")], 498, 8),
            match search().axis.next(&counts(&probes), 8) {
                Next::Probe(candidates) => Step::Probe(candidates[..2].to_vec()),
                other => panic!("{other:?}"),
            }
        );
    }

    #[test]
    fn the_cost_is_that_of_the_published_figures() {
        let none = Count::default();
        let cost = Cost::predicted(32, 0.1, none, none);
        assert!((cost.search - 220.0).abs() < 1e-9 && (cost.runs() - 320.0).abs() < 1e-9);
        let ends = counts(&[(0, 100), (10, 100)]);
        assert!((Cost::predicted(32, 0.1, ends[0], ends[1]).search - 132.0).abs() < 1e-9);
        let ends = counts(&[(1, 100), (10, 99)]);
        assert!((Cost::predicted(32, 0.1, ends[0], ends[1]).search - 440.0).abs() < 1e-9);
        let ends = counts(&[(1, 30), (3, 30)]);
        assert!((Cost::predicted(32, 0.1, ends[0], ends[1]).search - 880.0).abs() < 1e-9);
    }
}
