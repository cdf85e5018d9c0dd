//! What a sweep ran under, and in what two sweeps differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::Record;
use crate::spec::{Mode, Spec, Workspace, is_secret_name, limits, short_id};

/// What can make two sweeps differ besides the change that is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The specification; `None` for a tree of the script, which wrote none.
    pub spec: Option<Spec>,
    /// `serial`, `n4` …, by the specification or else by the directory's name.
    pub mode: Option<Mode>,
    pub image_ids: BTreeSet<String>,
    pub nodes: BTreeSet<String>,
    pub backends: BTreeSet<String>,
    pub tools: BTreeSet<String>,
    /// How many iterations were to be in flight.
    pub jobs: BTreeSet<u32>,
    /// Whether containers were started ahead of their turn, as those of nearly all iterations are or none; `None`
    /// where nobody wrote it down.
    pub started_ahead: Option<bool>,
}

impl Conditions {
    /// What a sweep ran under, by its specification, the name of its directory, and the facts of its iterations.
    pub fn of<'a>(name: &str, spec: Option<&Spec>, answers: impl Iterator<Item = &'a Record>) -> Conditions {
        let mut found = Conditions {
            mode: spec.map(|spec| spec.mode).or_else(|| Mode::of_dir(name).0),
            spec: spec.cloned(),
            ..Conditions::default()
        };
        for exit in answers.filter_map(|record| record.exit.as_ref()) {
            found.image_ids.extend(exit.image_id.clone());
            found.nodes.extend(exit.node.clone());
            found.backends.extend(exit.backend.clone());
            found.tools.extend(exit.tool.clone());
            found.jobs.extend(exit.jobs);
            // An attempt after a lost one is started at its turn whatever the sweep does.
            let ahead = exit.conditions.as_ref().and_then(|limits| limits.started_ahead);
            found.started_ahead = found.started_ahead.max(ahead);
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: String,
    pub base: String,
    pub new: String,
    pub weight: Weight,
}

/// In what two sweeps differ; nothing where either is known by its counts only.
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
    let ahead = |side: &Conditions| side.started_ahead.map_or_else(String::new, on_off);
    compare("starting containers ahead", condition, ahead(base), ahead(new));
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
    // What two arms were asked to differ in is what they are there to show.
    if let (Some(old), Some(spec)) = (&base.spec, &new.spec)
        && old.is_interleaved_with(spec)
    {
        let asked = ["mode", "backend", "pytest arguments", "workspace", "container", "trail"];
        let is_asked =
            |what: &str| asked.contains(&what) || what.starts_with("variable ") || what.starts_with("longest ");
        let found = found.iter_mut().filter(|difference| is_asked(&difference.what));
        found.for_each(|difference| difference.weight = Weight::Change);
    }
    found
}

/// Variables that only one of the two has, or that have another value. A value is told where it was given on the command
/// line and the variable's name does not say that it is a secret.
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
    let told = |name: &str, value: Option<&Option<String>>| match value {
        None => "not set".to_owned(),
        Some(Some(value)) if !is_secret_name(name) => value.clone(),
        Some(_) => "set".to_owned(),
    };
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| {
            let (mut base, mut new) = (told(name, before.get(name)), told(name, now.get(name)));
            if base == new {
                (base, new) = ("one value".to_owned(), "another value".to_owned());
            }
            Difference {
                what: format!("variable {name}"),
                base,
                new,
                weight: Weight::Condition,
            }
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
        Workspace::Rw => "rw",
        Workspace::Ro => "ro",
        Workspace::Fresh => "fresh",
    })
    .to_owned()
}

/// Limits of the container in words.
fn container(spec: &Spec) -> String {
    let container = &spec.container;
    let mut parts = Vec::new();
    let named = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    parts.extend(named("cpus", container.cpus.map(|cpus| cpus.to_string())));
    parts.extend(named("memory", container.memory.map(limits::size)));
    parts.extend(named("cpuset", container.cpuset.clone()));
    parts.extend(named("pids", container.pids_limit.map(|most| most.to_string())));
    parts.extend(named("noise", container.noise.map(|cores| cores.to_string())));
    parts.extend(container.conditions.iter().map(ToString::to_string));
    parts.extend(named("starve", container.starve.as_ref().map(ToString::to_string)));
    parts.extend(named("shm", container.shm_size.map(|bytes| bytes.to_string())));
    parts.extend(named("network", container.network.clone()));
    parts.extend(named("gpus", container.gpus.clone()));
    parts.extend(named("user", container.user.clone()));
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
