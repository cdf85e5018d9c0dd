//! The variables of a session: the recipe's, the image's, the caller's, and those given for the sweep. Pure.

use crate::judge::pytest::trail::CONDITIONS_ENV;
use crate::spec::{Recipe, Spec};

/// Variable by which the processes of a session, and what is left of them, are found again.
pub(super) const MARK: &str = "REPRODUCE_FLAKY_ATTEMPT";

/// What the recipe sets where nobody else does.
const DEFAULTS: [(&str, &str); 6] = [
    ("HF_HUB_OFFLINE", "1"),
    // pytest shortens its summary lines to the width of the terminal, 80 without one: the reasons would be gone.
    ("CI", "true"),
    ("COLUMNS", "200"),
    ("PYTHONFAULTHANDLER", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("RUST_BACKTRACE", "1"),
];

/// Variables in the order they were set; the last value of a name holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The variables of every session of a sweep. `inherited` is what is there without us (the image's own, or
    /// the caller's for a local session): the recipe's defaults give way to it, what the sweep was given does not.
    pub(super) fn of(
        spec: &Spec,
        caller: impl Fn(&str) -> Option<String>,
        inherited: impl Fn(&str) -> Option<String>,
    ) -> Environment {
        let mut environment = Environment::default();
        if spec.container.has(Recipe::Env) {
            for (name, value) in DEFAULTS {
                if inherited(name).is_none() {
                    environment.set(name, value);
                }
            }
        }
        let conditions = || spec.container.conditions.iter().filter(|name| spec.is_under(**name));
        for (name, value) in conditions().flat_map(|condition| condition.variables()) {
            environment.set(name, *value);
        }
        let plugins: Vec<&str> = conditions()
            .filter(|condition| condition.is_the_plugins())
            .map(|condition| condition.as_str())
            .collect();
        if !plugins.is_empty() {
            environment.set(CONDITIONS_ENV, plugins.join(","));
        }
        for name in &spec.pass_env {
            if let Some(value) = caller(name) {
                environment.set(name, value);
            }
        }
        for variable in &spec.env {
            if let Some(value) = variable.value.clone().or_else(|| caller(&variable.name)) {
                environment.set(&variable.name, value);
            }
        }
        environment
    }

    /// Gives a variable a value.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Gives a variable a value unless it has one.
    pub(super) fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The values of these variables that are long enough to be told from chance.
    pub(super) fn values<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let values = names.filter_map(|name| self.get(name));
        values.filter(|value| value.len() >= 4).map(str::to_owned).collect()
    }

    /// Puts directories in front of a search path, before what it holds, or what was `inherited`, already.
    pub(super) fn prepend_path(&mut self, name: &str, dirs: &[String], inherited: Option<&str>) {
        let present = self.get(name).or(inherited).unwrap_or_default();
        let path: Vec<&str> = dirs
            .iter()
            .map(String::as_str)
            .chain((!present.is_empty()).then_some(present))
            .collect();
        if !path.is_empty() {
            self.set(name, path.join(":"));
        }
    }

    /// Each variable and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The value of a variable in a list of `NAME=VALUE`, as images keep them.
pub(super) fn find<'a>(list: &'a [String], name: &str) -> Option<&'a str> {
    list.iter()
        .filter_map(|entry| entry.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::spec;
    use crate::spec::EnvVar;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn defaults_give_way_to_the_image_and_to_what_was_given() {
        let mut spec = spec("app");
        spec.env = vec![EnvVar {
            name: "CI".to_owned(),
            value: Some("false".to_owned()),
        }];
        let image = |name: &str| (name == "RUST_BACKTRACE").then(|| "full".to_owned());
        let environment = Environment::of(&spec, none, image);
        assert_eq!(environment.get("CI"), Some("false"));
        assert_eq!(environment.get("RUST_BACKTRACE"), None);
        assert_eq!(environment.get("COLUMNS"), Some("200"));
        spec.container.without = vec![Recipe::Env];
        assert_eq!(
            Environment::of(&spec, none, none).iter().collect::<Vec<_>>(),
            [("CI", "false")]
        );
    }

    #[test]
    fn names_are_passed_on_only_where_the_caller_has_them() {
        let mut spec = spec("app");
        spec.pass_env = vec!["HF_TOKEN".to_owned(), "ABSENT".to_owned()];
        spec.env = vec![EnvVar {
            name: "ALSO_ABSENT".to_owned(),
            value: None,
        }];
        let caller = |name: &str| (name == "HF_TOKEN").then(|| "secret".to_owned());
        let environment = Environment::of(&spec, caller, none);
        assert_eq!(environment.get("HF_TOKEN"), Some("secret"));
        assert_eq!(environment.get("ABSENT").or(environment.get("ALSO_ABSENT")), None);
    }

    #[test]
    fn search_paths_are_merged() {
        let mut environment = Environment::default();
        environment.prepend_path("PYTHONPATH", &["/ours".to_owned()], Some("/image/a:/image/b"));
        assert_eq!(environment.get("PYTHONPATH"), Some("/ours:/image/a:/image/b"));
        environment.set("PATH", "/given");
        environment.prepend_path("PATH", &["/venv/bin".to_owned()], Some("/image"));
        assert_eq!(environment.get("PATH"), Some("/venv/bin:/given"));
    }
}
