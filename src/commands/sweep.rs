//! The sweep: checks everything that can be checked before the first iteration, runs what is missing, shows what came of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::Utc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{judged, signatures};
use crate::backend;
use crate::cli::settings::Settings;
use crate::cli::sweep::{Args, KeepLogs};
use crate::cli::words::Retry;
use crate::exit_code::ExitCode;
use crate::iteration::Context;
use crate::judge::{SignatureSet, UNKNOWN};
use crate::message::{hinted, usage};
use crate::model::stop::StopRules;
use crate::model::{BackendKind, Deadlines, Outcome, Spec, Verdict, spec::Container};
use crate::pytest;
use crate::runner::{self, End, Plan, Reason};
use crate::store::{Keep, Sweep};
use crate::{cli, reporter};

mod dry_run;

/// Runs a sweep.
///
/// # Errors
/// Whatever would break every iteration, and a store that cannot record.
pub fn run(args: &Args, settings: Option<&Settings>) -> anyhow::Result<ExitCode> {
    let spec = spec(args, settings)?;
    let signatures = signatures::load(args.signatures.as_deref())?;
    if args.dry_run {
        return dry_run::print(args, settings, &spec);
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    runtime.block_on(sweep(args, settings, spec, signatures))
}

/// What the flags and settings say is to be run; what only a probe can know is still open.
fn spec(args: &Args, settings: Option<&Settings>) -> anyhow::Result<Spec> {
    if args.start > args.end {
        return Err(usage(
            format!(
                "the first iteration, {}, comes after the last, {}",
                args.start, args.end
            ),
            Some("iterations run from --start to --end, both included"),
        ));
    }
    let directory = std::env::current_dir().context("failed to find the current directory")?;
    let mut pytest_args = args.pytest_nodeid.clone();
    pytest_args.extend(
        settings
            .iter()
            .flat_map(|settings| settings.pytest_args.iter().cloned()),
    );
    pytest_args.extend(args.pytest_args.iter().cloned());
    let backend = BackendKind::from(args.backend);
    Ok(Spec {
        format: 1,
        tool: cli::version(),
        created_at: Utc::now(),
        mode: args.parallelism,
        tag: args.tag.clone(),
        first: args.start,
        last: args.end,
        jobs: args.jobs(),
        backend,
        image: if backend == BackendKind::Docker {
            args.image.clone()
        } else {
            String::new()
        },
        image_id: None,
        versions: std::collections::BTreeMap::new(),
        pytest_args,
        trail: !args.no_trail,
        directory,
        env: args.env.clone(),
        pass_env: args.pass_env.clone(),
        output_env: args.output_env.clone(),
        host_requirements: args.host_requirements.clone(),
        container: Container {
            volumes: args.volume.clone(),
            network: args.network.clone(),
            shm_size: Some(args.shm_size),
            ulimits: args.ulimit.clone(),
            cpus: args.cpus,
            memory: args.memory,
            gpus: args.gpus.clone(),
            user: args.user.clone(),
            workspace: args.workspace.into(),
            without: args.without.iter().map(|part| (*part).into()).collect(),
        },
        deadlines: Deadlines {
            total_s: args.timeout.as_secs_f64(),
            silence_s: args.silence.map(|silence| silence.as_secs_f64()),
            grace_s: args.grace.as_secs_f64(),
        },
        max_attempts: args.max_attempts,
    })
}

async fn sweep(
    args: &Args,
    settings: Option<&Settings>,
    mut spec: Spec,
    signatures: SignatureSet,
) -> anyhow::Result<ExitCode> {
    let signals = signals()?;
    let plugin = spec.trail.then(|| backend::Plugin {
        module: pytest::trail::PLUGIN_MODULE.to_owned(),
        source: pytest::trail::PLUGIN_SOURCE.to_owned(),
    });
    let backend = backend::open(&spec, plugin.as_ref(), &|news| anstream::eprintln!("{news}")).await?;
    super::gc::sweep_leftovers(&spec).await;
    let probe = backend.probe().await?;
    spec.image_id = Some(probe.image_id);
    spec.versions = probe.versions;
    for note in &probe.notes {
        anstream::eprintln!("note: {note}");
    }
    let sweep = Sweep::open(&args.logs_dir, &spec)?.keep_logs(match args.keep_logs {
        KeepLogs::All => Keep::All,
        KeepLogs::Failed => Keep::Failed,
    });
    if let Some(retry) = &args.retry {
        set_aside(&sweep, args, retry, &signatures)?;
    }
    let recorded = sweep.recorded()?;
    let missing: Vec<u32> = args
        .range()
        .iter()
        .filter(|iteration| !recorded.contains(iteration))
        .collect();
    if !missing.is_empty()
        && let Some(command) = settings.and_then(|settings| settings.before.as_deref())
    {
        before(command).await?;
    }
    let outcomes = in_range(sweep.dir(), args, &signatures)?
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect();
    let plan = Plan {
        range: (args.start, args.end),
        iterations: missing,
        recorded: outcomes,
        jobs: spec.jobs,
        stop: stop_rules(args, &signatures)?,
        cancel_grace: args.cancel_grace,
    };
    let context = Arc::new(Context {
        argv: pytest::argv::argv(spec.mode, spec.trail, &spec.pytest_args),
        node: backend::host_name(),
        sweep,
        spec,
        backend: Arc::clone(&backend),
        signatures,
    });
    let ran = runner::run(
        Arc::clone(&context),
        plan,
        reporter::open(args.display(), args.verbose),
        signals,
    )
    .await;
    backend.close().await;
    finish(args, &context, ran?)
}

/// SIGINT, SIGTERM and SIGHUP, each as one request to stop.
fn signals() -> anyhow::Result<mpsc::UnboundedReceiver<()>> {
    let (asked, signals) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut stream = signal(kind).context("failed to listen for signals")?;
        let asked = asked.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && asked.send(()).is_ok() {} });
    }
    Ok(signals)
}

/// `--retry`: makes room for iterations that are to run again; what was recorded is kept aside.
fn set_aside(sweep: &Sweep, args: &Args, retry: &Retry, signatures: &SignatureSet) -> anyhow::Result<()> {
    let in_range = |iteration: &u32| args.range().iter().any(|asked| asked == *iteration);
    let chosen: BTreeSet<u32> = match retry {
        Retry::These(these) => {
            if let Some(outside) = these.iter().find(|iteration| !in_range(iteration)) {
                return Err(usage(
                    format!("iteration {outside} of --retry is outside {}-{}", args.start, args.end),
                    Some("widen the range with --start and --end"),
                ));
            }
            these.clone()
        }
        Retry::All => args.range().iter().collect(),
        Retry::Errored => outcomes(sweep.dir(), args, signatures, Verdict::Errored)?,
        Retry::Failed => outcomes(sweep.dir(), args, signatures, Verdict::Failed)?,
    };
    let recorded = sweep.recorded()?;
    let chosen: Vec<u32> = chosen.intersection(&recorded).copied().collect();
    sweep.retry(&chosen)?;
    Ok(())
}

fn outcomes(dir: &Path, args: &Args, signatures: &SignatureSet, verdict: Verdict) -> anyhow::Result<BTreeSet<u32>> {
    let judged = in_range(dir, args, signatures)?;
    Ok(judged
        .into_iter()
        .filter(|(_, outcome)| outcome.verdict == verdict)
        .map(|(iteration, _)| iteration)
        .collect())
}

/// Judgements of the recorded iterations that this call asks for.
fn in_range(dir: &Path, args: &Args, signatures: &SignatureSet) -> anyhow::Result<Vec<(u32, Outcome)>> {
    let records = judged::sweep(dir, signatures)?.records;
    let asked = args.start..=args.end;
    let records = records.into_iter().filter(|record| asked.contains(&record.iteration));
    Ok(records.map(|record| (record.iteration, record.outcome)).collect())
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

/// Runs the command of `before`, its output on stderr.
async fn before(command: &[String]) -> anyhow::Result<()> {
    let shown = shell_words::join(command);
    anstream::eprintln!("before: {shown}");
    let status = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .await
        .with_context(|| format!("failed to run `{shown}`, the command of `before`"))?;
    if status.success() {
        return Ok(());
    }
    Err(hinted(
        format!("`{shown}`, the command of `before`, failed: {status}"),
        "no iteration was started; mend the command and run the sweep again",
    ))
}

/// Brings the derived files up to date, prints the screen, and finds the exit code.
fn finish(args: &Args, context: &Context, end: End) -> anyhow::Result<ExitCode> {
    let judged = judged::sweep(context.sweep.shown(), &context.signatures)?;
    let summary = summary(&judged);
    context.sweep.rebuild(&judged.records, &summary)?;
    anstream::println!("{summary}");
    if !end.elsewhere.is_empty() {
        anstream::eprintln!(
            "note: {} iterations are being run by other processes",
            end.elsewhere.len()
        );
    }
    let asked = args.start..=args.end;
    let in_range = || judged.records.iter().filter(|record| asked.contains(&record.iteration));
    let verdicts = || in_range().map(|record| record.outcome.verdict);
    match end.reason {
        Reason::Interrupted => Ok(ExitCode::Interrupted),
        Reason::Broken(cause) => Err(hinted(
            format!("stopped: attempts broke the same way again and again: {cause}"),
            "reproduce-flaky doctor; the same command resumes, --retry errored runs what got no fair attempt",
        )),
        Reason::Complete | Reason::Stopped(_) => {
            if let Reason::Stopped(rule) = &end.reason {
                anstream::eprintln!("note: stopped by the rule `{rule}`");
            }
            if verdicts().any(|verdict| verdict == Verdict::Failed) {
                Ok(ExitCode::Reproduced)
            } else if verdicts().any(|verdict| verdict == Verdict::Errored) {
                Ok(ExitCode::Errored)
            } else {
                Ok(ExitCode::Passed)
            }
        }
    }
}

fn summary(_: &judged::Judged) -> String {
    String::new()
}
