//! Which of the threads and processes that were stopped for a while go with a failure.
//!
//! Asked for one test: of every run that reached it, what was stopped while it ran. A test that fails may take longer, by
//! its own timeout for one, and would meet more windows for that alone; so only the first seconds count, as many as half
//! of the passed runs took. A failure that comes sooner meets fewer, which can hide a culprit and makes none.
//!
//! Each name is asked whether runs in which it was stopped failed more often than those in which it was not: Fisher's exact
//! test, one-sided, with Holm's correction over all names that were stopped in some runs and not in others; beside it the
//! exact interval of the odds ratio (Cornfield 1956: the noncentral hypergeometric law with both margins held).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::binomial::{ln_hypergeometric, root};
use super::{Count, fisher_greater, holm, p_value};

/// A name goes with a failure where the chance of seeing as much without a cause is below this.
const LEVEL: f64 = 0.05;
/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;
/// Most names that are told of one test.
const MOST: usize = 5;

/// One run of a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    pub failed: bool,
    /// How long it took, in seconds; `None` where it never ended.
    pub duration_s: Option<f64>,
    /// What was stopped meanwhile: its name, and from when to when, in seconds from the test's beginning.
    pub windows: Vec<(String, f64, f64)>,
}

/// A thread or process, by its name, and the runs in which it was stopped.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Suspect {
    pub name: String,
    /// Failed of the runs in which it was stopped.
    pub stopped: Count,
    /// Failed of the runs in which it was not.
    pub spared: Count,
    /// By what the odds of failing are multiplied where it is stopped, at least.
    pub odds_low: f64,
    /// At most; `None` without an end.
    pub odds_high: Option<f64>,
    /// Fisher's exact test, one-sided, after Holm over the names.
    pub p_adjusted: f64,
    /// Whether its windows go with the failure by more than chance.
    pub goes_with: bool,
}

/// What is known of one failing test in a sweep that stopped threads and processes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Starved {
    /// The test; `None` for the session as a whole.
    pub test: Option<String>,
    pub count: Count,
    /// The first seconds of the test, which alone count.
    pub seconds: f64,
    /// Names that were stopped in some runs and not in others.
    pub names: usize,
    /// The likeliest of them, those that go with the failure first.
    pub suspects: Vec<Suspect>,
}

impl Starved {
    /// From every run that reached the test.
    pub fn of(test: Option<String>, courses: &[Course]) -> Starved {
        let seconds = exposure(courses);
        let runs: Vec<(bool, BTreeSet<&str>)> = courses
            .iter()
            .map(|course| {
                let met = course
                    .windows
                    .iter()
                    .filter(|(_, from, to)| *from < seconds && *to > 0.0);
                (course.failed, met.map(|(name, ..)| name.as_str()).collect())
            })
            .collect();
        let count = counted(runs.iter().map(|(failed, _)| *failed));
        let (names, suspects) = suspects(&runs, count);
        Starved {
            test,
            count,
            seconds,
            names,
            suspects,
        }
    }

    /// A sentence that says which windows go with the failure, or that it cannot be told.
    pub fn sentence(&self) -> String {
        let what = self.test.as_deref().unwrap_or("the session");
        let within = format!("its first {:.1} s", self.seconds.max(0.05));
        let told: Vec<String> = self
            .suspects
            .iter()
            .filter(|suspect| suspect.goes_with)
            .map(Suspect::words)
            .collect();
        match (told.is_empty(), self.suspects.first()) {
            (false, _) => format!(
                "{what}: what was stopped in {within} goes with its failure: {}",
                told.join("; ")
            ),
            (true, Some(likeliest)) => format!(
                "{what}: which of the {} names stopped in {within} goes with its failure cannot be told; the likeliest is {}",
                self.names,
                likeliest.words()
            ),
            (true, None) => format!(
                "{what}: what goes with its failure cannot be told: nothing was stopped in {within} of some runs only"
            ),
        }
    }
}

impl Suspect {
    fn words(&self) -> String {
        let odds = match self.odds_high {
            Some(high) => format!("odds {} to {} times", rounded(self.odds_low), rounded(high)),
            None => format!("odds at least {} times", rounded(self.odds_low)),
        };
        format!(
            "{} ({} failed with it, {} without; {odds}, p = {})",
            self.name,
            self.stopped,
            self.spared,
            p_value(self.p_adjusted)
        )
    }
}

/// A factor with two digits.
fn rounded(factor: f64) -> String {
    if factor >= 9.95 {
        format!("{factor:.0}")
    } else if factor >= 0.095 || factor == 0.0 {
        format!("{factor:.1}")
    } else {
        format!("{factor:.2}")
    }
}

fn counted(failed: impl Iterator<Item = bool>) -> Count {
    let (k, n) = failed.fold((0, 0), |(k, n), failed| (k + u64::from(failed), n + 1));
    Count::new(k, n).unwrap_or_default()
}

/// Seconds of a test that count: the median of what it took where it passed, or else of what it took at all.
fn exposure(courses: &[Course]) -> f64 {
    let durations = |is_asked: &dyn Fn(&Course) -> bool| -> Vec<f64> {
        let asked = courses.iter().filter(|course| is_asked(course));
        let mut found: Vec<f64> = asked
            .filter_map(|course| course.duration_s)
            .filter(|s| s.is_finite())
            .collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let passed = durations(&|course| !course.failed);
    let known = if passed.is_empty() {
        durations(&|_| true)
    } else {
        passed
    };
    known.get(known.len() / 2).copied().unwrap_or(0.0)
}

/// How many names can be asked, and the likeliest of them.
fn suspects(runs: &[(bool, BTreeSet<&str>)], all: Count) -> (usize, Vec<Suspect>) {
    let mut met: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (failed, names) in runs {
        for name in names {
            let tally = met.entry(name).or_default();
            *tally = (tally.0 + u64::from(*failed), tally.1 + 1);
        }
    }
    met.retain(|_, (_, n)| *n < all.of());
    let counts: Vec<(&str, Count, Count)> = met
        .iter()
        .filter_map(|(name, (k, n))| {
            let spared = Count::new(all.failed() - k, all.of() - n)?;
            Some((*name, Count::new(*k, *n)?, spared))
        })
        .collect();
    let p_values: Vec<f64> = counts
        .iter()
        .map(|(_, stopped, spared)| fisher_greater(*spared, *stopped))
        .collect();
    let adjusted = holm(&p_values);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let found = order.into_iter().take(MOST).map(|at| {
        let (name, stopped, spared) = counts[at];
        let (odds_low, odds_high) = odds_ratio(spared, stopped, CONFIDENCE);
        Suspect {
            name: name.to_owned(),
            stopped,
            spared,
            odds_low,
            odds_high,
            p_adjusted: adjusted[at],
            goes_with: adjusted[at] < LEVEL,
        }
    });
    (counts.len(), found.collect())
}

/// The exact interval of the odds ratio of a new count against a base, both margins held; `None` for no upper end.
///
/// Source: Cornfield (1956); what R's `fisher.test` gives as `conf.int`.
pub fn odds_ratio(base: Count, new: Count, confidence: f64) -> (f64, Option<f64>) {
    let failed = base.failed() + new.failed();
    let passed = base.of() + new.of() - failed;
    let (least, most) = (new.of().saturating_sub(passed), failed.min(new.of()));
    let tail = (1.0 - confidence) / 2.0;
    if least == most || !(0.0..0.5).contains(&tail) {
        return (0.0, None);
    }
    let seen = new.failed();
    let weights: Vec<f64> = (least..=most)
        .map(|k| ln_hypergeometric(k, new.of(), failed, passed))
        .collect();
    // P(lower..=upper) at these odds, written as share = odds / (1 + odds), so that both ends are finite.
    let chance = |share: f64, lower: u64, upper: u64| {
        let ln_odds = share.ln() - (-share).ln_1p();
        let term = |(k, weight): (u64, &f64)| (k, weight + k as f64 * ln_odds);
        let terms: Vec<(u64, f64)> = (least..).zip(&weights).map(term).collect();
        let largest = terms.iter().map(|(_, term)| *term).fold(f64::NEG_INFINITY, f64::max);
        let sum = |from: u64, to: u64| {
            let within = terms.iter().filter(|(k, _)| (from..=to).contains(k));
            within.map(|(_, term)| (term - largest).exp()).sum::<f64>()
        };
        sum(lower, upper) / sum(least, most)
    };
    let odds = |share: f64| share / (1.0 - share);
    let low = if seen == least {
        0.0
    } else {
        odds(root(|share| chance(share, seen, most) - tail))
    };
    let high = (seen < most).then(|| odds(root(|share| tail - chance(share, least, seen))));
    (low, high.filter(|high| high.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::draw::draw;
    use crate::stats::rate::count;

    #[test]
    fn odds_ratios_have_the_intervals_of_the_exact_law() {
        // By sums of binomial coefficients and bisection in another program; R's fisher.test gives the same.
        for (base, new, low, high) in [
            (count(1, 60), count(9, 14), 9.909_252_026, Some(4_724.043_028)),
            (count(3, 10), count(7, 10), 0.594_038_656, Some(55.588_656_76)),
            (count(0, 10), count(4, 10), 0.770_402_689, None),
            (count(5, 20), count(3, 50), 0.027_316_416_8, Some(1.148_266_736)),
        ] {
            let found = odds_ratio(base, new, 0.95);
            let is_near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-4;
            assert!(is_near(found.0, low), "{base} {new}: {found:?}");
            assert_eq!(found.1.is_some(), high.is_some());
            assert!(
                found.1.zip(high).is_none_or(|(found, high)| is_near(found, high)),
                "{found:?}"
            );
        }
        assert_eq!(odds_ratio(count(0, 5), count(0, 5), 0.95), (0.0, None));
        assert!(odds_ratio(count(2, 5), count(0, 5), 0.95).0.abs() < f64::EPSILON);
    }

    /// Eighty runs of a test that takes a second, in which each of eight names is stopped in three runs of ten; it fails in
    /// three runs of a hundred, and in half of those in which the culprit, if there is one, was stopped.
    fn simulated(seed: u64, culprit: Option<&str>) -> Starved {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let courses: Vec<Course> = (1..=80)
            .map(|run| {
                let met = (0..).zip(names).filter(|(knob, _)| draw(seed, run, *knob) < 0.3);
                let windows: Vec<_> = met.map(|(_, name)| (name.to_owned(), 0.2, 0.4)).collect();
                let is_hit = windows.iter().any(|(name, ..)| Some(name.as_str()) == culprit);
                Course {
                    failed: draw(seed, run, 20) < if is_hit { 0.5 } else { 0.03 },
                    duration_s: Some(1.0),
                    windows,
                }
            })
            .collect();
        Starved::of(Some("t".to_owned()), &courses)
    }

    #[test]
    fn a_culprit_is_found_and_nobody_is_accused_where_there_is_none() {
        let accused = |culprit, seed| -> Vec<String> {
            let found = simulated(seed, culprit).suspects.into_iter();
            found
                .filter(|suspect| suspect.goes_with)
                .map(|suspect| suspect.name)
                .collect()
        };
        let right = (0..200).filter(|seed| accused(Some("c"), *seed) == ["c"]).count();
        assert!(right >= 180, "{right} of 200");
        let wrong = (0..200).filter(|seed| !accused(None, *seed).is_empty()).count();
        assert!(wrong <= 10, "{wrong} of 200");
    }

    #[test]
    fn a_failure_that_takes_longer_is_not_explained_by_the_windows_it_met_for_that() {
        // Passed runs take a second; failed ones wait for a minute, in which everything is stopped at some time.
        let courses: Vec<Course> = (1..=60)
            .map(|run| {
                let failed = run % 4 == 0;
                Course {
                    failed,
                    duration_s: Some(if failed { 60.0 } else { 1.0 }),
                    windows: if failed {
                        vec![("x".to_owned(), 30.0, 30.5)]
                    } else {
                        Vec::new()
                    },
                }
            })
            .collect();
        let found = Starved::of(None, &courses);
        assert_eq!((found.seconds, found.names), (1.0, 0));
        assert!(found.sentence().contains("cannot be told"), "{}", found.sentence());
    }

    #[test]
    fn what_is_told_has_counts_interval_and_chance() {
        let told = simulated(3, Some("c")).sentence();
        assert!(
            told.starts_with("t: what was stopped in its first 1.0 s goes with its failure: c ("),
            "{told}"
        );
        assert!(told.contains(" failed with it, ") && told.contains("odds "), "{told}");
        let none = simulated(3, None).sentence();
        assert!(
            none.contains("which of the 8 names") && none.contains("cannot be told; the likeliest is "),
            "{none}"
        );
        assert!(Starved::of(None, &[]).suspects.is_empty());
    }
}
