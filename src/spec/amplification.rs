//! What `amplify` looks for, and which conditions each of its runs had on.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unlike;
use super::words::words;

words! {
    /// What a run of `amplify` is for.
    pub enum KnobStage {
        /// To find out which knobs help.
        Search = "search",
        /// To show it, the winner and the base side by side.
        Confirm = "confirm",
        /// To measure how often the winner fails.
        Measure = "measure",
    }
}

words! {
    /// What a run of `amplify` was set up as.
    pub enum KnobRole {
        /// With the knobs that were drawn for it.
        Knobs = "knobs",
        /// With those of the winner.
        Winner = "winner",
        /// With none.
        Base = "base",
    }
}

/// The search that a sweep is of. It is written down before the first run, and everything else follows from it and the
/// recorded runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Amplification {
    /// Directory of the recorded base, absolute; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// `any`, a category or an outcome.
    pub class: String,
    /// The test that has to be among those that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Failures of the class in the base, its answered runs, and those of them that failed otherwise.
    pub failed: u64,
    pub of: u64,
    pub other: u64,
    pub knobs: Vec<KnobFlags>,
    pub seed: u64,
    pub max_runs: u64,
    /// Runs of a block of the search.
    pub block: u64,
    /// The run that a specification is made for; the sweep's own file has none.
    #[serde(skip)]
    pub run: Option<KnobsOn>,
}

/// A setting that is on or off, with the flags that turn it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnobFlags {
    pub name: String,
    pub flags: Vec<String>,
}

/// The recorded sweep whose conditions a sweep has (`--condition-of`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionOf {
    /// Its directory, absolute.
    pub sweep: PathBuf,
    /// What the winner has on, where it is a search of `amplify`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knobs: Vec<KnobFlags>,
}

/// Which knobs a run had on, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnobsOn {
    pub stage: KnobStage,
    /// The attempt, 1 or 2, to find and confirm a winner.
    pub attempt: u8,
    pub role: KnobRole,
    pub on: Vec<String>,
}

impl ConditionOf {
    /// In a few words: the sweep by its name, and what its winner has on.
    pub fn words(&self) -> String {
        let name = self
            .sweep
            .file_name()
            .unwrap_or(self.sweep.as_os_str())
            .to_string_lossy();
        let on: Vec<&str> = self.knobs.iter().map(|knob| knob.name.as_str()).collect();
        if on.is_empty() {
            format!("conditions of {name}")
        } else {
            format!("conditions of {name} ({})", on.join(" + "))
        }
    }
}

impl Amplification {
    /// In what two searches do not ask the same, as a noun each. What is known of the base may have grown in between.
    pub fn differences(&self, other: &Amplification) -> Vec<&'static str> {
        unlike([
            ("base", self.base == other.base),
            ("class", self.class == other.class),
            ("test", self.test == other.test),
            ("knobs", self.knobs == other.knobs),
            ("--seed", self.seed == other.seed),
            ("--max-runs", self.max_runs == other.max_runs),
        ])
    }
}
