//! The sweep: checks everything that can be checked before the first iteration, runs what is missing, shows what came of it.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{judged, signatures, summary};
use crate::backend::{self, Backend};
use crate::cli::settings::Settings;
use crate::cli::sweep::{Args, Engine, KeepLogs};
use crate::exit_code::ExitCode;
use crate::iteration::{Context, Losses, Quiet};
use crate::judge::{SignatureSet, UNKNOWN};
use crate::message::usage;
use crate::model::stop::StopRules;
use crate::model::{Spec, Verdict};
use crate::runner::{self, Arm, Plan};
use crate::store::{Keep, Sweep};
use crate::{pytest, reporter};

mod arms;
mod before;
mod dry_run;
mod end;
mod placed;
mod retry;
mod specification;

/// Runs a sweep.
///
/// # Errors
/// Whatever would break every iteration, and a store that cannot record.
pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    let signatures = Arc::new(signatures::load(args.signatures.as_deref())?);
    let rules = stop_rules(args, &signatures)?;
    let specs = arms::specs(args, settings)?;
    if args.dry_run {
        return dry_run::print(args, settings, &specs);
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    if args.engine != Engine::Here {
        return runtime.block_on(placed::run(args, settings, &specs, rules, &signatures));
    }
    runtime.block_on(sweep(args, settings, specs, rules, signatures))
}

/// The specification of the sweep that these flags name, without settings or arms.
///
/// # Errors
/// The flags contradict each other.
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
    super::gc::sweep_leftovers(&specs[0]).await;
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    let made = match arms(args, settings, specs, &signatures, &mut backends).await {
        Ok(arms) => loud(arms).await,
        Err(error) => Err(error),
    };
    let ran = match made {
        Ok(arms) => {
            let contexts: Vec<Arc<Context>> = arms.iter().map(|arm| Arc::clone(&arm.context)).collect();
            let seed = contexts[0].spec.arm.as_ref().map_or(0, |place| place.seed);
            let plan = Plan {
                range: (args.start, args.end),
                arms,
                jobs: args.jobs(),
                stop,
                stop_when_decided: args.stop.is_some(),
                seed,
                cancel_grace: args.cancel_grace,
            };
            let ran = runner::run(plan, reporter::open(args.display(), args.verbose), signals).await;
            ran.map_err(anyhow::Error::from).map(|end| (contexts, end))
        }
        Err(error) => Err(error),
    };
    // Also after an error: nothing that was made stays.
    for backend in backends {
        backend.close().await;
    }
    let (contexts, end) = ran?;
    end::finish(args, &contexts, &end)
}

/// Begins the noise beside the arms, which all share it, if anything is to be run.
async fn loud(arms: Vec<Arm>) -> anyhow::Result<Vec<Arm>> {
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
) -> anyhow::Result<Vec<Arm>> {
    let mut arms = Vec::new();
    for mut spec in specs {
        let plugin = plugin(&spec);
        let backend = backend::open(&spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await?;
        backends.push(Arc::clone(&backend));
        let probe = backend.probe().await?;
        spec.image_id = Some(probe.image_id);
        spec.versions = probe.versions;
        let sweep = Sweep::open(&args.logs_dir, &spec)?.keep_logs(match args.keep_logs {
            KeepLogs::All => Keep::All,
            KeepLogs::Failed => Keep::Failed,
        });
        let mut sweep = sweep.max_log(args.max_log);
        if args.private {
            sweep = sweep.private()?;
        }
        for note in probe.notes.iter().chain(sweep.notes()) {
            anstream::eprintln!("note: {note}");
        }
        arms.push(arm(args, sweep, spec, backend, signatures)?);
    }
    if arms.iter().any(|arm| !arm.missing.is_empty())
        && let Some(command) = settings.and_then(|settings| settings.before.as_deref())
    {
        before::run(command).await?;
    }
    Ok(arms)
}

/// What a sweep has, and what it still needs.
fn arm(
    args: &Args,
    sweep: Sweep,
    mut spec: Spec,
    backend: Arc<dyn Backend>,
    signatures: &Arc<SignatureSet>,
) -> anyhow::Result<Arm> {
    if let Some(retry) = &args.retry {
        retry::set_aside(&sweep, args, retry, signatures)?;
    }
    let judged = judged::sweep(sweep.shown(), signatures)?;
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
    let recorded: Vec<_> = (judged.records.into_iter())
        .filter(|record| args.range().contains(record.iteration))
        .map(|record| (record.iteration, record.outcome))
        .collect();
    let has = sweep.recorded()?;
    Ok(Arm {
        name: spec.arm.as_ref().map(|place| place.name.clone()),
        missing: args
            .range()
            .iter()
            .filter(|iteration| !has.contains(iteration))
            .collect(),
        recorded,
        context: Arc::new(Context {
            argv: pytest::argv::argv(spec.mode, spec.trail, &spec.pytest_args),
            node: backend::host_name(),
            sweep,
            spec,
            backend,
            signatures: Arc::clone(signatures),
            quiet,
            losses: Losses::default(),
        }),
    })
}

/// The plugin that writes the trail, unless it was turned off.
pub(super) fn plugin(spec: &Spec) -> Option<backend::Plugin> {
    spec.trail.then(|| backend::Plugin {
        module: pytest::trail::PLUGIN_MODULE.to_owned(),
        source: pytest::trail::PLUGIN_SOURCE.to_owned(),
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

/// When to stop early. A category that no signature has would be waited for in vain.
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
