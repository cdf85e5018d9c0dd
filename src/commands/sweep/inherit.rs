//! A sweep that runs as a recorded one did, but for the flags that were given.

use std::collections::BTreeSet;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::spec::{BackendKind, Container, Deadlines, EnvVar, Spec};

/// The flags that stand on the command line, by the names of their values in [`super::args::Args`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenFlags(BTreeSet<String>);

impl GivenFlags {
    /// What the command line says itself, without the settings file and defaults.
    pub fn of(matches: &ArgMatches) -> GivenFlags {
        let ids = matches.ids().map(clap::Id::as_str);
        let said = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        GivenFlags(said.map(str::to_owned).collect())
    }

    /// Whether one of these flags was given.
    pub fn has(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.0.contains(*id))
    }
}

/// Takes over each of these fields of what is recorded, unless one of its flags was given. The value of a flag has the
/// name of its field where no other names are listed.
macro_rules! take_unsaid {
    ($said:ident, $asked:ident, $recorded:expr, $($field:ident $([$($flag:literal),+])?),+ $(,)?) => {
        $(if !$said.has(take_unsaid!(@ $field $($($flag),+)?)) {
            $asked.$field.clone_from(&$recorded.$field);
        })+
    };
    (@ $field:ident) => { &[stringify!($field)] };
    (@ $field:ident $($flag:literal),+) => { &[$($flag),+] };
}

/// What `asked` runs where nothing was said is what the recorded sweep ran. Variables add up, those that were asked for
/// last, so that they win.
pub fn inherit(mut asked: Spec, recorded: &Spec, said: &GivenFlags) -> Spec {
    take_unsaid!(said, asked, recorded,
        mode ["parallelism"],
        jobs ["jobs", "chunk_size", "chunk_parallel"],
        image ["backend", "image"],
        pytest_args ["paths", "pytest_nodeid", "pytest_args"],
        trail ["no_trail"],
        pass_env,
        output_env,
        max_attempts,
    );
    // An image needs containers, and processes of this machine have none.
    if !said.has(&["backend"]) {
        let is_image_said = said.has(&["image"]);
        asked.backend = if is_image_said {
            BackendKind::Docker
        } else {
            recorded.backend
        };
    }
    let own = std::mem::take(&mut asked.env);
    asked.env.clone_from(&recorded.env);
    if said.has(&["env"]) {
        asked
            .env
            .retain(|variable| own.iter().all(|own| own.name != variable.name));
        asked.env.extend(own);
    }
    if !said.has(&["host_requirements"]) {
        let path = recorded.host_requirements.as_ref();
        asked.host_requirements = path.map(|path| recorded.directory.join(path));
    }
    asked.container = in_container(asked.container, &recorded.container, said);
    asked.deadlines = with_deadlines(asked.deadlines, &recorded.deadlines, said);
    asked
}

/// A sweep under the conditions of a recorded one.
pub fn under_conditions_of(mut asked: Spec, recorded: &Spec) -> Spec {
    let nothing = GivenFlags::default();
    let (container, conditions) = (&mut asked.container, &recorded.container);
    take_unsaid!(
        nothing, container, conditions, cpus, memory, cpuset, noise, conditions, starve
    );
    asked
}

/// A sweep under conditions that were taken over, but for those that were given. Conditions by name and variables add
/// up; `env` are the variables that were given.
pub fn but_for_given(under: Spec, asked: &Spec, env: &[EnvVar], said: &GivenFlags) -> Spec {
    let mut container = in_container(asked.container.clone(), &under.container, said);
    container.conditions.extend(&under.container.conditions);
    container.conditions.sort_unstable();
    container.conditions.dedup();
    let is_given = |name: &str| said.has(&["env"]) && env.iter().any(|variable| variable.name == name);
    let of_given = asked.env.iter().filter(|variable| is_given(&variable.name));
    let others = under.env.iter().filter(|variable| !is_given(&variable.name));
    let mode = if said.has(&["parallelism"]) {
        asked.mode
    } else {
        under.mode
    };
    Spec {
        mode,
        env: others.chain(of_given).cloned().collect(),
        deadlines: with_deadlines(asked.deadlines, &under.deadlines, said),
        container,
        ..under
    }
}

fn in_container(mut asked: Container, recorded: &Container, said: &GivenFlags) -> Container {
    // A condition by its name sets the limit that it stands for.
    let is_named = said.has(&["conditions"]);
    macro_rules! take_limits {
        ($($limit:ident),+) => {
            $(if !said.has(&[stringify!($limit)]) && !(is_named && asked.$limit.is_some()) {
                asked.$limit.clone_from(&recorded.$limit);
            })+
        };
    }
    take_limits!(cpus, memory, cpuset, noise, starve);
    take_unsaid!(
        said, asked, recorded, volumes, network, shm_size, ulimits, pids_limit, gpus, user, workspace, without,
        conditions,
    );
    asked.cores |= recorded.cores;
    asked.seed = recorded.seed;
    asked.no_prestart |= recorded.no_prestart;
    asked
}

fn with_deadlines(mut asked: Deadlines, recorded: &Deadlines, said: &GivenFlags) -> Deadlines {
    take_unsaid!(said, asked, recorded,
        total_s ["timeout"],
        silence_s ["silence"],
        silence_auto ["silence"],
        keep_s ["on_hang", "keep_for"],
        grace_s ["grace"],
    );
    asked
}

#[cfg(test)]
mod tests;
