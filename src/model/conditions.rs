//! What a sweep ran under, and in what two sweeps differ.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::short_id;
use super::summary::split_name;
use super::{Mode, Record, Spec};

/// What can make two sweeps differ besides the change that is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The specification; `None` for a tree of the script, which wrote none.
    pub spec: Option<Spec>,
    /// `serial`, `n4` …, by the specification or else by the directory's name.
    pub mode: Option<Mode>,
    /// Identities of the images its iterations ran.
    pub image_ids: BTreeSet<String>,
    /// Machines its iterations ran on.
    pub nodes: BTreeSet<String>,
    /// Backends its iterations ran on.
    pub backends: BTreeSet<String>,
    /// Versions of this tool that ran them.
    pub tools: BTreeSet<String>,
    /// How many iterations were to be in flight.
    pub jobs: BTreeSet<u32>,
}

impl Conditions {
    /// What a sweep ran under, by its specification, the name of its directory, and the facts of its iterations.
    #[must_use]
    pub fn of(name: &str, spec: Option<&Spec>, records: &[Record]) -> Conditions {
        let mut found = Conditions {
            mode: spec.map(|spec| spec.mode).or_else(|| split_name(name).0),
            spec: spec.cloned(),
            ..Conditions::default()
        };
        for exit in records.iter().filter_map(|record| record.exit.as_ref()) {
            found.image_ids.extend(exit.image_id.clone());
            found.nodes.extend(exit.node.clone());
            found.backends.extend(exit.backend.clone());
            found.tools.extend(exit.tool.clone());
            found.jobs.extend(exit.jobs);
        }
        // Iterations of an older version do not say it themselves.
        if let (true, Some(spec)) = (found.jobs.is_empty(), spec) {
            found.jobs.insert(spec.jobs);
        }
        found
    }
}

/// Whether a difference is what one compares for, or what one has to rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Another image: the change that is looked at.
    Change,
    /// Anything else that may move a rate.
    Condition,
}

/// One respect in which two sweeps differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, as a noun.
    pub what: String,
    /// In the base.
    pub base: String,
    /// In the new one.
    pub new: String,
    /// Whether it is the change or a condition.
    pub weight: Weight,
}

/// In what two sweeps differ; nothing where either is known by its counts only.
#[must_use]
pub fn differences(base: Option<&Conditions>, new: Option<&Conditions>) -> Vec<Difference> {
    let (Some(base), Some(new)) = (base, new) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, weight, base: String, new: String| {
        // Where one of the two does not say, there is nothing to compare.
        if base != new && !base.is_empty() && !new.is_empty() {
            found.push(Difference {
                what: what.to_owned(),
                base,
                new,
                weight,
            });
        }
    };
    let ids = |side: &Conditions| joined(side.image_ids.iter().map(|id| short_id(id)));
    let condition = Weight::Condition;
    match (&base.spec, &new.spec) {
        (Some(old), Some(spec)) if old.image != spec.image => {
            compare("image", Weight::Change, old.image.clone(), spec.image.clone());
        }
        _ => compare("image id", Weight::Change, ids(base), ids(new)),
    }
    let mode = |side: &Conditions| side.mode.map_or_else(String::new, |mode| mode.to_string());
    compare("mode", condition, mode(base), mode(new));
    compare("node", condition, joined(base.nodes.iter()), joined(new.nodes.iter()));
    compare(
        "backend",
        condition,
        joined(base.backends.iter()),
        joined(new.backends.iter()),
    );
    compare(
        "version of reproduce-flaky",
        condition,
        joined(base.tools.iter()),
        joined(new.tools.iter()),
    );
    let jobs = |side: &Conditions| joined(side.jobs.iter().map(u32::to_string));
    compare("jobs", condition, jobs(base), jobs(new));
    if let (Some(old), Some(spec)) = (&base.spec, &new.spec) {
        compare("pytest arguments", condition, arguments(old), arguments(spec));
        compare(
            "longest time",
            condition,
            seconds(old.deadlines.total_s),
            seconds(spec.deadlines.total_s),
        );
        let silence = |spec: &Spec| spec.deadlines.silence_s.map_or_else(|| "none".to_owned(), seconds);
        compare("longest silence", condition, silence(old), silence(spec));
        compare("workspace", condition, workspace(old), workspace(spec));
        compare("container", condition, container(old), container(spec));
        compare("trail", condition, on_off(old.trail), on_off(spec.trail));
        let names: BTreeSet<&String> = old.versions.keys().chain(spec.versions.keys()).collect();
        for name in names {
            let version = |spec: &Spec| spec.versions.get(name).cloned().unwrap_or_else(|| "none".to_owned());
            if !old.versions.is_empty() && !spec.versions.is_empty() {
                compare(name, condition, version(old), version(spec));
            }
        }
    }
    found.extend(variables(base, new));
    found
}

/// Variables that only one of the two has, or that have another value; by name, since values may be secrets.
fn variables(base: &Conditions, new: &Conditions) -> Vec<Difference> {
    let (Some(old), Some(spec)) = (&base.spec, &new.spec) else {
        return Vec::new();
    };
    let values = |spec: &Spec| -> BTreeMap<String, Option<String>> {
        spec.env
            .iter()
            .map(|var| (var.name.clone(), var.value.clone()))
            .collect()
    };
    let (before, now) = (values(old), values(spec));
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (base, new) = match (before.get(name), now.get(name)) {
                (Some(old), Some(new)) if old == new => return None,
                (Some(_), Some(_)) => ("one value", "another value"),
                (Some(_), None) => ("set", "not set"),
                (None, _) => ("not set", "set"),
            };
            Some(Difference {
                what: format!("variable {name}"),
                base: base.to_owned(),
                new: new.to_owned(),
                weight: Weight::Condition,
            })
        })
        .collect()
}

/// The warning that differing conditions are worth, and what one more difference says.
pub(crate) fn notes(differences: &[Difference]) -> Vec<String> {
    let conditions: Vec<&str> = differences
        .iter()
        .filter(|difference| difference.weight == Weight::Condition)
        .map(|difference| difference.what.as_str())
        .collect();
    let mut notes: Vec<String> = differences
        .iter()
        .map(|difference| {
            format!(
                "{}: `{}` before, `{}` now",
                difference.what, difference.base, difference.new
            )
        })
        .collect();
    if !conditions.is_empty() {
        notes.push(format!(
            "not run under the same conditions ({}): a difference in rates may be theirs",
            conditions.join(", ")
        ));
    }
    notes
}

fn joined<T: AsRef<str>>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.as_ref().to_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

fn arguments(spec: &Spec) -> String {
    if spec.pytest_args.is_empty() {
        "none".to_owned()
    } else {
        shell_words::join(&spec.pytest_args)
    }
}

fn seconds(value: f64) -> String {
    format!("{value} s")
}

fn on_off(value: bool) -> String {
    (if value { "on" } else { "off" }).to_owned()
}

fn workspace(spec: &Spec) -> String {
    (match spec.container.workspace {
        super::Workspace::Rw => "rw",
        super::Workspace::Ro => "ro",
        super::Workspace::Fresh => "fresh",
    })
    .to_owned()
}

/// Limits of the container in words.
fn container(spec: &Spec) -> String {
    let container = &spec.container;
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name} {value}")));
    part("cpus", container.cpus.map(|cpus| cpus.to_string()));
    part("memory", container.memory.map(|bytes| bytes.to_string()));
    part("shm", container.shm_size.map(|bytes| bytes.to_string()));
    part("network", container.network.clone());
    part("gpus", container.gpus.clone());
    part("user", container.user.clone());
    parts.extend(
        container
            .without
            .iter()
            .map(|part| format!("without {part:?}").to_lowercase()),
    );
    if parts.is_empty() {
        "defaults".to_owned()
    } else {
        parts.join(", ")
    }
}
