//! The runs of a proof: its sweeps opened, what the plan needs run, what is recorded read back.

use std::sync::Arc;

use super::asked::{Asked, last};
use super::plan::{Proving, Shown};
use crate::backend::Backend;
use crate::commands::decided::{Ended, schedule};
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::sweep::{self, Probed, before};
use crate::message::hinted;
use crate::run;
use crate::spec::{ArmPlace, BackendKind, Design, Proof, Spec};
use crate::sweep::planned::{Planned, Runs};
use crate::sweep::scheduler::Arm;

impl Asked<'_> {
    pub(super) async fn prove(
        &self,
        known: Option<Proof>,
        signals: tokio::sync::mpsc::UnboundedReceiver<()>,
        backends: &mut Vec<Arc<dyn Backend>>,
    ) -> anyhow::Result<(Proving, Ended)> {
        let mut fix = Probed::new(&self.sweep, self.fix.clone(), backends).await?;
        let is_ahead = (fix.spec.backend == BackendKind::Docker).then(|| fix.backend.is_ahead());
        let (design, objections) = self.design(&fix.spec, is_ahead);
        let mut proof = match known {
            Some(proof) => proof,
            None => self.planned(design)?,
        };
        let mut base = None;
        if proof.design == Design::Control {
            let again = Probed::new(&self.sweep, self.base_again(&fix.spec)?, backends).await?;
            self.ensure_apart(&again.spec, &fix.spec)?;
            base = Some(again);
        }
        self.announce(proof.design, &objections);
        let mut sweep = self.sweep.clone();
        sweep.end = last(&proof);
        let place = |name: &str, seed| ArmPlace {
            name: name.to_owned(),
            arms: vec!["base".to_owned(), "fix".to_owned()],
            seed,
        };
        let with = |mut spec: Spec, name: &str, proof: &Proof| {
            spec.last = sweep.end;
            spec.arm = (proof.design == Design::Control).then(|| place(name, proof.seed));
            spec.proof = Some(proof.clone());
            spec
        };
        fix.spec = with(fix.spec, "fix", &proof);
        let fix = fix.open(&sweep, &self.signatures)?;
        // Another process may have begun it a moment ago: its plan holds for both.
        if let Some(first) = run::spec(fix.context.sweep.dir())?.and_then(|spec| spec.proof) {
            proof = first;
        }
        let mut arms: Vec<Arc<Arm>> = Vec::new();
        if let Some(mut base) = base {
            base.spec = with(base.spec, "base", &proof);
            arms.push(base.open(&sweep, &self.signatures)?);
        }
        arms.push(fix);
        before::run(self.settings).await?;
        let arms = sweep::loud(arms).await?;
        let proving = self.proving(proof)?;
        let runs = self.read(&proving)?.0;
        let mut planned = Planned::new(proving, arms, runs);
        let reason = schedule(&mut planned, self.fix.jobs, &self.sweep, signals).await?;
        let ended = Ended::of(planned.gave_up(), reason);
        Ok((planned.into_plan(), ended))
    }

    /// Refuses to run the same twice and look for a difference.
    pub(super) fn ensure_apart(&self, base: &Spec, fix: &Spec) -> anyhow::Result<()> {
        let is_same = base.image_id == fix.image_id
            && base.backend == fix.backend
            && base.env == fix.env
            && base.directory == fix.directory
            && base.host_requirements == fix.host_requirements;
        if !is_same {
            return Ok(());
        }
        Err(hinted(
            format!(
                "`{}` cannot be run again beside the fix: both would run the same image, variables and directory",
                self.base.shown.display()
            ),
            "name what the fix changes (-i, -E), or call this in a checkout of its own (git worktree add); \
             --trust-base compares with the recorded runs",
        ))
    }

    /// What is recorded of a proof, and what it shows.
    pub(super) fn read(&self, proving: &Proving) -> anyhow::Result<(Runs, Shown)> {
        let mut sides = Vec::new();
        for dir in self.dirs(proving) {
            let first = if dir.is_dir() {
                JudgedSweep::read(&dir, &self.signatures)?.answers().first()
            } else {
                Vec::new()
            };
            sides.push(proving.recorded(&first));
        }
        let runs = Runs::recorded(sides);
        let shown = proving.shown(&runs);
        Ok((runs, shown))
    }
}
