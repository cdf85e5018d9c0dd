//! What is known of an attempt's end and of the machine that it ran on.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::Context;
use crate::backend::Ended;
use crate::judge::starvation::Means;
use crate::judge::{EndedBy, Ending, Exit};
use crate::spec::{Limits, Perturbation};

/// Exit facts, from what the session tells and what we know.
pub(super) fn facts(context: &Context, iteration: u32, ended: Option<&Ended>, ended_by: EndedBy) -> Exit {
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
        conditions: Some(limits(context, iteration, ended)).filter(|found| *found != Limits::default()),
        argv: context.argv.clone(),
        ..Exit::default()
    };
    if let Some(ended) = ended {
        exit.code = ended.code;
        exit.signal = ended.signal;
        exit.ending = if ended.is_own_signal {
            Some(Ending::SignalFromInside)
        } else {
            let looks_like_one = ended.code.is_some_and(|code| code > 128);
            (ended.has_exited && looks_like_one).then_some(Ending::Exited)
        };
        exit.oom_killed = ended.oom_killed;
        exit.error.clone_from(&ended.error);
        exit.usage = ended.usage;
    }
    exit
}

/// What an attempt had to get by with: what was asked for and could be had.
fn limits(context: &Context, iteration: u32, ended: Option<&Ended>) -> Limits {
    let mut limits = Limits::of(&context.spec);
    let ineffective = context.backend.without_effect();
    let is_had = |name: Perturbation| ineffective.iter().all(|(other, _)| *other != name);
    limits.named.retain(|name| is_had(*name));
    let starved = ended.map(|ended| ended.starved);
    limits.is_starve_refused = limits.starve.is_some() && starved == Some(Means::Refused);
    limits.starve = limits.starve.filter(|_| starved.is_some_and(Means::is_had));
    limits.is_idled = limits.starve.is_some() && starved == Some(Means::Idle);
    let is_drawn = limits.starve.is_some() || limits.named.contains(&Perturbation::Order);
    limits.seed = is_drawn.then(|| context.spec.seed(iteration));
    limits.culprit = context.parts.of(iteration);
    limits
}

/// Processes that want to run on this machine, averaged over the last minute.
pub(super) fn machine_load() -> f64 {
    let fixed_point = rustix::system::sysinfo().loads[0];
    (fixed_point as f64 / 65536.0 * 100.0).round() / 100.0
}

/// A word that a session cannot guess, by which our own line in its log is known.
pub(super) fn new_nonce() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Seconds, to the millisecond.
pub(super) fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
