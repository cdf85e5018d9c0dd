//! What a bundle says about itself: what is in it, what was taken out, how to go on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::judge::{OutcomeKind, Verdict};

/// Version of the layout that this tool writes and reads.
pub const FORMAT: u32 = 1;

/// `manifest.json`, the beginning of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout, 1.
    pub format: u32,
    /// Version of the tool that wrote it.
    pub tool: String,
    pub made_at: DateTime<Utc>,
    /// The sweeps that runs in it belong to.
    pub sweeps: Vec<BundledSweep>,
    /// The signatures that matched.
    pub signatures: Vec<Matched>,
}

/// One sweep of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundledSweep {
    /// Its name in the bundle and where it is imported to.
    pub name: String,
    /// What it was called where it comes from.
    pub from: String,
    /// Its runs, in order.
    pub runs: Vec<BundledRun>,
    /// Answers that `--retry` had set aside; they count as much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<BundledRun>,
}

/// One run of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundledRun {
    pub iteration: u32,
    /// Its directory below the bundle's `logs`.
    pub dir: String,
    /// What it says about the tests.
    pub verdict: Verdict,
    /// What happened.
    pub outcome: OutcomeKind,
    /// Signatures that matched, or `UNKNOWN`.
    pub categories: Vec<String>,
    pub failing_tests: Vec<String>,
    /// Image as it was named.
    #[serde(default)]
    pub image: Option<String>,
    /// Identity of what was run.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Command of the session, without a shell.
    #[serde(default)]
    pub argv: Vec<String>,
    /// The line that repeats it, once it is imported.
    pub again: String,
}

/// A signature that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    pub id: String,
    /// What it is a sign of.
    pub title: String,
    /// What to do about it.
    pub advice: String,
}

/// `redacted.json`, the end of a bundle: one without it is cut short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Version of this layout, 1.
    pub format: u32,
    /// Files of runs.
    pub files: u64,
    /// Places that were redacted, by kind.
    pub redacted: BTreeMap<String, u64>,
    /// Variables whose values are too short or too common to be looked for.
    pub not_looked_for: Vec<String>,
    /// Files that cannot be searched, or are none, and are not in it.
    pub left_out: Vec<String>,
}
