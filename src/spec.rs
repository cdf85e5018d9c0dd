//! What a sweep runs, frozen as `sweep.json` when it is first used.

mod amplification;
mod container;
mod deadlines;
pub mod imported;
pub mod limits;
pub mod mode;
mod perturbation;
mod proof;
mod search;
pub mod values;
pub mod words;

pub use amplification::{Amplification, ConditionOf, KnobFlags, KnobRole, KnobStage, KnobsOn};
pub use container::{Container, Recipe, Workspace};
pub use deadlines::{Deadlines, Silence};
pub use limits::Limits;
pub use mode::Mode;
pub use perturbation::{Perturbation, Starve};
pub use proof::{Design, Proof};
pub use search::{CandidateOf, Part, Stage};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use words::words;

/// The image that is made from this machine's own Python; no engine knows an id of it.
pub const HOST_IMAGE: &str = "host";

/// The settings file, looked for from the current directory upwards.
pub const SETTINGS_FILE: &str = "reproduce-flaky.toml";

/// Version of this tool, with the commit it was built from as far as the build knew one.
pub fn tool() -> String {
    match option_env!("RF_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        Some(_) | None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

words! {
    /// Where an attempt executes.
    #[derive(Default)]
    pub enum BackendKind {
        /// Containers, on any socket that speaks Docker's API.
        #[default]
        Docker = "docker",
        /// Processes on this machine, without isolation.
        Local = "local",
    }
}

words! {
    /// Who places iterations.
    #[derive(Default)]
    pub enum EngineKind {
        /// This process.
        #[default]
        Here = "here",
        /// Slurm's job arrays.
        Slurm = "slurm",
        /// Nobody yet: the iterations that are missing are printed, a line each.
        List = "list",
    }
}

/// A variable of the session. The value is kept only if it was given on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvVar {
    pub name: String,
    /// Its value; `None` passes the caller's own on, if the caller has one, and never stores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl FromStr for EnvVar {
    type Err = String;

    /// Reads `NAME` or `NAME=VALUE`.
    fn from_str(text: &str) -> Result<EnvVar, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.contains(['\0', ' ']) {
            return Err("expected NAME or NAME=VALUE".to_owned());
        }
        Ok(EnvVar {
            name: name.to_owned(),
            value,
        })
    }
}

/// Whether a variable's name says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "KEY",
        "CREDENTIAL",
        "DSN",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// One configured series of iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spec {
    /// Version of this layout, 1.
    pub format: u32,
    /// Version of the tool that wrote it.
    pub tool: String,
    /// When the sweep was first started.
    pub created_at: DateTime<Utc>,
    #[schemars(with = "String")]
    pub mode: Mode,
    #[serde(default)]
    pub tag: Option<String>,
    /// First iteration asked for so far.
    pub first: u32,
    /// Last iteration asked for so far.
    pub last: u32,
    /// Iterations in flight in one process.
    pub jobs: u32,
    /// Where attempts execute.
    pub backend: BackendKind,
    /// Image as the user named it; empty for the local backend.
    pub image: String,
    /// Identity of what was found under that name when the sweep began.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Versions found by the probe: `python`, `pytest` and its plugins.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Node ids and arguments handed to pytest, in order.
    pub pytest_args: Vec<String>,
    /// Whether the trail plugin is loaded.
    #[serde(default = "yes")]
    pub trail: bool,
    /// Directory the sweep was started in: `/workspace` in the container.
    pub directory: PathBuf,
    /// Variables of the session beyond the recipe's.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Names passed on where the caller has them.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Those of them that the caller had when the sweep began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_on: Vec<String>,
    /// Name of the variable that tells tests where to write.
    pub output_env: String,
    /// Requirements file added to the host's toolchain.
    #[serde(default)]
    pub host_requirements: Option<PathBuf>,
    /// The container recipe.
    #[serde(default)]
    pub container: Container,
    /// Where its conditions were taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_of: Option<ConditionOf>,
    /// When an iteration is ended from outside.
    pub deadlines: Deadlines,
    /// Most attempts at one iteration when the world breaks under them.
    pub max_attempts: u32,
    /// Its place among several arms that are run side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<ArmPlace>,
    /// What it is to show, where `prove` began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What it looks for, where `amplify` began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplification: Option<Amplification>,
    /// The search for a culprit that it belongs to, where `culprit` began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<CandidateOf>,
    /// What a worker on another machine needs besides; `None` where this process runs the iterations itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placing: Option<Placing>,
    /// Why the last process that worked on it stopped: `complete`, `interrupted`, a stop rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What the settings file ran or opened when the sweep was begun, each setting with a digest; `None` where an older
    /// version began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<BTreeMap<String, String>>,
    /// Why any process that worked on it stopped. Reasons are added and never taken away.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reasons: BTreeSet<String>,
    /// When the sweep came in with a bundle. `import` writes this over whatever the bundle says: what such a sweep asks
    /// for is another person's wish, and is followed only as far as the reader allows ([`imported`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<DateTime<Utc>>,
}

impl Default for Spec {
    /// One iteration of pytest without arguments, in a container of no image in particular.
    fn default() -> Spec {
        Spec {
            format: 1,
            tool: String::new(),
            created_at: DateTime::UNIX_EPOCH,
            mode: Mode::Serial,
            tag: None,
            first: 1,
            last: 1,
            jobs: 1,
            backend: BackendKind::Docker,
            image: String::new(),
            image_id: None,
            versions: BTreeMap::new(),
            pytest_args: Vec::new(),
            trail: true,
            directory: PathBuf::from("/workspace"),
            env: Vec::new(),
            pass_env: Vec::new(),
            passed_on: Vec::new(),
            output_env: "DYN_TEST_OUTPUT_PATH".to_owned(),
            host_requirements: None,
            container: Container::default(),
            condition_of: None,
            deadlines: Deadlines::default(),
            max_attempts: 3,
            arm: None,
            proof: None,
            amplification: None,
            culprit: None,
            placing: None,
            ended: None,
            reasons: BTreeSet::new(),
            settings: None,
            imported_at: None,
        }
    }
}

/// What a worker needs besides what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Placing {
    /// Who places the iterations.
    pub engine: EngineKind,
    /// Archive that holds the image, for nodes that do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tar: Option<PathBuf>,
    /// Address of the container engine, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_host: Option<String>,
    /// Signature file or folder instead of the built-in taxonomy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<PathBuf>,
    /// Whether of an iteration that passed only the facts stay.
    pub keeps_failed_only: bool,
}

/// A sweep's place among several arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArmPlace {
    /// Name of this arm.
    pub name: String,
    /// Names of all of them, in the order given; the first is what the others are compared with.
    pub arms: Vec<String>,
    /// Draws the order of arms in each block.
    pub seed: u64,
}

fn yes() -> bool {
    true
}

/// One respect in which a resume would run something else than the sweep holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, as a noun: `image`, `pytest arguments`, `mode`.
    pub what: &'static str,
    /// What the sweep on disk was run with.
    pub recorded: String,
    /// What this call asks for.
    pub asked: String,
}

impl Spec {
    /// Name of the sweep's directory: `<mode>[_<tag>]`.
    pub fn dir_name(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}_{tag}", self.mode),
            None => self.mode.to_string(),
        }
    }

    /// A stop rule that ended the work of any process on it, in the words of its flag; `None` where there was none.
    pub fn stop_rule(&self) -> Option<&str> {
        let rules = ["until ", "max-failures ", "for ", "prove-below ", "decided"];
        let mut reasons = self.ended.iter().chain(&self.reasons);
        let found = reasons.find(|reason| rules.iter().any(|rule| reason.starts_with(rule)));
        // Which conditions or candidates run, and how often, follows from what was seen.
        let by_search = (self.amplification.is_some() || self.culprit.is_some()).then_some("decided");
        found.map(String::as_str).or(by_search)
    }

    /// Adds why a process stopped working on it.
    #[must_use]
    pub fn with_end(mut self, reason: &str) -> Spec {
        self.reasons = self.all_reasons();
        self.ended = Some(reason.to_owned());
        self.reasons = self.all_reasons();
        self
    }

    /// Why any process stopped working on it, whatever version of this tool wrote it down. What broke is left out of
    /// `broken`: its words are others each time.
    pub fn all_reasons(&self) -> BTreeSet<String> {
        let ended = self.ended.as_deref().map(|ended| match ended.split_once(": ") {
            Some(("broken", _)) => "broken",
            Some(_) | None => ended,
        });
        self.reasons.iter().cloned().chain(ended.map(str::to_owned)).collect()
    }

    /// Whether two sweeps are arms that were run side by side, block by block.
    pub fn is_interleaved_with(&self, other: &Spec) -> bool {
        match (&self.arm, &other.arm) {
            (Some(one), Some(two)) => one.name != two.name && one.arms == two.arms && one.seed == two.seed,
            (_, _) => false,
        }
    }

    /// In what respects `self` would run something else than `recorded` did. Names, deadlines, jobs and
    /// ranges may differ: they do not change what runs.
    pub fn differences(&self, recorded: &Spec) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what, recorded: String, asked: String| {
            if recorded != asked {
                found.push(Difference { what, recorded, asked });
            }
        };
        compare("mode", recorded.mode.to_string(), self.mode.to_string());
        compare(
            "backend",
            recorded.backend.as_str().to_owned(),
            self.backend.as_str().to_owned(),
        );
        if let (Some(old), Some(new)) = (&recorded.image_id, &self.image_id)
            && old != new
        {
            // The same name may have been built again in between; then the ids are what tells them apart.
            let same_name = recorded.image == self.image;
            let shown = |image: &str, id: &str| {
                if same_name {
                    format!("{image} ({})", short_id(id))
                } else {
                    image.to_owned()
                }
            };
            compare("image", shown(&recorded.image, old), shown(&self.image, new));
        } else if recorded.image_id.is_none() || self.image_id.is_none() {
            compare("image", recorded.image.clone(), self.image.clone());
        }
        compare(
            "pytest arguments",
            shell_words::join(&recorded.pytest_args),
            shell_words::join(&self.pytest_args),
        );
        found
    }
}

/// The names of what is not the same.
pub fn unlike<const N: usize>(same: [(&'static str, bool); N]) -> Vec<&'static str> {
    let unlike = same.into_iter().filter(|(_, is_same)| !is_same);
    unlike.map(|(what, _)| what).collect()
}

/// The first twelve hexadecimal digits of an id, as Docker shows it.
pub fn short_id(id: &str) -> &str {
    let digits = id.rsplit_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests;
