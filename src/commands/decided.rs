//! Sweeps that decide themselves which runs they need: what `prove`, `amplify` and `culprit` do alike.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc::UnboundedReceiver;

use super::gc;
use super::sweep::args::Args as SweepArgs;
use super::sweep::condition_of::Taken;
use super::sweep::inherit::{GivenFlags, inherit};
use super::sweep::{signals, specification};
use crate::backend::Backend;
use crate::cli::settings::Settings;
use crate::message::{hinted, tell, usage};
use crate::spec::{BackendKind, EngineKind, Mode, Spec, values};
use crate::sweep::display::{self, DisplayKind};
use crate::sweep::scheduler::{self, Pace, Reason, Work};
use crate::sweep::stop::Class;

/// Flags of a sweep that a proof or a search decides itself, by the names of their values.
pub(crate) const DECIDED: [(&str, &str); 10] = [
    ("start", "--start"),
    ("end", "--end"),
    ("retry", "--retry"),
    ("max_failures", "--max-failures"),
    ("until", "--until"),
    ("prove_below", "--prove-below"),
    ("for", "--for"),
    ("arm", "--arm"),
    ("stop", "--stop"),
    ("engine", "--engine"),
];

/// How the runs came to an end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ended {
    /// Decided.
    AsPlanned,
    Interrupted,
    /// The runs say nothing about the tests.
    GaveUp(String),
    /// The world broke under them.
    Broken(String),
}

impl Ended {
    /// From the scheduler's reason, and from the plan's own where it gave up.
    pub(super) fn of(gave_up: Option<&str>, reason: Reason) -> Ended {
        match (gave_up, reason) {
            (Some(cause), _) => Ended::GaveUp(cause.to_owned()),
            (None, Reason::Broken(cause) | Reason::NothingRuns(cause)) => Ended::Broken(cause),
            (None, Reason::Interrupted | Reason::Cancelled) => Ended::Interrupted,
            (None, Reason::Complete | Reason::Stopped(_)) => Ended::AsPlanned,
        }
    }
}

/// Refuses flags that have no place where the runs are decided by the command itself.
pub(super) fn refuse(said: &GivenFlags, more: &[(&str, &str)], why: &str, hint: &str) -> anyhow::Result<()> {
    match DECIDED.iter().chain(more).find(|(id, _)| said.has(&[id])) {
        Some((_, flag)) if *flag == "--engine" => Err(usage(
            "--engine has no place here: which run comes next follows from the last ones, and each would wait in the queue",
            Some("have Slurm run all of it on one node: srun -c 8 reproduce-flaky …, with -j 8"),
        )),
        Some((_, flag)) => Err(usage(format!("{flag} has no place here: {why}"), Some(hint))),
        None => Ok(()),
    }
}

/// The flags of the sweep that a proof or a search runs: here, from its first iteration on, under its own tag, which a
/// message calls `shown`.
pub(super) fn own_sweep(asked: &SweepArgs, last: u32, tag: String, shown: &str) -> anyhow::Result<SweepArgs> {
    values::tag(&tag).map_err(|cause| usage(format!("invalid tag `{shown}`: {cause}"), Some("name it with --tag")))?;
    Ok(SweepArgs {
        start: 1,
        end: last,
        tag: Some(tag),
        retry: None,
        engine: EngineKind::Here,
        arm: Vec::new(),
        ..asked.clone()
    })
}

/// `prove_A2` where nobody gave a tag, or `prove_old-A2` for a base that is tagged `old`.
pub(super) fn tag(command: &str, asked: &SweepArgs, base: Option<&Path>, class: &Class) -> String {
    if let (Some(tag), true) = (&asked.tag, asked.given.has(&["tag"])) {
        return format!("{command}_{tag}");
    }
    let name = base.and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let (mode, tag) = Mode::of_dir(&name);
    let own = if mode.is_some() { tag } else { Some(name.into_owned()) };
    match own.filter(|own| !own.is_empty()) {
        Some(own) => format!("{command}_{own}-{class}"),
        None => format!("{command}_{class}"),
    }
}

/// What runs: the flags of the sweep, and what was recorded where they say nothing; with the conditions that
/// `--condition-of` names.
pub(super) fn own_spec(
    sweep: &mut SweepArgs,
    settings: Option<&Settings>,
    recorded: Option<&Spec>,
) -> anyhow::Result<(Spec, Option<Taken>)> {
    let mut spec = specification::of(sweep, settings)?;
    if let Some(recorded) = recorded {
        spec = inherit(spec, recorded, &sweep.given);
        sweep.no_image_named = false;
    }
    let taken = Taken::of(sweep)?;
    if let Some(taken) = &taken {
        spec = taken.on(&spec, &sweep.env, &sweep.given);
    }
    if spec.backend == BackendKind::Local {
        spec.image = String::new();
    }
    (sweep.jobs, sweep.chunk_size) = (spec.jobs, None);
    Ok((spec, taken))
}

/// Prints what the runs came to. Beside the event stream nothing else may stand on stdout.
pub(super) fn say(sweep: &SweepArgs, text: &str, print: fn(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if sweep.display() == DisplayKind::Jsonl {
        tell(text.trim_end());
        return Ok(());
    }
    print(text)
}

/// Begins the runs, and closes whatever they opened, after an error too.
pub(super) fn begin<T>(
    spec: &Spec,
    search: impl AsyncFnOnce(UnboundedReceiver<()>, &mut Vec<Arc<dyn Backend>>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    runtime.block_on(async {
        let signals = signals()?;
        let leftovers = gc::Leftovers::now(spec);
        let mut backends = Vec::new();
        let ran = search(signals, &mut backends).await;
        for backend in backends {
            backend.close().await;
        }
        leftovers.end().await;
        ran
    })
}

/// Has the scheduler run what the work hands out; why it ended.
pub(super) async fn schedule(
    work: &mut impl Work,
    jobs: u32,
    sweep: &SweepArgs,
    signals: UnboundedReceiver<()>,
) -> anyhow::Result<Reason> {
    let pace = Pace {
        jobs,
        cancel_grace: sweep.cancel_grace,
    };
    let displays = display::open(sweep.display(), sweep.verbose);
    Ok(scheduler::run(work, pace, displays, signals).await?.reason)
}

/// The error of runs under which the world broke.
pub(super) fn broken(cause: &str) -> anyhow::Error {
    hinted(
        format!("stopped: attempts broke the same way again and again: {cause}"),
        "reproduce-flaky doctor; the same command resumes",
    )
}
