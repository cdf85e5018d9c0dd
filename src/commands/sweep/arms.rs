//! `--arm 'NAME FLAGS…'`: several sweeps from one command line, run side by side.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};

use super::{condition_of, specification};
use crate::cli::settings::Settings;
use crate::commands::sweep::args::Args;
use crate::message::usage;
use crate::spec::values;
use crate::spec::{ArmPlace, Spec};

/// The specification of the sweep, or one for each arm.
pub(super) fn specs(args: &Args, settings: Option<&Settings>) -> anyhow::Result<Vec<Spec>> {
    if args.arm.is_empty() {
        return Ok(vec![condition_of::under(specification::of(args, settings)?, args)?]);
    }
    let arms = args
        .arm
        .iter()
        .map(|text| Named::read(text, args, settings))
        .collect::<anyhow::Result<Vec<Named>>>()?;
    let names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
    if let [only] = names.as_slice() {
        return Err(usage(
            format!("there is only one arm, `{only}`"),
            Some("give --arm once for each thing to compare, the one to compare with first"),
        ));
    }
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(usage(format!("two arms are called `{}`", twice.1), None));
    }
    // The seed of the order of blocks, drawn once and recorded with the sweep.
    let seed = RandomState::new().build_hasher().finish();
    let mut specs: Vec<Spec> = Vec::new();
    for arm in arms {
        let mut spec = condition_of::under(specification::of(&arm.args, settings)?, &arm.args)?;
        spec.arm = Some(ArmPlace {
            name: arm.name,
            arms: names.clone(),
            seed,
        });
        if let Some(other) = specs.iter().find(|other| other.dir_name() == spec.dir_name()) {
            return Err(usage(
                format!("two arms would share the directory `{}`", other.dir_name()),
                None,
            ));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// An arm with the flags of the command line and its own, which win.
struct Named {
    name: String,
    args: Args,
}

impl Named {
    fn read(text: &str, shared: &Args, settings: Option<&Settings>) -> anyhow::Result<Named> {
        let words = shell_words::split(text).map_err(|error| usage(format!("invalid arm `{text}`: {error}"), None))?;
        let Some((name, flags)) = words.split_first() else {
            return Err(usage("an arm has no name", Some("--arm 'fix14 -i app:fix14'")));
        };
        values::tag(name).map_err(|cause| usage(format!("invalid arm `{name}`: {cause}"), None))?;
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        let mut args = shared
            .with_flags(&flags, settings)
            .map_err(|cause| usage(format!("invalid arm `{text}`: {cause}"), None))?;
        let own = [
            args.start != shared.start,
            args.end != shared.end,
            args.jobs() != shared.jobs(),
            args.tag != shared.tag,
            args.container.has_noise() != shared.container.has_noise(),
            args.container.noise != shared.container.noise,
        ];
        if own.contains(&true) {
            return Err(usage(
                format!("invalid arm `{text}`: all arms share --start, --end, --jobs, --noise and --tag"),
                Some("give them outside of --arm"),
            ));
        }
        args.tag = Some(match &shared.tag {
            Some(tag) => format!("{tag}-{name}"),
            None => name.clone(),
        });
        Ok(Named {
            name: name.clone(),
            args,
        })
    }
}
