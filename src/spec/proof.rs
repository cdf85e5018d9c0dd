//! What a sweep of `prove` is to show, and against what.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unlike;
use super::words::words;

words! {
    /// What the runs of a fix are compared with.
    pub enum Design {
        /// The runs that were recorded before.
        Recorded = "recorded",
        /// The base run again beside the fix, a run of each in turn.
        Control = "control",
    }
}

/// The plan of a proof. It is written down before the first run of the fix, and holds whatever becomes of the base
/// afterwards: a plan that follows what was seen would be wrong more often than it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Directory of the base, absolute.
    pub base: PathBuf,
    /// `any`, a category or an outcome.
    pub class: String,
    /// Failures of the class in the base.
    pub failed: u64,
    /// Answered runs of the base.
    pub of: u64,
    pub design: Design,
    /// Share of the base's rate that the fix may leave; 0 asks for a complete fix.
    pub remaining: f64,
    /// Probability with which such a fix is to be shown.
    pub power: f64,
    /// Failures of the fix (blocks against it, with a control) that the plan allows.
    pub allowed: u64,
    /// Answered runs of the fix (complete blocks, with a control) after which the plan is over.
    pub most: u64,
    /// Whether all of them are run whatever they show.
    #[serde(default)]
    pub is_full: bool,
    /// Draws which side of a block runs first.
    #[serde(default)]
    pub seed: u64,
}

impl Proof {
    /// In what two proofs do not ask the same, as a noun each. What is known of the base may have grown in between.
    pub fn differences(&self, other: &Proof) -> Vec<&'static str> {
        unlike([
            ("base", self.base == other.base),
            ("class", self.class == other.class),
            ("design", self.design == other.design),
            ("--to", self.remaining.to_bits() == other.remaining.to_bits()),
            ("--power", self.power.to_bits() == other.power.to_bits()),
            ("--full", self.is_full == other.is_full),
        ])
    }
}
