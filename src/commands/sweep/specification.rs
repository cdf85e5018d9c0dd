//! What the flags and settings say is to be run; what only a probe can know is still open.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::Utc;

use crate::cli;
use crate::cli::settings::Settings;
use crate::cli::sweep::Args;
use crate::cli::words::Silence;
use crate::message::usage;
use crate::model::{BackendKind, Deadlines, Spec, spec::Container};

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
            silence_auto: args.silence == Some(Silence::Auto),
            grace_s: args.grace.as_secs_f64(),
        },
        max_attempts: args.max_attempts,
        arm: None,
        ended: None,
    })
}
