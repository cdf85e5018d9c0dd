//! The runs of a search: its sweep opened, what the course needs run, what is recorded read back.

use std::path::Path;
use std::sync::Arc;

use super::asked::Asked;
use super::base::Target;
use super::knob::{self, Knob};
use super::work::{self, Searching};
use crate::backend::Backend;
use crate::commands::decided::{Ended, schedule};
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::sweep::{Probed, before};
use crate::judge::SignatureSet;
use crate::message::{hinted, tell, usage};
use crate::run;
use crate::spec::{Amplification, BackendKind, Spec};
use crate::stats::Count;
use crate::stats::amplify::{Base, Course, Recorded, Step};
use crate::sweep::stop::Class;

impl Asked<'_> {
    /// Runs what the course needs.
    pub(super) async fn search(
        &mut self,
        signals: tokio::sync::mpsc::UnboundedReceiver<()>,
        backends: &mut Vec<Arc<dyn Backend>>,
    ) -> anyhow::Result<Ended> {
        if !self.is_known {
            self.leave_out(backends).await?;
        }
        let mut probed = Probed::new(&self.sweep, self.spec.clone(), backends).await?;
        probed.spec.amplification = Some(self.search.clone());
        let base = probed.open(&self.sweep, &self.signatures)?;
        // Another process may have begun it a moment ago: its plan holds for both.
        if let Some(first) = run::spec(base.context.sweep.dir())?.and_then(|spec| spec.amplification) {
            self.knobs = first.knobs.iter().map(knob::Knob::recorded).collect::<Result<_, _>>()?;
            self.search = first;
        }
        self.announce();
        before::run(self.settings).await?;
        base.context.backend.make_noise(base.context.sweep.dir()).await?;
        let (course, target, knobs) = (self.course(), self.target.clone(), self.knobs.clone());
        let mut searching = Searching::new(course, target, knobs, self.search.clone(), base, self.read()?);
        let ran = schedule(&mut searching, self.spec.jobs, &self.sweep, signals).await;
        let gave_up = searching.gave_up().map(str::to_owned);
        backends.extend(searching.into_backends());
        Ok(Ended::of(gave_up.as_deref(), ran?))
    }

    /// Leaves out the knobs that the engine here cannot turn, or says so where they were named.
    async fn leave_out(&mut self, backends: &mut Vec<Arc<dyn Backend>>) -> anyhow::Result<()> {
        if self.spec.backend == BackendKind::Local {
            return Ok(());
        }
        let named = self
            .knobs
            .iter()
            .filter(|knob| knob.flags.flags.first().is_some_and(|flag| flag == "--condition"));
        let all: Spec = named.fold(self.spec.clone(), |spec, knob| knob.on(&spec));
        if all == self.spec {
            return Ok(());
        }
        let probed = Probed::new(&self.sweep, all, backends).await?;
        let lost = probed.backend.without_effect();
        let cause = |knob: &knob::Knob| {
            let found = lost.iter().find(|(condition, _)| condition.as_str() == knob.flags.name);
            found.map(|(_, cause)| cause.clone())
        };
        let mut left = Vec::new();
        for knob in self.knobs.clone() {
            match cause(&knob) {
                None => left.push(knob),
                Some(cause) if self.args.knobs.is_empty() => {
                    tell(format_args!("note: `{}` cannot be had here: {cause}", knob.flags.name));
                }
                Some(cause) => {
                    return Err(usage(
                        format!("the knob `{}` cannot be had here: {cause}", knob.flags.name),
                        Some("leave it out"),
                    ));
                }
            }
        }
        self.set_knobs(left)
    }

    /// What is recorded of the search.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Recorded>> {
        read(&self.dir(), &self.knobs, &self.target, &self.signatures)
    }

    /// Whether the recorded runs have decided.
    pub(super) fn is_over(&self) -> anyhow::Result<bool> {
        Ok(!matches!(self.course().next(&self.read()?), Step::Run(_)))
    }
}

/// The course of a search, as it was planned when it began.
pub(super) fn of(search: &Amplification) -> Course {
    Course {
        knobs: search.knobs.len(),
        base: Base {
            target: Count::new(search.failed, search.of).unwrap_or_default(),
            other: search.other,
        },
        seed: search.seed,
        max_runs: search.max_runs,
        block: usize::try_from(search.block).unwrap_or(8).max(8),
    }
}

fn read(dir: &Path, knobs: &[Knob], target: &Target, signatures: &SignatureSet) -> anyhow::Result<Vec<Recorded>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let first = JudgedSweep::read(dir, signatures)?.answers().first();
    Ok(work::recorded(&first, knobs, target))
}

/// What a search has shown to make its failure come often.
pub(in crate::commands) struct Winner {
    pub(in crate::commands) knobs: Vec<Knob>,
    class: Class,
    amplified: Count,
}

impl Winner {
    /// How often a class came under the knobs, where that is what the search looked for, in whichever test.
    pub(in crate::commands) fn rate_of(&self, class: &Class) -> Option<Count> {
        (self.class == *class).then_some(self.amplified)
    }
}

/// The condition that a search has shown.
pub(in crate::commands) fn winner(
    dir: &Path,
    search: &Amplification,
    signatures: &SignatureSet,
) -> anyhow::Result<Winner> {
    let knobs: Vec<Knob> = search.knobs.iter().map(Knob::recorded).collect::<Result<_, _>>()?;
    let target = Target {
        class: search.class.parse().map_err(anyhow::Error::msg)?,
        test: search.test.clone(),
    };
    let none = |what, hint: &str| Err(hinted(format!("`{}` {what}", dir.display()), hint));
    match of(search).next(&read(dir, &knobs, &target, signatures)?) {
        Step::Shown(report) => Ok(Winner {
            knobs: report.winner.iter().map(|knob| knobs[*knob].clone()).collect(),
            class: target.class,
            amplified: report.amplified,
        }),
        Step::Run(_) => none(
            "is a search that is still open: no condition is shown yet",
            "the command that began it goes on with it",
        ),
        Step::Stopped(_) => none(
            "is a search that has shown no condition",
            "name a sweep that ran under one, or give flags such as --condition one-core",
        ),
    }
}
