//! `history --track`: what is to be done with the issue of each cause. It prints that and does nothing itself.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::judged_sweep::JudgedSweep;
use super::super::{output, secrets};
use crate::report::issue::{self, Action};
use crate::report::redact::Found;
use crate::run;
use crate::stats::track::{IssueState, TrackedNight};

/// What `--track` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Actions {
    /// Version of this layout, 1.
    pub format: u32,
    /// The steps in the order in which they are to be taken.
    pub actions: Vec<Action>,
    /// Issues that are open then.
    pub open: usize,
    /// Issues that are closed then.
    pub closed: usize,
}

/// Takes the nights into the state, writes it, and prints the steps that follow.
pub(super) fn run(sweeps: &[JudgedSweep], state: &Path, confidence: f64, redact: &[String]) -> anyhow::Result<()> {
    let redactor = secrets::redactor(sweeps.iter().filter_map(|sweep| sweep.spec.as_ref()), redact)?;
    let mut track = run::read_track(state)?;
    let nights = sweeps.iter().map(|sweep| {
        let mut night = TrackedNight::of(sweep.answers());
        for sighting in night.seen.values_mut() {
            // Issues are read by more people than logs.
            redactor.clean(&mut sighting.evidence, &mut Found::default());
        }
        night
    });
    let decisions = track.add(nights.collect());
    run::write_track(state, &track)?;
    let n_open = track
        .issues
        .values()
        .filter(|issue| issue.state == IssueState::Open)
        .count();
    output::json(&Actions {
        format: 1,
        actions: decisions
            .iter()
            .map(|decision| issue::action(decision, confidence))
            .collect(),
        open: n_open,
        closed: track.issues.len() - n_open,
    })
}
