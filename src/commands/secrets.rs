//! What is kept from others: gathers the values that this process and a sweep know by name.

use std::collections::BTreeSet;

use crate::message::usage;
use crate::model::redact::{Redactor, is_secret_name};
use crate::model::{EnvVar, Spec};

/// A redactor for sweeps with these specifications, with what the user adds. Looks for the values of variables whose
/// names say that they are secret, and of those that a sweep was given, its own and the caller's.
///
/// # Errors
/// A usage error for a pattern that is none.
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
