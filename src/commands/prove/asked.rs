//! A proof as it was asked for: what runs on both sides, the plan, and whether it was begun before.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::Args;
use super::base::{self, Base, conditions_of};
use super::plan::{BASE_AGAIN, Proving};
use super::words::{self, Costs};
use crate::backend;
use crate::cli::settings::Settings;
use crate::commands::decided;
use crate::commands::sweep::args::Args as SweepArgs;
use crate::commands::sweep::condition_of::Taken;
use crate::commands::sweep::dry_run;
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::{hinted, tell};
use crate::run;
use crate::spec::{Container, Design, Proof, Spec, unlike};
use crate::stats::prove::{NoPlan, Plan};
use crate::stats::sign::SignPlan;
use crate::stats::{Count, percent};

pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) settings: Option<&'a Settings>,
    pub(super) base: Base,
    pub(super) signatures: Arc<SignatureSet>,
    /// Flags of the sweeps: their range, their name, where they go.
    pub(super) sweep: SweepArgs,
    pub(super) fix: Spec,
    /// What the base ran, as far as it may run here.
    pub(super) recorded: Option<Spec>,
    /// The conditions that `--condition-of` names.
    taken: Option<Taken>,
    pub(super) plan: Result<Plan, NoPlan>,
    pub(super) control: Result<SignPlan, NoPlan>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        args: &'a Args,
        settings: Option<&'a Settings>,
        base: Base,
        signatures: Arc<SignatureSet>,
    ) -> anyhow::Result<Asked<'a>> {
        let here = std::env::current_dir().context("failed to find the current directory")?;
        let recorded = match base.spec() {
            Some(spec) if !base.is_imported() => Some(spec.clone()),
            // Nothing of another person's sweep runs here unasked.
            Some(spec) if spec.allowed_backend(&args.allow).is_some() => Some(spec.as_allowed(&args.allow, &here)),
            Some(_) | None => None,
        };
        let tag = decided::tag("prove", &args.sweep, Some(&base.dir), &base.class);
        let mut sweep = decided::own_sweep(&args.sweep, 1, tag.clone(), &tag)?;
        let (fix, taken) = decided::own_spec(&mut sweep, settings, recorded.as_ref())?;
        let beside = taken.as_ref().and_then(|taken| taken.rate_of(&base.class));
        Ok(Asked {
            plan: Plan::choose(base.count, args.to, args.power),
            control: SignPlan::for_control(beside.unwrap_or(base.count), args.to, args.power),
            args,
            settings,
            base,
            signatures,
            sweep,
            fix,
            recorded,
            taken,
        })
    }

    pub(super) fn costs(&self) -> Costs<'_> {
        Costs {
            class: self.base.class.to_string(),
            base: self.base.count,
            beside: self.beside(),
            recorded: &self.plan,
            control: &self.control,
            jobs: self.fix.jobs,
            each_s: self.base.each_s,
            is_full: self.args.full,
        }
    }

    pub(super) fn dir(&self, spec: &Spec) -> PathBuf {
        self.sweep.logs.dir.join(spec.dir_name())
    }

    /// The directories of a proof's sweeps, in the order of its arms.
    pub(super) fn dirs(&self, proving: &Proving) -> Vec<PathBuf> {
        let mut dirs = vec![self.dir(&self.fix)];
        if proving.proof.design == Design::Control {
            let base = Spec {
                tag: self.base_again_tag(),
                ..self.fix.clone()
            };
            dirs.insert(BASE_AGAIN, self.dir(&base));
        }
        dirs
    }

    pub(super) fn base_again_tag(&self) -> Option<String> {
        self.fix.tag.as_ref().map(|tag| format!("{tag}-base"))
    }

    pub(super) fn proving(&self, proof: Proof) -> anyhow::Result<Proving> {
        let dir = self.dir(&self.fix);
        Proving::new(proof).map_err(|cause| anyhow::anyhow!("failed to read the plan of `{}`: {cause}", dir.display()))
    }

    /// The plan of a proof that was begun before, if this is the same one.
    pub(super) fn known(&self) -> anyhow::Result<Option<Proof>> {
        let dir = self.dir(&self.fix);
        let Some(known) = run::spec(&dir)? else {
            return Ok(None);
        };
        let hint = "name the new proof with --tag";
        let Some(proof) = known.proof.clone() else {
            return Err(hinted(
                format!("`{}` holds a sweep that proves nothing", dir.display()),
                hint,
            ));
        };
        let design = match (self.args.control, self.args.trust_base) {
            (true, _) => Design::Control,
            (_, true) => Design::Recorded,
            // What the base called for when the proof began.
            (false, false) => proof.design,
        };
        let mut differences = proof.differences(&self.proof(design, 0, 0));
        differences.extend(fix_differences(&self.fix, &known));
        if !differences.is_empty() {
            return Err(hinted(
                format!(
                    "`{}` was begun as another proof ({})",
                    dir.display(),
                    differences.join(", ")
                ),
                hint,
            ));
        }
        if (proof.failed, proof.of) != (self.base.count.failed(), self.base.count.of()) {
            tell(format_args!(
                "note: the base was {}/{} when this proof began, and is {} now; its plan stays as it was",
                proof.failed, proof.of, self.base.count
            ));
        }
        Ok(Some(proof))
    }

    /// Takes the base as it was when the proof began.
    pub(super) fn go_on(&mut self, proof: &Proof) {
        self.base.count = Count::new(proof.failed, proof.of).unwrap_or(self.base.count);
        self.plan = Plan::choose(self.base.count, self.args.to, self.args.power);
        let beside = self.beside().unwrap_or(self.base.count);
        self.control = SignPlan::for_control(beside, self.args.to, self.args.power);
    }

    /// How often the class came under the conditions that both sides run under, where a search has measured it.
    fn beside(&self) -> Option<Count> {
        self.taken.as_ref()?.rate_of(&self.base.class)
    }

    pub(super) fn proof(&self, design: Design, allowed: u64, most: u64) -> Proof {
        Proof {
            base: self.base.dir.clone(),
            class: self.base.class.to_string(),
            failed: self.base.count.failed(),
            of: self.base.count.of(),
            design,
            remaining: self.args.to,
            power: self.args.power,
            allowed,
            most,
            is_full: self.args.full,
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    pub(super) fn planned(&self, design: Design) -> anyhow::Result<Proof> {
        let (plan, other) = match design {
            Design::Recorded => {
                let plan = self
                    .plan
                    .as_ref()
                    .map(|plan| (plan.allowed(), plan.looks.last().copied().unwrap_or(0)));
                (plan.map_err(|cause| *cause), "a longer base would do, or --control")
            }
            Design::Control => {
                let plan = self
                    .control
                    .as_ref()
                    .map(|plan| (plan.allowed(), plan.most_blocks.unwrap_or(0)));
                (
                    plan.map_err(|cause| *cause),
                    "a longer base would do, or a smaller share with --to",
                )
            }
        };
        let (allowed, most) = plan.map_err(|cause| {
            hinted(
                format!(
                    "no plan shows with a probability of {} that {} of {} is left: {}",
                    percent(self.args.power),
                    percent(self.args.to),
                    self.base.count,
                    words::why(cause)
                ),
                other,
            )
        })?;
        Ok(self.proof(design, allowed, most))
    }

    /// What speaks against the recorded runs, and the design that follows.
    pub(super) fn design(&self, fix: &Spec, is_ahead: Option<bool>) -> (Design, Vec<String>) {
        let conditions = conditions_of(fix, &backend::host_name(), is_ahead);
        let objections = self.base.objections(&conditions, &self.args.sweep);
        let design = if self.args.trust_base {
            Design::Recorded
        } else {
            base::design(self.args.control, &objections)
        };
        (design, objections)
    }

    pub(super) fn announce(&self, design: Design, objections: &[String]) {
        let shown = self.base.shown.display();
        if self.base.sample.running > 0 {
            tell(format_args!(
                "note: `{shown}` is still running; the proof takes it as it is now"
            ));
        }
        for objection in objections {
            let instead = match design {
                Design::Control => "the base is run again beside the fix; --trust-base compares with its recorded runs",
                Design::Recorded => "its recorded runs are trusted all the same",
            };
            tell(format_args!("note: `{shown}`: {objection}: {instead}"));
        }
        for line in self.costs().lines(design, !objections.is_empty()) {
            tell(line);
        }
    }

    pub(super) fn dry_run(&self, known: Option<Proof>) -> anyhow::Result<ExitCode> {
        let (design, objections) = self.design(&self.fix, None);
        let proof = match known {
            Some(proof) => proof,
            None => self.planned(design)?,
        };
        self.announce(proof.design, &objections);
        let mut sweep = self.sweep.clone();
        sweep.end = last(&proof);
        let mut specs = vec![self.fix.clone()];
        if proof.design == Design::Control {
            specs.insert(BASE_AGAIN, self.base_again(&self.fix)?);
        }
        dry_run::print(&sweep, self.settings, &specs)
    }

    pub(super) fn base_again(&self, fix: &Spec) -> anyhow::Result<Spec> {
        let spec = self.base.again(self.recorded.as_ref(), fix)?;
        let (mut env, mut pass_env) = (spec.env.clone(), spec.pass_env.clone());
        if let Some(taken) = &self.taken {
            // Its variables are the base's own, with those of the conditions.
            let under = taken.on(&spec, &self.sweep.env, &self.sweep.given);
            (env, pass_env) = (under.env, under.pass_env);
        }
        Ok(Spec {
            tag: self.base_again_tag(),
            env,
            pass_env,
            ..spec
        })
    }
}

/// The last iteration that a proof needs if none errors.
pub(super) fn last(proof: &Proof) -> u32 {
    u32::try_from(proof.most).unwrap_or(u32::MAX).max(1)
}

/// In what a proof that was begun ran another fix, beside what every resume refuses.
pub(in crate::commands) fn fix_differences(fix: &Spec, known: &Spec) -> Vec<&'static str> {
    unlike([
        ("variables", fix.env == known.env),
        ("directory", fix.directory == known.directory),
        ("image", fix.image == known.image),
        ("pytest arguments", fix.pytest_args == known.pytest_args),
        ("container", is_same_container(fix, known)),
        ("requirements", fix.host_requirements == known.host_requirements),
    ])
}

fn is_same_container(fix: &Spec, known: &Spec) -> bool {
    // It changes nothing of what runs, and is not kept.
    let no_prestart = known.container.no_prestart;
    let fix = Container {
        no_prestart,
        ..fix.container.clone()
    };
    fix == known.container
}
