//! What the flags and settings say is to be run; what only a probe can know is still open.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::Utc;

use crate::cli;
use crate::cli::settings::Settings;
use crate::cli::sweep::{Args, Engine, KeepLogs, OnHang};
use crate::cli::words::Silence;
use crate::message::usage;
use crate::model::spec::{Container, Placing};
use crate::model::{BackendKind, Deadlines, Spec};

/// The specification of one sweep.
pub(super) fn of(args: &Args, settings: Option<&Settings>) -> anyhow::Result<Spec> {
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
        versions: BTreeMap::new(),
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
            cpuset: args.cpuset.clone(),
            noise: args.noise,
            cores: args.cores,
            workspace: args.workspace.into(),
            without: args.without.iter().map(|part| (*part).into()).collect(),
            no_prestart: args.no_prestart,
        },
        deadlines: Deadlines {
            total_s: args.timeout.as_secs_f64(),
            silence_s: match args.silence {
                Some(Silence::Fixed(silence)) => Some(silence.as_secs_f64()),
                Some(Silence::Auto) | None => None,
            },
            keep_s: (args.on_hang == OnHang::Keep).then_some(args.keep_for.as_secs_f64()),
            silence_auto: args.silence == Some(Silence::Auto),
            grace_s: args.grace.as_secs_f64(),
        },
        max_attempts: args.max_attempts,
        arm: None,
        placing: placing(args)?,
        ended: None,
    })
}

/// What sessions that do not run in this process need besides. Paths are made absolute: they are read elsewhere.
fn placing(args: &Args) -> anyhow::Result<Option<Placing>> {
    let engine = match args.engine {
        Engine::Here if args.docker_host.is_none() && args.image_tar.is_none() => return Ok(None),
        Engine::Here => "here",
        Engine::Slurm => "slurm",
        Engine::List => "list",
    };
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(fs::canonicalize).transpose();
    Ok(Some(Placing {
        engine: engine.to_owned(),
        image_tar: absolute(&args.image_tar).with_context(|| {
            let path = args.image_tar.clone().unwrap_or_default();
            format!("failed to open `{}`", path.display())
        })?,
        docker_host: args.docker_host.clone(),
        signatures: absolute(&args.signatures).context("failed to find the signatures")?,
        keeps_failed_only: args.keep_logs == KeepLogs::Failed,
    }))
}
