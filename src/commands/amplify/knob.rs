//! Knobs: settings that are on or off, each with the flags of a sweep that turn it on.

use std::ffi::OsString;

use clap::FromArgMatches as _;
use clap::parser::ValueSource;

use crate::commands::sweep::args::{self, Args as SweepArgs};
use crate::commands::sweep::inherit::{GivenFlags, inherit};
use crate::commands::sweep::specification;
use crate::message::usage;
use crate::spec::{KnobFlags, Perturbation, Spec, values};

/// Flags that a knob may turn on, by the names of their values: they change what a run has to get by with, and can be
/// other ones for each run.
const TURNABLE: [&str; 18] = [
    "parallelism",
    "pytest_args",
    "env",
    "pass_env",
    "timeout",
    "silence",
    "volumes",
    "network",
    "shm_size",
    "ulimits",
    "pids_limit",
    "cpus",
    "cpuset",
    "conditions",
    "starve",
    "memory",
    "user",
    "without",
];

/// A setting that is on or off.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Knob {
    pub(in crate::commands) flags: KnobFlags,
    asked: Spec,
    said: GivenFlags,
}

impl Knob {
    /// Reads `one-core` or `slow: -E DELAY_MS=50`.
    pub(super) fn read(text: &str) -> anyhow::Result<Knob> {
        let Some((name, flags)) = text.split_once(':') else {
            let Ok(condition) = text.trim().parse::<Perturbation>() else {
                let names: Vec<&str> = turnable().map(Perturbation::as_str).collect();
                return Err(usage(
                    format!("no knob is called `{text}`"),
                    Some(&format!(
                        "one of {}, or flags of your own: --knob 'slow: -E DELAY_MS=50'",
                        names.join(", ")
                    )),
                ));
            };
            return Knob::of(condition);
        };
        let name = name.trim();
        values::tag(name).map_err(|cause| usage(format!("invalid knob `{text}`: {cause}"), None))?;
        let words =
            shell_words::split(flags).map_err(|error| usage(format!("invalid knob `{text}`: {error}"), None))?;
        if words.is_empty() {
            return Err(usage(
                format!("the knob `{name}` has no flags"),
                Some("--knob 'slow: -E DELAY_MS=50'"),
            ));
        }
        Knob::with(name, words)
    }

    pub(super) fn of(condition: Perturbation) -> anyhow::Result<Knob> {
        let name = condition.as_str();
        if condition == Perturbation::Noise {
            return Err(usage(
                "`noise` is no knob: busy cores beside one run are beside all that run with it",
                Some(
                    "`cpus`, `one-core` and `starve` do the same to one run alone; --noise N keeps cores busy beside all",
                ),
            ));
        }
        Knob::with(name, vec!["--condition".to_owned(), name.to_owned()])
    }

    pub(super) fn recorded(flags: &KnobFlags) -> anyhow::Result<Knob> {
        Knob::with(&flags.name, flags.flags.clone())
    }

    fn with(name: &str, words: Vec<String>) -> anyhow::Result<Knob> {
        let wrong = |cause: String, hint: Option<&str>| usage(format!("invalid knob `{name}`: {cause}"), hint);
        let command = args::command();
        let argv = std::iter::once("reproduce-flaky").chain(words.iter().map(String::as_str));
        let argv: Vec<OsString> = argv.map(OsString::from).collect();
        let matches = command.clone().try_get_matches_from(&argv).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            wrong(line.strip_prefix("error: ").unwrap_or(line).to_owned(), None)
        })?;
        let is_said = |arg: &&clap::Arg| {
            matches.try_contains_id(arg.get_id().as_str()).is_ok()
                && matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        let fixed = |arg: &&clap::Arg| !TURNABLE.contains(&arg.get_id().as_str());
        if let Some(arg) = command.get_arguments().filter(is_said).find(fixed) {
            let flag = arg
                .get_long()
                .map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
            return Err(wrong(
                format!("{flag} is the same for all runs"),
                Some("give it beside --knob; arguments for pytest follow two dashes: --knob 'lf: -- -p no:randomly'"),
            ));
        }
        let asked = SweepArgs::from_arg_matches(&matches)?;
        Ok(Knob {
            asked: specification::of(&asked, None)?,
            said: GivenFlags::of(&matches),
            flags: KnobFlags {
                name: name.to_owned(),
                flags: words,
            },
        })
    }

    /// A specification with this knob on and everything else as it is.
    pub(in crate::commands) fn on(&self, spec: &Spec) -> Spec {
        let found = inherit(self.asked.clone(), spec, &self.said);
        let mut container = found.container;
        // Conditions by name add up.
        container.conditions.extend(&spec.container.conditions);
        container.conditions.sort_unstable();
        container.conditions.dedup();
        let mut pytest_args = spec.pytest_args.clone();
        if self.said.has(&["pytest_args"]) {
            pytest_args.extend(self.asked.pytest_args.iter().cloned());
        }
        Spec {
            mode: found.mode,
            pytest_args,
            env: found.env,
            pass_env: found.pass_env,
            deadlines: found.deadlines,
            container,
            ..spec.clone()
        }
    }

    /// Why it would change nothing; `None` where it changes what runs.
    pub(super) fn without_effect(&self, spec: &Spec) -> Option<String> {
        let with = self.on(spec);
        if with == *spec {
            return Some("all runs have it already".to_owned());
        }
        let already = spec.without_effect();
        let lost = with.without_effect().into_iter().find(|found| !already.contains(found));
        if let Some((_, cause)) = lost {
            return Some(cause.to_owned());
        }
        let limits = |spec: &Spec| (spec.container.cpus, spec.container.memory);
        let only_limits = Spec {
            container: crate::spec::Container {
                cpus: spec.container.cpus,
                memory: spec.container.memory,
                ..with.container.clone()
            },
            ..with.clone()
        };
        let is_local = spec.backend == crate::spec::BackendKind::Local;
        (is_local && limits(&with) != limits(spec) && only_limits == *spec)
            .then(|| "processes of this machine have no limits of their own".to_owned())
    }
}

/// Conditions that can be knobs.
pub(super) fn turnable() -> impl Iterator<Item = Perturbation> {
    let all = Perturbation::ALL.iter().copied();
    all.filter(|condition| *condition != Perturbation::Noise)
}

/// The sweep with those knobs on whose bits are set.
pub(super) fn on(knobs: &[Knob], mask: u32, spec: &Spec) -> Spec {
    let on = knobs.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
    on.fold(spec.clone(), |spec, (_, knob)| knob.on(&spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::BackendKind;

    fn base() -> Spec {
        Spec {
            image: "app:1".to_owned(),
            pytest_args: vec!["tests/a.py".to_owned()],
            ..Spec::default()
        }
    }

    #[test]
    fn knobs_add_up_and_leave_the_rest_alone() {
        let knobs: Vec<Knob> = ["cpus", "threads", "malloc", "slow: -E X=1 -- -k b"]
            .into_iter()
            .map(|text| Knob::read(text).unwrap())
            .collect();
        assert_eq!(on(&knobs, 0, &base()), base());
        let all = on(&knobs, 0b1111, &base());
        assert_eq!(all.container.cpus, Some(0.5));
        assert_eq!(all.container.conditions, [Perturbation::Threads, Perturbation::Malloc]);
        assert_eq!(all.pytest_args, ["tests/a.py", "-k", "b"]);
        assert_eq!((all.image.as_str(), all.env.len()), ("app:1", 1));
        assert_eq!(on(&knobs, 0b100, &base()).container.conditions, [Perturbation::Malloc]);
    }

    #[test]
    fn what_would_change_nothing_says_why() {
        let local = Spec {
            backend: BackendKind::Local,
            ..base()
        };
        for (name, is_lost) in [("cpus", true), ("starve", true), ("one-core", false), ("workers", true)] {
            let found = Knob::read(name).unwrap().without_effect(&local);
            assert_eq!(found.is_some(), is_lost, "{name}: {found:?}");
        }
        let busy = Knob::read("threads").unwrap().on(&base());
        assert!(Knob::read("threads").unwrap().without_effect(&busy).is_some());
    }

    #[test]
    fn what_is_no_knob_is_refused() {
        for wrong in [
            "noise",
            "slow",
            "slow:",
            "a b: -E X=1",
            "x: -i app:2",
            "x: --nope",
            "x: tests/b.py",
            "x: 'a",
        ] {
            assert!(Knob::read(wrong).is_err(), "{wrong}");
        }
    }
}
