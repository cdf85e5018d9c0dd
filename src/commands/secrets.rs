//! The redactor of a page or a bundle: which values are secret, gathered from the environment and the sweeps.

use std::collections::BTreeSet;

use crate::message::usage;
use crate::report::redact::Redactor;
use crate::spec::is_secret_name;
use crate::spec::{EnvVar, Spec};

/// A redactor for sweeps with these specifications and for the patterns that the user adds. Secret are the values of
/// variables whose names say so, and of all variables that a sweep was given, by value or by name.
pub fn redactor<'a>(specs: impl Iterator<Item = &'a Spec>, added: &[String]) -> anyhow::Result<Redactor> {
    let mut variables: Vec<EnvVar> = Vec::new();
    let mut passed: BTreeSet<&str> = BTreeSet::new();
    for variable in specs.flat_map(|spec| &spec.env) {
        passed.insert(&variable.name);
        variables.extend(variable.value.is_some().then(|| variable.clone()));
    }
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if is_secret_name(&name) || passed.contains(&*name) {
            variables.push(EnvVar {
                name: name.into_owned(),
                value: Some(value.into_owned()),
            });
        }
    }
    Redactor::new(&variables, added)
        .map_err(|error| usage(error, Some("see https://docs.rs/regex for what may stand in one")))
}
