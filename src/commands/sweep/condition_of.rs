//! `--condition-of`: the conditions of a recorded sweep, or those that `amplify` has shown there, for other runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::Args;
use super::inherit::{GivenFlags, but_for_given, under_conditions_of};
use crate::commands::amplify::{Knob, Winner, in_shell, winner};
use crate::commands::signatures;
use crate::message::{hinted, tell, usage};
use crate::run;
use crate::spec::{ConditionOf, EnvVar, Limits, Spec};
use crate::stats::Count;
use crate::sweep::stop::Class;

/// A sweep under the conditions that its flags name another one for.
pub(in crate::commands) fn under(spec: Spec, args: &Args) -> anyhow::Result<Spec> {
    Ok(match Taken::of(args)? {
        Some(taken) => taken.on(&spec, &args.env, &args.given),
        None => spec,
    })
}

/// The conditions of a recorded sweep.
pub(in crate::commands) struct Taken {
    of: ConditionOf,
    recorded: Spec,
    /// What was shown, if the recorded sweep is a search of `amplify`.
    winner: Option<Winner>,
}

impl Taken {
    /// What `--condition-of` names among these flags.
    pub(in crate::commands) fn of(args: &Args) -> anyhow::Result<Option<Taken>> {
        let path = args.condition_of.as_deref();
        path.map(|path| Taken::read(path, args.signatures.as_deref()))
            .transpose()
    }

    /// Reads them, and names them.
    ///
    /// # Errors
    /// No recorded sweep; a search that has shown no condition; one of another person, whose flags nobody here has seen.
    pub(in crate::commands) fn read(path: &Path, signatures: Option<&Path>) -> anyhow::Result<Taken> {
        let recorded = recorded_spec(path)?;
        let winner = match &recorded.amplification {
            None => None,
            Some(_) if recorded.imported_at.is_some() => {
                return Err(hinted(
                    format!(
                        "`{}` came in with a bundle, and nothing of it runs here unasked",
                        path.display()
                    ),
                    "give the flags of its conditions yourself",
                ));
            }
            Some(search) => Some(winner(path, search, &signatures::load(signatures)?)?),
        };
        let taken = Taken {
            of: ConditionOf {
                sweep: fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)),
                knobs: knobs(winner.as_ref()).iter().map(|knob| knob.flags.clone()).collect(),
            },
            recorded,
            winner,
        };
        tell(format_args!("note: {}", taken.words(path)));
        Ok(taken)
    }

    /// `spec` under these conditions, except for the flags and variables (`env`) that the command line gives itself.
    pub(in crate::commands) fn on(&self, spec: &Spec, env: &[EnvVar], said: &GivenFlags) -> Spec {
        let under = under_conditions_of(spec.clone(), &self.recorded);
        let under = knobs(self.winner.as_ref())
            .iter()
            .fold(under, |spec, knob| knob.on(&spec));
        Spec {
            condition_of: Some(self.of.clone()),
            ..but_for_given(under, spec, env, said)
        }
    }

    /// How often a class came under these conditions, where a search has measured it.
    pub(in crate::commands) fn rate_of(&self, class: &Class) -> Option<Count> {
        self.winner.as_ref()?.rate_of(class)
    }

    fn words(&self, path: &Path) -> String {
        let path = path.display();
        let on = self.of.knobs.iter();
        let on = on.map(|knob| {
            let flags: Vec<&str> = knob.flags.iter().map(String::as_str).collect();
            format!("{} ({})", knob.name, in_shell(&flags))
        });
        let all: Vec<String> = Limits::of(&self.recorded).words().into_iter().chain(on).collect();
        if all.is_empty() {
            format!("`{path}` ran under no condition of its own")
        } else {
            format!("under the conditions of `{path}`: {}", all.join(", "))
        }
    }
}

fn knobs(winner: Option<&Winner>) -> &[Knob] {
    winner.map_or(&[], |winner| &winner.knobs)
}

/// What a recorded sweep runs.
pub(in crate::commands) fn recorded_spec(path: &Path) -> anyhow::Result<Spec> {
    let missing = || {
        usage(
            format!("`{}` is no recorded sweep", path.display()),
            Some("name a sweep's directory, such as logs/serial"),
        )
    };
    if !path.is_dir() {
        return Err(missing());
    }
    run::spec(path)?.ok_or_else(missing)
}
