//! What a sweep ran, and what its iterations had to get by with.

use schemars::JsonSchema;
use serde::Serialize;

use super::Summary;
use crate::spec::{ConditionOf, Limits, Spec};
use crate::stats::Answers;

/// What ran.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Conditions {
    /// Image as the user named it; empty for processes of this machine.
    pub image: String,
    pub image_id: Option<String>,
    pub backend: &'static str,
    pub pytest_args: Vec<String>,
    /// What its iterations had to get by with, each set of limits once; empty where nothing was limited or added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<Limits>,
    /// Where its conditions were taken from (`--condition-of`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_of: Option<ConditionOf>,
}

impl Conditions {
    pub(super) fn of(spec: &Spec, answers: Answers<'_>) -> Conditions {
        Conditions {
            image: spec.image.clone(),
            image_id: spec.image_id.clone(),
            backend: spec.backend.as_str(),
            pytest_args: spec.pytest_args.clone(),
            load: load(answers),
            condition_of: spec.condition_of.clone(),
        }
    }

    /// The limits of its iterations in words; `None` where no iteration had any.
    pub fn limits(&self) -> Option<String> {
        let words = |set: &Limits| match set.words() {
            words if words.is_empty() => "no limits".to_owned(),
            words => words.join(", "),
        };
        (!self.load.is_empty()).then(|| self.load.iter().map(words).collect::<Vec<_>>().join(" or "))
    }
}

impl Summary {
    /// What ran, in a few words: mode, tag, image.
    pub fn what_ran(&self) -> String {
        let mut parts: Vec<String> = self.mode.iter().cloned().collect();
        parts.extend(self.tag.iter().map(|tag| format!("tag {tag}")));
        if let Some(conditions) = &self.conditions {
            if conditions.image.is_empty() {
                parts.push(format!("backend {}", conditions.backend));
            } else {
                parts.push(format!("image {}", conditions.image));
            }
            parts.extend(conditions.limits());
            parts.extend(conditions.condition_of.as_ref().map(ConditionOf::words));
        }
        if let Some((first, last)) = self.span() {
            parts.push(format!("iterations {first}-{last}"));
        }
        parts.join(", ")
    }
}

/// Every set of limits that iterations ran under, if any ran under one.
fn load(answers: Answers<'_>) -> Vec<Limits> {
    let mut found: Vec<Limits> = Vec::new();
    for exit in answers.all().filter_map(|record| record.exit.as_ref()) {
        let own = exit.conditions.as_ref().map(Limits::of_the_sweep).unwrap_or_default();
        if !found.contains(&own) {
            found.push(own);
        }
    }
    if found.iter().all(|own| own.words().is_empty()) {
        found.clear();
    }
    found
}
