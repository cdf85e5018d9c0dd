//! What iterations have to get by with: limits of CPU and memory, and noise beside them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendKind, KnobsOn, Part, Perturbation, Spec, Starve};

/// What an iteration had to get by with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// CPUs it might use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory it might use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPUs it might run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Cores that were kept busy beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<u32>,
    /// Conditions by name that were in force besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Perturbation>,
    /// How its threads and processes were stopped for a while, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starve: Option<Starve>,
    /// Whether, for want of the right to stop them, they only had to wait for every other thread that wanted to run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_idled: bool,
    /// Whether it was to be starved, and the container has the right to neither.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_starve_refused: bool,
    /// What its draws began with: the order of its tests, what was stopped and when; `None` where nothing was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether its container was started ahead of its turn; `None` where no container can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ahead: Option<bool>,
    /// Which knobs of a search by `amplify` were on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amplify: Option<KnobsOn>,
    /// The part that it had in a search for a culprit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Part>,
}

impl Limits {
    /// What a sweep's specification asks for, as far as its backend can give it.
    pub fn of(spec: &Spec) -> Limits {
        let container = &spec.container;
        let has_limits = spec.backend == BackendKind::Docker;
        Limits {
            cpus: container.cpus.filter(|_| has_limits),
            memory: container.memory.filter(|_| has_limits),
            cpuset: container.cpuset.clone(),
            noise: container.noise,
            named: (container.conditions.iter().copied())
                .filter(|condition| spec.is_under(*condition))
                .collect(),
            starve: container.starve.clone().filter(|_| spec.is_under(Perturbation::Starve)),
            is_idled: false,
            is_starve_refused: false,
            seed: None,
            started_ahead: None,
            amplify: spec.amplification.as_ref().and_then(|search| search.run.clone()),
            culprit: None,
        }
    }

    /// The same without what is another in each iteration.
    #[must_use]
    pub fn of_the_sweep(&self) -> Limits {
        Limits {
            seed: None,
            started_ahead: None,
            amplify: None,
            culprit: None,
            ..self.clone()
        }
    }

    /// What was limited or added, in words, one a condition; none where nothing was.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.cpus.map(|cpus| format!("cpus {cpus}")));
        words.extend(self.memory.map(|bytes| format!("memory {}", size(bytes))));
        words.extend(self.cpuset.as_ref().map(|cpus| format!("cpuset {cpus}")));
        words.extend(self.noise.map(|cores| format!("noise {cores}")));
        words.extend(self.named.iter().map(Perturbation::to_string));
        let manner = if self.is_idled { " without stopping" } else { "" };
        words.extend(self.starve.as_ref().map(|starve| format!("starve {starve}{manner}")));
        words.extend(self.is_starve_refused.then(|| "starve refused".to_owned()));
        words
    }
}

/// A size as flags take it: in the largest unit that it is a whole number of.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
    let whole = units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_said_as_flags_take_them() {
        let conditions = Limits {
            cpus: Some(0.5),
            memory: Some(512 << 20),
            cpuset: Some("0-1".to_owned()),
            noise: Some(2),
            named: vec![Perturbation::OneCore, Perturbation::Order],
            starve: Some(Starve::default()),
            is_idled: false,
            is_starve_refused: false,
            seed: Some(7),
            started_ahead: Some(true),
            amplify: None,
            culprit: None,
        };
        assert_eq!(
            conditions.words(),
            [
                "cpus 0.5",
                "memory 512m",
                "cpuset 0-1",
                "noise 2",
                "one-core",
                "order",
                "starve 20%"
            ]
        );
        assert!(Limits::default().words().is_empty());
        assert_eq!((size(10 << 30), size(1000)), ("10g".to_owned(), "1000".to_owned()));
    }
}
