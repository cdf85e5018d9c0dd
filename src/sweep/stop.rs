//! When a sweep ends before its last iteration: the stop rules, as a machine that is fed outcomes.
//!
//! The machine has no clock and starts nothing: the scheduler feeds it and obeys. Its figures hold at every look, so that a
//! reader may watch them and a rule may act on them after every iteration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::judge::{Outcome, OutcomeKind, Verdict};
use crate::stats::{self, Count, sequential};

/// The failures a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    Any,
    Outcome(OutcomeKind),
    Category(String),
}

impl Class {
    /// Whether an iteration belongs to it.
    pub fn has(&self, outcome: &Outcome) -> bool {
        match self {
            Class::Any => outcome.verdict == Verdict::Failed,
            Class::Outcome(kind) => outcome.outcome == *kind,
            Class::Category(id) => outcome.categories.contains(id),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Any => f.write_str("any"),
            Class::Outcome(kind) => f.write_str(kind.as_str()),
            Class::Category(id) => f.write_str(id),
        }
    }
}

/// Reads `any`, the word of an outcome, or the id of a category. Whether such a category exists, only a set of
/// signatures knows.
impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Class, String> {
        let text = text.trim();
        if text == "any" {
            return Ok(Class::Any);
        }
        if let Ok(kind) = text.replace('-', "_").parse::<OutcomeKind>() {
            return Ok(Class::Outcome(kind));
        }
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || !text.chars().all(fits) {
            return Err("expected a category such as `A4`, an outcome such as `hung`, or `any`".to_owned());
        }
        Ok(Class::Category(text.to_owned()))
    }
}

/// `--until CLASS[=K]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    pub class: Class,
    /// How many iterations of it.
    pub count: u64,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.class, self.count)
    }
}

/// Reads `A4`, `A4=2`, `hung=3`.
impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        let (class, count) = match text.split_once('=') {
            None => (text, 1),
            Some((class, count)) => match count.trim().parse() {
                Ok(count) if count > 0 => (class, count),
                Ok(_) | Err(_) => {
                    return Err("expected CLASS or CLASS=K, with K of 1 or more, such as `A4=2`".to_owned());
                }
            },
        };
        Ok(Until {
            class: class.parse()?,
            count,
        })
    }
}

/// Everything that may end a sweep early. The default ends none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopRules {
    /// `--until`: ends when any of them is reached.
    pub until: Vec<Until>,
    pub max_failures: Option<u64>,
    /// `--for`: time after which nothing new is started.
    pub time: Option<Duration>,
    /// `--prove-below`: the rate that the true one is to be shown to be below.
    pub prove_below: Option<f64>,
}

/// Level of the evidence that ends a sweep, and of the interval shown while it runs.
pub const ALPHA: f64 = 0.05;

impl StopRules {
    /// Categories that are waited for, to be checked against those that exist.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.until.iter().filter_map(|until| match &until.class {
            Class::Category(id) => Some(id.as_str()),
            Class::Any | Class::Outcome(_) => None,
        })
    }
}

/// Why a sweep was ended early. Displays as the rule, in the words of its flag: `until A4=2`.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// A class was seen often enough.
    Until(Until),
    /// So many iterations failed.
    MaxFailures(u64),
    /// The time is over.
    Time(Duration),
    /// The rate was shown to be below this one.
    ProvenBelow(f64),
    /// The arms were shown to differ.
    Decided,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Until(until) => write!(f, "until {until}"),
            StopReason::MaxFailures(count) => write!(f, "max-failures {count}"),
            StopReason::Time(time) => write!(f, "for {}", humantime::format_duration(*time)),
            StopReason::ProvenBelow(rate) => write!(f, "prove-below {}%", trimmed(rate * 100.0)),
            StopReason::Decided => f.write_str("decided"),
        }
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The evidence so far, valid however often one looks. Displays as the line below the bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Failed iterations of those that passed or failed.
    pub count: Count,
    /// Lower and upper end of the rates compatible with all looks so far.
    pub cs: (f64, f64),
    /// How far it is to the proof that `--prove-below` asks for.
    pub below: Option<Proof>,
}

/// How far it is to the proof that a rate is below a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    pub limit: f64,
    /// Evidence so far; 20 ends the sweep.
    pub e_value: f64,
    /// Clean iterations still needed; `None` where nobody would wait that long.
    pub clean_runs: Option<u64>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count.of() == 0 {
            return Ok(());
        }
        let percent = |rate: f64| format!("{:.1} %", rate * 100.0);
        let (low, high) = (percent(self.cs.0), percent(self.cs.1));
        write!(f, "failed {}, a rate between {low} and {high}", self.count)?;
        let Some(proof) = &self.below else { return Ok(()) };
        let limit = percent(proof.limit);
        write!(f, "; evidence for less than {limit}: {:.1} of 20", proof.e_value)?;
        proof
            .clean_runs
            .map_or(Ok(()), |clean| write!(f, ", {clean} clean runs to go"))
    }
}

/// The machine: rules, and what was seen so far.
#[derive(Clone, Debug)]
pub struct StopState {
    rules: StopRules,
    seen: Vec<u64>,
    failures: u64,
    /// Failed of all answers that were given, those that others replaced included.
    failed: u64,
    of: u64,
    reason: Option<StopReason>,
}

impl StopState {
    /// A machine that has seen nothing.
    pub fn new(rules: StopRules) -> StopState {
        StopState {
            seen: vec![0; rules.until.len()],
            rules,
            failures: 0,
            failed: 0,
            of: 0,
            reason: None,
        }
    }

    /// Takes in the outcome of one recorded iteration; those recorded before this process started are fed first.
    /// Once a rule is met its reason stays.
    pub fn observe(&mut self, outcome: &Outcome) -> Option<&StopReason> {
        for (until, seen) in self.rules.until.iter().zip(&mut self.seen) {
            *seen += u64::from(until.class.has(outcome));
        }
        self.failures += u64::from(outcome.verdict == Verdict::Failed);
        self.count_in(outcome);
        if self.reason.is_none() {
            self.reason = self.met();
        }
        self.reason.as_ref()
    }

    /// Takes in an answer that `--retry` replaced by another. It is evidence like any other, so that asking again until
    /// a test passes proves nothing; but who runs a failure again has seen it, and does not wait for it any more.
    pub fn observe_replaced(&mut self, outcome: &Outcome) {
        self.count_in(outcome);
    }

    fn count_in(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Failed => (self.failed, self.of) = (self.failed + 1, self.of + 1),
            Verdict::Passed => self.of += 1,
            Verdict::Errored => {}
        }
    }

    pub fn elapsed(&mut self, elapsed: Duration) -> Option<&StopReason> {
        if self.reason.is_none() {
            self.reason = self.rules.time.filter(|time| elapsed >= *time).map(StopReason::Time);
        }
        self.reason.as_ref()
    }

    fn met(&self) -> Option<StopReason> {
        let mut pairs = self.rules.until.iter().zip(&self.seen);
        if let Some((until, _)) = pairs.find(|(until, seen)| **seen >= until.count) {
            return Some(StopReason::Until(until.clone()));
        }
        if let Some(most) = self.rules.max_failures.filter(|most| self.failures >= *most) {
            return Some(StopReason::MaxFailures(most));
        }
        let limit = self.rules.prove_below?;
        let log_e = stats::log_e_below(self.count(), limit)?;
        (log_e >= -ALPHA.ln()).then_some(StopReason::ProvenBelow(limit))
    }

    fn count(&self) -> Count {
        Count::new(self.failed, self.of).unwrap_or_default()
    }

    pub fn standing(&self) -> Standing {
        let count = self.count();
        let below = self.rules.prove_below.and_then(|limit| {
            Some(Proof {
                limit,
                e_value: stats::log_e_below(count, limit)?.exp().min(f64::MAX),
                clean_runs: sequential::clean_runs_to_prove_below(count, limit, ALPHA),
            })
        });
        Standing {
            count,
            cs: stats::confidence_sequence(count, ALPHA),
            below,
        }
    }
}

#[cfg(test)]
mod tests;
