//! By what each knob multiplies the rate of the target, with an interval.

use serde::Serialize;

use super::{Base, Fit, Run};
use crate::stats::rate::clopper_pearson;

/// By what a knob multiplies the target's rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Factor {
    pub factor: f64,
    pub low: f64,
    /// Upper end; `None` where there is none.
    pub high: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Matters,
    Cures,
    NotToldApart,
}

impl Factor {
    pub fn effect(&self) -> Effect {
        if self.low > 1.0 {
            Effect::Matters
        } else if self.high.is_some_and(|high| high < 1.0) {
            Effect::Cures
        } else {
            Effect::NotToldApart
        }
    }
}

/// Chance that even one of the intervals of [`factors`] misses.
const FAMILY: f64 = 0.1;

/// The factor of each knob, from the base and the runs of the search, with intervals that all hold together in 90 %.
///
/// The share of the failures that fell in runs with the knob on has an exact interval (Clopper and Pearson); the other
/// knobs' factors are taken as estimated.
pub fn factors(knobs: usize, base: Base, runs: &[Run]) -> Vec<Factor> {
    let fit = Fit::of(knobs, base, runs);
    (0..knobs)
        .map(|knob| {
            let off = runs.iter().filter(|run| run.target.is_some() && !run.has_on(knob));
            let (mut failed_off, mut exposure_off) = (base.target.failed(), base.target.of() as f64);
            for run in off {
                failed_off += u64::from(run.target == Some(true));
                let on = (0..knobs).filter(|knob| run.has_on(*knob));
                exposure_off += on.map(|knob| fit.factors[knob]).product::<f64>();
            }
            let failed_on = fit.failed[knob];
            let confidence = 1.0 - FAMILY / knobs as f64;
            let (low, high) = clopper_pearson(failed_on, failed_on + failed_off, confidence);
            let ratio = |share: f64| {
                let is_finite = share < 1.0 && fit.expected[knob] > 0.0;
                is_finite.then(|| share / (1.0 - share) * fit.beta * exposure_off / fit.expected[knob])
            };
            Factor {
                factor: fit.factors[knob],
                low: ratio(low).unwrap_or(0.0),
                high: ratio(high),
            }
        })
        .collect()
}
