//! A sweep that runs as a recorded one did, but for the flags that were given.

use std::collections::BTreeSet;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::spec::{BackendKind, Container, Deadlines, EnvVar, Spec};

/// The flags that stand on the command line, by the names of their values in [`super::args::Args`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(BTreeSet<String>);

impl Said {
    /// What the command line says itself, without the settings file and defaults.
    pub fn of(matches: &ArgMatches) -> Said {
        let ids = matches.ids().map(clap::Id::as_str);
        let said = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        Said(said.map(str::to_owned).collect())
    }

    /// Whether one of these flags was given.
    pub fn has(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.0.contains(*id))
    }
}

/// What `asked` runs where nothing was said is what the recorded sweep ran. Variables add up, those that were asked for
/// last, so that they win.
#[expect(clippy::too_many_lines, reason = "every field of a sweep, one after the other")]
pub fn inherit(asked: Spec, recorded: &Spec, said: &Said) -> Spec {
    // Every field is named, so that a new one has to be thought of here.
    let Spec {
        format,
        tool,
        created_at,
        mode,
        tag,
        first,
        last,
        jobs,
        backend,
        image,
        image_id,
        versions,
        pytest_args,
        trail,
        directory,
        env,
        pass_env,
        passed_on,
        output_env,
        host_requirements,
        container,
        condition_of,
        deadlines,
        max_attempts,
        arm,
        proof,
        amplification,
        culprit,
        placing,
        ended,
        settings,
        reasons,
        imported_at,
    } = asked;
    let is_place_said = said.has(&["backend", "image"]);
    // An image needs containers, and processes of this machine have none.
    let backend = if said.has(&["backend"]) {
        backend
    } else if said.has(&["image"]) {
        BackendKind::Docker
    } else {
        recorded.backend
    };
    let recorded_or = |ids: &[&str]| !said.has(ids);
    Spec {
        mode: if recorded_or(&["parallelism"]) {
            recorded.mode
        } else {
            mode
        },
        jobs: if recorded_or(&["jobs", "chunk_size", "chunk_parallel"]) {
            recorded.jobs
        } else {
            jobs
        },
        backend,
        image: if is_place_said { image } else { recorded.image.clone() },
        pytest_args: if recorded_or(&["paths", "pytest_nodeid", "pytest_args"]) {
            recorded.pytest_args.clone()
        } else {
            pytest_args
        },
        trail: if recorded_or(&["no_trail"]) {
            recorded.trail
        } else {
            trail
        },
        env: if recorded_or(&["env"]) {
            recorded.env.clone()
        } else {
            let is_asked = |name: &str| env.iter().any(|variable| variable.name == name);
            let kept = recorded.env.iter().filter(|variable| !is_asked(&variable.name));
            kept.cloned().chain(env.iter().cloned()).collect()
        },
        pass_env: if recorded_or(&["pass_env"]) {
            recorded.pass_env.clone()
        } else {
            pass_env
        },
        output_env: if recorded_or(&["output_env"]) {
            recorded.output_env.clone()
        } else {
            output_env
        },
        host_requirements: if recorded_or(&["host_requirements"]) {
            let path = recorded.host_requirements.as_ref();
            path.map(|path| recorded.directory.join(path))
        } else {
            host_requirements
        },
        container: in_container(container, &recorded.container, said),
        deadlines: with_deadlines(deadlines, &recorded.deadlines, said),
        max_attempts: if recorded_or(&["max_attempts"]) {
            recorded.max_attempts
        } else {
            max_attempts
        },
        condition_of,
        passed_on,
        format,
        tool,
        created_at,
        tag,
        first,
        last,
        image_id,
        versions,
        directory,
        arm,
        proof,
        amplification,
        culprit,
        placing,
        ended,
        settings,
        reasons,
        imported_at,
    }
}

/// A sweep under the conditions of a recorded one.
pub fn under_conditions_of(asked: Spec, recorded: &Spec) -> Spec {
    let conditions = Container {
        cpus: recorded.container.cpus,
        memory: recorded.container.memory,
        cpuset: recorded.container.cpuset.clone(),
        noise: recorded.container.noise,
        conditions: recorded.container.conditions.clone(),
        starve: recorded.container.starve.clone(),
        ..asked.container
    };
    Spec {
        container: conditions,
        ..asked
    }
}

/// A sweep under conditions that were taken over, but for those that were given. Conditions by name and variables add
/// up; `env` are the variables that were given.
pub fn but_for_given(under: Spec, asked: &Spec, env: &[EnvVar], said: &Said) -> Spec {
    let mut container = in_container(asked.container.clone(), &under.container, said);
    container.conditions.extend(&under.container.conditions);
    container.conditions.sort_unstable();
    container.conditions.dedup();
    let is_given = |name: &str| said.has(&["env"]) && env.iter().any(|variable| variable.name == name);
    let of_given = asked.env.iter().filter(|variable| is_given(&variable.name));
    let others = under.env.iter().filter(|variable| !is_given(&variable.name));
    Spec {
        mode: if said.has(&["parallelism"]) {
            asked.mode
        } else {
            under.mode
        },
        env: others.chain(of_given).cloned().collect(),
        deadlines: with_deadlines(asked.deadlines, &under.deadlines, said),
        container,
        ..under
    }
}

fn in_container(asked: Container, recorded: &Container, said: &Said) -> Container {
    let Container {
        volumes,
        network,
        shm_size,
        ulimits,
        cpus,
        memory,
        pids_limit,
        gpus,
        user,
        cpuset,
        noise,
        cores,
        workspace,
        without,
        conditions,
        starve,
        seed,
        no_prestart,
    } = recorded.clone();
    let is_said = |id: &str| said.has(&[id]);
    // A condition by its name sets the limit that it stands for.
    let by_name = |is_set: bool| is_set && said.has(&["conditions"]);
    Container {
        volumes: if is_said("volumes") { asked.volumes } else { volumes },
        network: if is_said("network") { asked.network } else { network },
        shm_size: if is_said("shm_size") { asked.shm_size } else { shm_size },
        ulimits: if is_said("ulimits") { asked.ulimits } else { ulimits },
        cpus: if is_said("cpus") || by_name(asked.cpus.is_some()) {
            asked.cpus
        } else {
            cpus
        },
        memory: if is_said("memory") || by_name(asked.memory.is_some()) {
            asked.memory
        } else {
            memory
        },
        pids_limit: if is_said("pids_limit") {
            asked.pids_limit
        } else {
            pids_limit
        },
        gpus: if is_said("gpus") { asked.gpus } else { gpus },
        user: if is_said("user") { asked.user } else { user },
        cpuset: if is_said("cpuset") || by_name(asked.cpuset.is_some()) {
            asked.cpuset
        } else {
            cpuset
        },
        noise: if is_said("noise") || by_name(asked.noise.is_some()) {
            asked.noise
        } else {
            noise
        },
        cores: asked.cores || cores,
        workspace: if is_said("workspace") {
            asked.workspace
        } else {
            workspace
        },
        without: if is_said("without") { asked.without } else { without },
        conditions: if is_said("conditions") {
            asked.conditions
        } else {
            conditions
        },
        starve: if is_said("starve") || by_name(asked.starve.is_some()) {
            asked.starve
        } else {
            starve
        },
        seed,
        no_prestart: asked.no_prestart || no_prestart,
    }
}

fn with_deadlines(asked: Deadlines, recorded: &Deadlines, said: &Said) -> Deadlines {
    let is_silence_said = said.has(&["silence"]);
    let silence = if is_silence_said { &asked } else { recorded };
    Deadlines {
        total_s: if said.has(&["timeout"]) {
            asked.total_s
        } else {
            recorded.total_s
        },
        silence_s: silence.silence_s,
        silence_auto: silence.silence_auto,
        keep_s: if said.has(&["on_hang", "keep_for"]) {
            asked.keep_s
        } else {
            recorded.keep_s
        },
        grace_s: if said.has(&["grace"]) {
            asked.grace_s
        } else {
            recorded.grace_s
        },
    }
}

#[cfg(test)]
mod tests;
