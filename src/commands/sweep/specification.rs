//! The specification that flags and settings ask for. Image id and versions are added once a probe has found them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::Utc;

use crate::cli::settings::Settings;
use crate::commands::sweep::args::{Args, OnHang};
use crate::commands::sweep::paths;
use crate::message::usage;
use crate::run::Keep;
use crate::spec::{BackendKind, Deadlines, EngineKind, Placing, Silence, Spec};

pub(in crate::commands) fn of(args: &Args, settings: Option<&Settings>) -> anyhow::Result<Spec> {
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
    paths::check(&args.paths, &directory)?;
    let mut pytest_args = [args.pytest_nodeid.as_slice(), &args.paths].concat();
    pytest_args.extend(
        settings
            .iter()
            .flat_map(|settings| settings.pytest_args.iter().cloned()),
    );
    pytest_args.extend(args.pytest_args.iter().cloned());
    let backend = args.backend;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let (silence_s, silence_auto) = args.silence.map_or((None, false), Silence::seconds);
    Ok(Spec {
        tool: crate::spec::tool(),
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
        pytest_args,
        trail: !args.no_trail,
        directory,
        env: args.env.clone(),
        pass_env: args.pass_env.clone(),
        passed_on: (args.pass_env.iter())
            .filter(|name| std::env::var_os(name).is_some())
            .cloned()
            .collect(),
        output_env: args.output_env.clone(),
        host_requirements: args.host_requirements.clone(),
        container: args.container.clone().settled(cores),
        deadlines: Deadlines {
            total_s: args.timeout.as_secs_f64(),
            silence_s,
            keep_s: (args.on_hang == OnHang::Keep).then_some(args.keep_for.as_secs_f64()),
            silence_auto,
            grace_s: args.grace.as_secs_f64(),
        },
        max_attempts: args.max_attempts,
        placing: placing(args)?,
        settings: Some(settings.map_or_else(BTreeMap::new, |settings| settings.reach().clone())),
        ..Spec::default()
    })
}

/// What a worker on another machine needs besides. Paths are made absolute: a worker has another current directory.
fn placing(args: &Args) -> anyhow::Result<Option<Placing>> {
    if args.engine == EngineKind::Here && args.docker_host.is_none() && args.image_tar.is_none() {
        return Ok(None);
    }
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(fs::canonicalize).transpose();
    Ok(Some(Placing {
        engine: args.engine,
        image_tar: absolute(&args.image_tar).with_context(|| {
            let path = args.image_tar.clone().unwrap_or_default();
            format!("failed to open `{}`", path.display())
        })?,
        docker_host: args.docker_host.clone(),
        signatures: absolute(&args.signatures).context("failed to find the signatures")?,
        keeps_failed_only: args.keep_logs == Keep::Failed,
    }))
}
