//! What the sweeps of `culprit` search together, and the part that each run of them has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unlike;
use super::words::words;

words! {
    /// Why a search runs a candidate.
    pub enum Stage {
        /// To find the candidate that the failure came with.
        Search = "search",
        /// To confirm a candidate beside the one before it.
        Confirm = "confirm",
    }
}

/// The search that a candidate's sweep belongs to. It is written down before the first run of the candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CandidateOf {
    /// This candidate.
    pub candidate: String,
    /// All of them in order, the good end first and the bad end last.
    pub candidates: Vec<String>,
    /// `any`, a category or an outcome.
    pub class: String,
    /// Weights by hand of a change that comes with each candidate; none where nobody gave any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Draws which side of a block runs first.
    pub seed: u64,
}

impl CandidateOf {
    /// In what two searches are not the same, as a noun each.
    pub fn differences(&self, other: &CandidateOf) -> Vec<&'static str> {
        let weights =
            |search: &CandidateOf| -> Vec<u64> { search.weights.iter().map(|weight| weight.to_bits()).collect() };
        unlike([
            ("candidates", self.candidates == other.candidates),
            ("class", self.class == other.class),
            ("weights", weights(self) == weights(other)),
        ])
    }
}

/// The part that a run has in a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub stage: Stage,
    pub candidate: String,
    /// Number of the attempt to find and confirm a candidate, from 1.
    pub attempt: u32,
    /// The candidate that is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
    /// Number of the block, from 1: one run of the candidate that is confirmed and one of the candidate before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u32>,
}
