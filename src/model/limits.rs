//! What iterations have to get by with: limits of CPU and memory, and noise beside them.

use serde::{Deserialize, Serialize};

use super::{BackendKind, Spec};

/// What an iteration had to get by with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
}

impl Limits {
    /// What a sweep's specification asks for, as far as its backend can give it.
    #[must_use]
    pub fn of(spec: &Spec) -> Limits {
        let container = &spec.container;
        let has_limits = spec.backend == BackendKind::Docker;
        Limits {
            cpus: container.cpus.filter(|_| has_limits),
            memory: container.memory.filter(|_| has_limits),
            cpuset: container.cpuset.clone(),
            noise: container.noise,
        }
    }

    /// In words, one a condition; none where there are none.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.cpus.map(|cpus| format!("cpus {cpus}")));
        words.extend(self.memory.map(|bytes| format!("memory {}", size(bytes))));
        words.extend(self.cpuset.as_ref().map(|cpus| format!("cpuset {cpus}")));
        words.extend(self.noise.map(|cores| format!("noise {cores}")));
        words
    }
}

/// A size as flags take it: in the largest unit that it is a whole number of.
pub(super) fn size(bytes: u64) -> String {
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
        };
        assert_eq!(conditions.words(), ["cpus 0.5", "memory 512m", "cpuset 0-1", "noise 2"]);
        assert!(Limits::default().words().is_empty());
        assert_eq!((size(10 << 30), size(1000)), ("10g".to_owned(), "1000".to_owned()));
    }
}
