//! What of a sweep that came in with a bundle may be used on this machine.
//!
//! The specification of such a sweep is another person's: repeating one of its runs could otherwise run their code on
//! this machine, mount its disks, or hand over the reader's own variables. Each of those is used only if the reader
//! names it, and the directory under test is always the reader's own.

use std::path::Path;

use super::words::words;
use super::{BackendKind, Recipe, Spec, Workspace};

words! {
    /// `--allow`: one thing that a sweep from a bundle does not get unasked.
    pub enum Allowance {
        /// Run its tests in a container.
        Container = "container",
        /// Run its tests on this machine, without isolation.
        Local = "local",
        /// Mount the volumes it names.
        Volumes = "volumes",
        /// Join the network it names.
        Network = "network",
        /// Be the user it names.
        User = "user",
        /// Have the variables it names, with the values that they have here.
        Env = "env",
        /// Use the GPUs it names.
        Gpus = "gpus",
        /// See the directory itself, as the sweep did, instead of a copy of it.
        Workspace = "workspace",
        /// Install the requirements file it names.
        Requirements = "requirements",
    }
}

impl Spec {
    /// Where its tests may run; `None` where neither a container nor this machine was allowed. A sweep of this
    /// machine's processes may be repeated in a container over this machine's Python.
    pub fn allowed_backend(&self, allowed: &[Allowance]) -> Option<BackendKind> {
        if self.backend == BackendKind::Local && allowed.contains(&Allowance::Local) {
            Some(BackendKind::Local)
        } else if allowed.contains(&Allowance::Container) {
            Some(BackendKind::Docker)
        } else {
            None
        }
    }

    /// What is left of it on this machine: only what was allowed, in the directory `here`.
    #[must_use]
    pub fn as_allowed(&self, allowed: &[Allowance], here: &Path) -> Spec {
        let may = |what| allowed.contains(&what);
        let backend = self.allowed_backend(allowed).unwrap_or(BackendKind::Docker);
        let mut spec = Spec {
            directory: here.to_owned(),
            placing: None,
            ..self.clone()
        };
        if backend != self.backend {
            (spec.backend, spec.image_id) = (backend, None);
            "host".clone_into(&mut spec.image);
        }
        spec.deadlines.keep_s = None;
        if !may(Allowance::Env) {
            spec.env.clear();
            spec.pass_env.clear();
        }
        spec.host_requirements.take_if(|_| !may(Allowance::Requirements));
        let container = &mut spec.container;
        if !may(Allowance::Volumes) {
            container.volumes.clear();
        }
        container.network.take_if(|_| !may(Allowance::Network));
        container.user.take_if(|_| !may(Allowance::User));
        container.gpus.take_if(|_| !may(Allowance::Gpus));
        if !may(Allowance::Workspace) {
            container.workspace = Workspace::Fresh;
        }
        (container.noise, container.pids_limit, container.cores) = (None, None, false);
        // The cache may hold the reader's own token.
        container.without = vec![Recipe::HfCache];
        spec
    }

    /// What it asks for and does not get, in words.
    pub fn held_back(&self, allowed: &[Allowance]) -> Vec<String> {
        let may = |what| allowed.contains(&what);
        let container = &self.container;
        let names = self.env.iter().map(|variable| variable.name.as_str());
        let names: Vec<&str> = names.chain(self.pass_env.iter().map(String::as_str)).collect();
        let path = self.host_requirements.as_ref().map(|path| path.display().to_string());
        let asked = [
            (Allowance::Volumes, container.volumes.join(", ")),
            (Allowance::Network, container.network.clone().unwrap_or_default()),
            (Allowance::User, container.user.clone().unwrap_or_default()),
            (Allowance::Env, names.join(", ")),
            (Allowance::Gpus, container.gpus.clone().unwrap_or_default()),
            (Allowance::Requirements, path.unwrap_or_default()),
        ];
        let held_back = asked
            .into_iter()
            .filter(|(what, asked)| !asked.is_empty() && !may(*what));
        held_back.map(|(what, asked)| format!("{what}: {asked}")).collect()
    }
}
