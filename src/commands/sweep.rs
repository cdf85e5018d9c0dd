//! The sweep: checks everything that can be checked before the first iteration, runs what is missing, shows what came of it.

pub mod args;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::gc::Leftovers;
use super::judged_sweep::JudgedSweep;
use super::signatures;
use crate::backend::{self, Backend, BackendError, Plugin};
use crate::cli::settings::Settings;
use crate::commands::sweep::args::Args;
use crate::exit_code::ExitCode;
use crate::judge::{Outcome, Record, SignatureSet, UNKNOWN, Verdict};
use crate::message::{hinted, tell, usage};
use crate::run::{Founded, Sweep};
use crate::spec::{EngineKind, Spec};
use crate::sweep::blocks::{Blocks, Stops};
use crate::sweep::display;
use crate::sweep::iteration::{Context, Early, Quiet};
use crate::sweep::scheduler::{self, Arm, Pace};
use crate::sweep::stop::StopRules;
use crate::timings;

mod arms;
pub(super) mod before;
pub(super) mod condition_of;
pub(super) mod dry_run;
mod early;
mod end;
pub mod inherit;
mod paths;
mod placed;
mod retry;
pub(super) mod specification;

/// Plugins by which a session repeats a failing test until it passes.
const RERUNNING: [&str; 3] = ["pytest-rerunfailures", "pytest-retry", "flaky"];

pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    if args.timings {
        timings::keep();
    }
    let signatures = Arc::new(timings::within("signatures", || {
        signatures::load(args.signatures.as_deref())
    })?);
    let rules = stop_rules(args, &signatures)?;
    let specs = arms::specs(args, settings)?;
    if args.dry_run {
        return dry_run::print(args, settings, &specs);
    }
    before::is_as_begun(args, settings, &specs)?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    if args.engine != EngineKind::Here {
        return runtime.block_on(placed::run(args, settings, &specs, rules, &signatures));
    }
    runtime.block_on(sweep(args, settings, specs, rules, signatures))
}

/// The specification of the sweep that these flags name, without settings or arms.
pub(super) fn specification(args: &Args) -> anyhow::Result<Spec> {
    specification::of(args, None)
}

async fn sweep(
    args: &Args,
    settings: Option<&Settings>,
    specs: Vec<Spec>,
    stop: StopRules,
    signatures: Arc<SignatureSet>,
) -> anyhow::Result<ExitCode> {
    let signals = signals()?;
    let leftovers = Leftovers::of(&specs[0]);
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    let mut founded = None;
    let made = match arms(args, settings, specs, &signatures, &mut backends, &mut founded).await {
        Ok(arms) => loud(arms).await,
        Err(error) => Err(error),
    };
    let is_made = made.is_ok();
    let ran = match made {
        Ok(arms) => {
            let seed = arms[0].context.spec.arm.as_ref().map_or(0, |place| place.seed);
            let stops = Stops {
                rules: stop,
                when_decided: args.stop.is_some(),
            };
            let mut blocks = Blocks::new(arms, seed, stops);
            let mut displays = display::open(args.display(), args.verbose);
            displays.push(leftovers.after_first_start(move || {
                tokio::task::spawn_blocking(move || signatures.compile());
            }));
            let ran = scheduler::run(&mut blocks, pace(args), displays, signals).await;
            // The summary is printed before containers are removed: a removal takes longer than the reader should wait.
            ran.and_then(|end| timings::within("summary", || end::finish(args, &blocks, &end)))
        }
        Err(error) => Err(error),
    };
    // Also after an error: no container stays.
    for backend in backends {
        timings::of("removal", backend.close()).await;
    }
    if let Some(founded) = founded.filter(|_| !is_made) {
        founded.undo();
    }
    leftovers.end().await;
    if let Some(table) = timings::table() {
        tell(table);
    }
    ran
}

fn pace(args: &Args) -> Pace {
    Pace {
        jobs: args.jobs(),
        cancel_grace: args.cancel_grace,
    }
}

/// Begins the noise beside the arms, which all share it, if anything is to be run.
pub(super) async fn loud(arms: Vec<Arc<Arm>>) -> anyhow::Result<Vec<Arc<Arm>>> {
    if let Some(arm) = arms.iter().find(|arm| !arm.missing.is_empty()) {
        arm.context.backend.make_noise(arm.context.sweep.dir()).await?;
    }
    Ok(arms)
}

/// Makes every arm ready to run: its backend probed, its directory open, what is missing known.
async fn arms(
    args: &Args,
    settings: Option<&Settings>,
    specs: Vec<Spec>,
    signatures: &Arc<SignatureSet>,
    backends: &mut Vec<Arc<dyn Backend>>,
    founded: &mut Option<Founded>,
) -> anyhow::Result<Vec<Arc<Arm>>> {
    let is_alone = specs.len() == 1;
    let mut arms = Vec::new();
    for spec in specs {
        let backend = open_backend(args, &spec, backends).await?;
        if is_alone {
            *founded = early::found(args, settings, &spec, &*backend);
        }
        let probed = Probed::ask(args, spec, backend, founded.as_ref()).await?;
        arms.push(timings::within("sweep's directory", || probed.open(args, signatures))?);
    }
    if arms.iter().any(|arm| !arm.missing.is_empty()) {
        before::run(settings).await?;
    }
    Ok(arms)
}

/// What a sweep is to run, with the place to run it open and asked what it has.
pub(super) struct Probed {
    pub(super) spec: Spec,
    pub(super) backend: Arc<dyn Backend>,
    notes: Vec<String>,
    early: Early,
}

/// Opens a backend, which is to be closed with the others.
async fn open_backend(
    args: &Args,
    spec: &Spec,
    backends: &mut Vec<Arc<dyn Backend>>,
) -> anyhow::Result<Arc<dyn Backend>> {
    let plugin = Plugin::of(spec);
    let news = |news: &str| tell(format_args!("{news}"));
    let opened = timings::of("backend", Box::pin(backend::open(spec, plugin.as_ref(), &news))).await;
    let backend = opened.map_err(|error| without_image(args, error))?;
    backends.push(Arc::clone(&backend));
    Ok(backend)
}

impl Probed {
    /// Opens the backend, which is to be closed with the others, and asks what it has.
    pub(super) async fn new(args: &Args, spec: Spec, backends: &mut Vec<Arc<dyn Backend>>) -> anyhow::Result<Probed> {
        let backend = open_backend(args, &spec, backends).await?;
        Probed::ask(args, spec, backend, None).await
    }

    async fn ask(
        args: &Args,
        mut spec: Spec,
        backend: Arc<dyn Backend>,
        founded: Option<&Founded>,
    ) -> anyhow::Result<Probed> {
        let asked = timings::of("probe", early::probe(args, &spec, &backend, founded));
        let (probed, early) = asked.await;
        let probe = probed.map_err(|error| without_image(args, error))?;
        spec.image_id = Some(probe.image_id);
        spec.versions = probe.versions;
        Ok(Probed {
            spec,
            backend,
            notes: probe.notes,
            early,
        })
    }

    /// Leaves out what was said of another sweep.
    pub(super) fn say_once(&mut self, said: &mut BTreeSet<String>) {
        self.notes.retain(|note| said.insert(note.clone()));
    }

    /// Begins the sweep, or resumes it.
    pub(super) fn open(self, args: &Args, signatures: &Arc<SignatureSet>) -> anyhow::Result<Arc<Arm>> {
        let sweep = Sweep::open(&args.logs.dir, &self.spec)?.keep_logs(args.keep_logs);
        let mut sweep = sweep.max_log(args.max_log);
        if args.private {
            sweep = sweep.private()?;
        }
        for note in self.notes.iter().chain(sweep.notes()) {
            tell(format_args!("note: {note}"));
        }
        let versions = &self.spec.versions;
        for plugin in RERUNNING.iter().filter(|plugin| versions.contains_key(**plugin)) {
            tell(format_args!("note: {plugin} is active here; reruns are counted apart"));
        }
        let arm = arm(args, sweep, self.spec, (self.backend, self.early), signatures)?;
        Ok(Arc::new(arm))
    }
}

/// What to say where nobody has named an image and the default one is not there.
fn without_image(args: &Args, error: BackendError) -> anyhow::Error {
    match error {
        BackendError::ImageMissing { image } if args.no_image_named => hinted(
            format!("no image is named, and the default, `{image}`, is not on this host"),
            "-i host for this machine's own Python, -i YOUR_IMAGE, or image = \"YOUR_IMAGE\" in reproduce-flaky.toml",
        ),
        error => error.into(),
    }
}

/// A sweep as an arm: what is recorded of it, and which iterations are missing.
fn arm(
    args: &Args,
    sweep: Sweep,
    mut spec: Spec,
    (backend, early): (Arc<dyn Backend>, Early),
    signatures: &Arc<SignatureSet>,
) -> anyhow::Result<Arm> {
    if let Some(retry) = &args.retry {
        retry::set_aside(&sweep, args, retry, signatures)?;
    }
    let judged = JudgedSweep::read(sweep.shown(), signatures)?;
    // The order of blocks was drawn when the sweep began; a resume goes on with it.
    if let Some(known) = judged.spec.as_ref().and_then(|known| known.arm.clone()) {
        spec.arm = Some(known);
    }
    let quiet = Quiet::default();
    let passed = judged
        .records
        .iter()
        .filter(|record| record.outcome.verdict == Verdict::Passed);
    passed
        .filter_map(|record| record.exit.as_ref())
        .for_each(|exit| quiet.learn(exit));
    let within = |records: Vec<Record>| -> Vec<(u32, Outcome)> {
        let records = records.into_iter();
        let within = records.filter(|record| args.range().contains(&record.iteration));
        within.map(|record| (record.iteration, record.outcome)).collect()
    };
    let has: BTreeSet<u32> = judged.records.iter().map(|record| record.iteration).collect();
    Ok(Arm {
        name: spec.arm.as_ref().map(|place| place.name.clone()),
        range: (args.start, args.end),
        missing: args.range().filter(|iteration| !has.contains(iteration)).collect(),
        recorded: within(judged.records),
        replaced: within(judged.replaced),
        context: Arc::new(Context {
            quiet,
            early,
            ..Context::new(sweep, spec, backend, Arc::clone(signatures))
        }),
    })
}

/// SIGINT, SIGTERM and SIGHUP, each as one request to stop.
pub(super) fn signals() -> anyhow::Result<mpsc::UnboundedReceiver<()>> {
    let (asked, signals) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut stream = signal(kind).context("failed to listen for signals")?;
        let asked = asked.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && asked.send(()).is_ok() {} });
    }
    Ok(signals)
}

/// When to stop early.
///
/// # Errors
/// A category that no signature has: a sweep would wait for it in vain.
fn stop_rules(args: &Args, signatures: &SignatureSet) -> anyhow::Result<StopRules> {
    let rules = StopRules {
        until: args.until.clone(),
        max_failures: args.max_failures.map(u64::from),
        time: args.r#for,
        prove_below: args.prove_below,
    };
    let known: Vec<&str> = signatures
        .iter()
        .map(|signature| signature.id.as_str())
        .chain([UNKNOWN])
        .collect();
    if let Some(unknown) = rules.categories().find(|id| !known.contains(id)) {
        return Err(usage(
            format!("no signature has the id `{unknown}` of --until"),
            Some(&format!("one of {}, or an outcome such as `hung`", known.join(", "))),
        ));
    }
    Ok(rules)
}
