//! The recorded sweep that a fix is compared with: what failed in it, and why it may not do to compare with its record.

use std::fs;
use std::path::PathBuf;

use super::Args;
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::operand::Operand;
use crate::commands::sweep::args::Args as SweepArgs;
use crate::judge::{Outcome, OutcomeKind, SignatureSet, Verdict};
use crate::message::{hinted, usage};
use crate::spec::{Design, Spec};
use crate::stats::Count;
use crate::stats::conditions::{self, Conditions, Difference, Weight};
use crate::stats::drift::Drift;
use crate::stats::sample::Sample;
use crate::sweep::stop::Class;

/// Most classes that a message lists.
const MOST_LISTED: usize = 12;

pub(super) struct Base {
    /// Its directory, as the user would type it.
    pub(super) shown: PathBuf,
    /// Its directory, absolute.
    pub(super) dir: PathBuf,
    pub(super) sample: Sample,
    judged: JudgedSweep,
    pub(super) class: Class,
    /// Failures of the class in its answered runs.
    pub(super) count: Count,
    /// Median of the seconds that an answered run took.
    pub(super) each_s: Option<f64>,
}

impl Base {
    /// Reads the sweep that the arguments name, and finds the class to prove something of.
    pub(super) fn read(args: &Args, signatures: &SignatureSet) -> anyhow::Result<Base> {
        let text = &args.base;
        let source = Operand::read(text, &args.sweep.logs.dir, signatures)?;
        let Some(judged) = source.sweep else {
            return Err(usage(
                format!("`{text}` are counts, and a proof needs the recorded runs of a sweep"),
                Some(&format!(
                    "name its directory; reproduce-flaky plan {text} says how many clean runs would show a fix"
                )),
            ));
        };
        let shown = judged.dir.clone();
        let name = &shown.display().to_string();
        let dir = fs::canonicalize(&shown).unwrap_or_else(|_| shown.clone());
        let class = match &args.of {
            Some(class) => class.clone(),
            None => only_class(name, &source.sample)?,
        };
        let answered = judged.answers().answered();
        let count: Count = answered.map(|record| is_of(&class, &record.outcome)).collect();
        if count.failed() == 0 {
            return Err(nothing_to_prove(name, &class, &source.sample));
        }
        Ok(Base {
            shown,
            dir,
            class,
            count,
            each_s: judged.usual_s(),
            sample: source.sample,
            judged,
        })
    }

    /// What it ran; `None` where nothing says so.
    pub(super) fn spec(&self) -> Option<&Spec> {
        self.judged.spec.as_ref()
    }

    pub(super) fn is_imported(&self) -> bool {
        self.judged.is_imported()
    }

    /// Why its record is not what the fix can be compared with, one reason each. `new` is what the fix runs under.
    pub(super) fn objections(&self, new: &Conditions, sweep: &SweepArgs) -> Vec<String> {
        let mut found = Vec::new();
        let answers = self.judged.answers();
        if answers.is_asked_again() {
            found.extend(answers.replaced());
        }
        let drift = Drift::of_class(answers, |outcome| is_of(&self.class, outcome));
        if let Some(words) = drift.words() {
            found.push(format!(
                "{} has not one constant, independent rate there: {words}",
                self.class
            ));
        }
        let others = self.other_conditions(new, sweep);
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(shown).collect();
            found.push(format!("it ran under other conditions: {}", others.join(", ")));
        }
        found
    }

    /// Conditions that are others for the fix and are not the fix.
    fn other_conditions(&self, new: &Conditions, sweep: &SweepArgs) -> Vec<Difference> {
        let old = self.sample.conditions.as_ref();
        let found = conditions::differences(old, Some(new));
        let versions = new.spec.iter().flat_map(|spec| spec.versions.keys());
        let versions: Vec<&String> = versions
            .chain(self.spec().iter().flat_map(|spec| spec.versions.keys()))
            .collect();
        let is_named = |name: &str| sweep.env.iter().any(|variable| variable.name == name);
        let is_fix = |difference: &Difference| {
            let what = &difference.what;
            difference.weight == Weight::Change
                // A variable that was named is what changed; the rest are as recorded.
                || (sweep.given.has(&["env"]) && what.strip_prefix("variable ").is_some_and(is_named))
                // What another image brings with it.
                || (sweep.given.has(&["image"]) && versions.contains(&what))
                // The tool judges both sides alike, whatever ran them.
                || what == "version of reproduce-flaky"
        };
        found.into_iter().filter(|difference| !is_fix(difference)).collect()
    }

    /// What runs where the base is run again: as the fix does, but with the base's own image, variables and directory.
    pub(super) fn again(&self, recorded: Option<&Spec>, fix: &Spec) -> anyhow::Result<Spec> {
        let Some(recorded) = recorded else {
            let shown = self.shown.display();
            return Err(match self.spec() {
                None => hinted(
                    format!("nothing says what `{shown}` ran, so that it cannot be run again beside the fix"),
                    "--trust-base compares with its recorded runs",
                ),
                Some(_) => hinted(
                    format!("`{shown}` came in with a bundle, and nothing of it runs here unasked"),
                    "--allow container runs it again beside the fix; --trust-base compares with its recorded runs",
                ),
            });
        };
        let image = match &recorded.image_id {
            Some(id) if !["", "host"].contains(&recorded.image.as_str()) => id.clone(),
            Some(_) | None => recorded.image.clone(),
        };
        Ok(Spec {
            image,
            backend: recorded.backend,
            directory: recorded.directory.clone(),
            env: recorded.env.clone(),
            pass_env: recorded.pass_env.clone(),
            host_requirements: recorded.host_requirements.clone(),
            image_id: None,
            ..fix.clone()
        })
    }
}

fn shown(difference: &Difference) -> String {
    format!(
        "{} `{}` before, `{}` now",
        difference.what, difference.base, difference.new
    )
}

/// Whether a run failed in a class. What errored failed in none.
pub(in crate::commands) fn is_of(class: &Class, outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Failed && class.has(outcome)
}

fn classes(sample: &Sample) -> Vec<String> {
    let all = sample.by_category.keys();
    all.map(|id| format!("{id} ({})", sample.class(id))).collect()
}

/// The class of a base that failed in one only.
fn only_class(text: &str, sample: &Sample) -> anyhow::Result<Class> {
    let mut ids = sample.by_category.keys();
    match (ids.next(), ids.next()) {
        (Some(id), None) => id.parse().map_err(|cause: String| usage(cause, None)),
        (None, _) if sample.any.failed() > 0 => Ok(Class::Any),
        (None, _) => Err(nothing_to_prove(text, &Class::Any, sample)),
        (Some(first), Some(_)) => {
            let mut listed = classes(sample);
            if listed.len() > MOST_LISTED {
                let more = listed.len() - MOST_LISTED;
                listed.truncate(MOST_LISTED);
                listed.push(format!("{more} more"));
            }
            Err(usage(
                format!("`{text}` failed in several classes: {}", listed.join(", ")),
                Some(&format!(
                    "name the one the fix is for, such as --of {first}, or --of any"
                )),
            ))
        }
    }
}

fn nothing_to_prove(text: &str, class: &Class, sample: &Sample) -> anyhow::Error {
    let of = sample.any.of();
    if sample.any.failed() == 0 {
        return hinted(
            format!("nothing to prove: none of the {of} answered runs of `{text}` failed"),
            "a fix is proved against a base in which the failure was seen; run the base longer",
        );
    }
    let words = match class {
        Class::Any => "no failure".to_owned(),
        Class::Outcome(_) | Class::Category(_) => format!("no failure of the class `{class}`"),
    };
    hinted(
        format!("nothing to prove: {words} in the {of} answered runs of `{text}`"),
        format!("what failed there: {}", classes(sample).join(", ")),
    )
}

/// Reads `--of`: what a run can fail in.
pub(in crate::commands) fn class(text: &str) -> Result<Class, String> {
    let class: Class = text.parse()?;
    match class {
        Class::Outcome(kind) if kind.verdict() != Verdict::Failed => {
            let all = OutcomeKind::ALL.iter().copied();
            let failed = all.filter(|kind| kind.verdict() == Verdict::Failed);
            let failed: Vec<&str> = failed.map(OutcomeKind::as_str).collect();
            Err(format!(
                "`{text}` is no failure; expected a category such as `A4`, `any`, or one of {}",
                failed.join(", ")
            ))
        }
        class => Ok(class),
    }
}

/// What a fix runs under, before any of its runs is there to tell.
pub(super) fn conditions_of(spec: &Spec, node: &str, is_ahead: Option<bool>) -> Conditions {
    let mut found = Conditions::of("", Some(spec), std::iter::empty());
    found.image_ids.extend(spec.image_id.clone());
    found.nodes.insert(node.to_owned());
    found.backends.insert(spec.backend.as_str().to_owned());
    found.tools.insert(spec.tool.clone());
    found.started_ahead = is_ahead;
    found
}

/// The design that a base calls for.
pub(super) fn design(is_control: bool, objections: &[String]) -> Design {
    if is_control || !objections.is_empty() {
        Design::Control
    } else {
        Design::Recorded
    }
}
