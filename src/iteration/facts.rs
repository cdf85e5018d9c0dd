//! What is known of an attempt's end and of the machine that it ran on.

use std::time::Duration;

use super::Context;
use crate::backend::Ended;
use crate::model::{EndedBy, Exit, Limits};

/// Exit facts, from what the session tells and what we know.
pub(super) fn facts(context: &Context, ended: Option<&Ended>, ended_by: EndedBy) -> Exit {
    let mut exit = Exit {
        ended_by,
        backend: Some(context.spec.backend.as_str().to_owned()),
        node: Some(context.node.clone()),
        cores: std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok()),
        jobs: Some(context.spec.jobs),
        tool: Some(context.spec.tool.clone()),
        image: Some(context.spec.image.clone()).filter(|image| !image.is_empty()),
        image_id: context.spec.image_id.clone(),
        conditions: Some(Limits::of(&context.spec)).filter(|found| *found != Limits::default()),
        argv: context.argv.clone(),
        ..Exit::default()
    };
    if let Some(ended) = ended {
        exit.code = ended.code;
        exit.signal = ended.signal;
        exit.oom_killed = ended.oom_killed;
        exit.error.clone_from(&ended.error);
        exit.usage = ended.usage;
    }
    exit
}

/// Processes that want to run on this machine, averaged over the last minute.
pub(super) fn machine_load() -> f64 {
    let fixed_point = rustix::system::sysinfo().loads[0];
    (fixed_point as f64 / 65536.0 * 100.0).round() / 100.0
}

/// Seconds, to the millisecond.
pub(super) fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
