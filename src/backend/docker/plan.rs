//! What the containers of a sweep get, resolved once: variables, mounts, user. Knows no engine, so that the same
//! plan also answers what the equivalent `docker run` would be.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bollard::models::ImageConfig;

use super::gate;
use super::recipe::{self, Instance, PACKAGES_DIR, PLUGIN_DIR, RUN_DIR, Recipe, Run, TMPFS, WORKSPACE};
use crate::backend::environment::{self, Environment, MARK};
use crate::backend::host::{self, Bind, HostRoot};
use crate::backend::packages::Packages;
use crate::backend::toolchain::Toolchain;
use crate::backend::{Attempt, BackendError, one_core, packages};
use crate::proc;
use crate::spec::Recipe as Part;
use crate::spec::{Perturbation, SETTINGS_FILE, Spec, Workspace};

mod cores;
mod home;

/// What the containers are made from.
#[derive(Clone, Debug)]
pub(super) enum Image {
    /// An image of the user's: its id, where it is known, and its own settings.
    Named { id: String, config: Box<ImageConfig> },
    /// This machine's directories.
    Host { executable: PathBuf },
}

/// Everything that the containers of a sweep have in common, and how to complete it for one of them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) spec: Spec,
    pub(super) recipe: Recipe,
    pub(super) image: Image,
    environment: Environment,
    /// Whether the engine's paths are this machine's.
    is_here: bool,
    /// Home of the container's user, once a container has told.
    pub(super) home: OnceLock<PathBuf>,
}

impl Plan {
    /// The plan for an image of the user's.
    pub(super) fn named(
        spec: &Spec,
        plugin: Option<&Path>,
        is_here: bool,
        id: &str,
        config: ImageConfig,
    ) -> Result<Plan, BackendError> {
        let own = config.env.clone().unwrap_or_default();
        let mut environment = Environment::of(spec, caller, |name| environment::find(&own, name).map(str::to_owned));
        let mut recipe = common(spec, is_here)?;
        id.clone_into(&mut recipe.image);
        let modules = mount_plugin(&mut recipe, plugin);
        environment.prepend_path("PYTHONPATH", &modules, environment::find(&own, "PYTHONPATH"));
        Ok(Plan {
            spec: spec.clone(),
            recipe,
            environment,
            is_here,
            home: OnceLock::new(),
            image: Image::Named {
                id: id.to_owned(),
                config: Box::new(config),
            },
        })
    }

    /// The plan for this machine's own Python, and the root to import; the caller fills in the imported image.
    pub(super) fn host(
        spec: &Spec,
        plugin: Option<&Path>,
        is_rootless: bool,
        report: &Toolchain,
        packages: Option<&Packages>,
    ) -> Result<(Plan, HostRoot), BackendError> {
        let mut recipe = common(spec, true)?;
        let mut environment = host_environment(spec, report);
        let root = host::plan(report, &caller("PATH").unwrap_or_default());
        environment.set_default("PATH", root.path.clone());
        recipe.binds.extend(root.binds.iter().cloned());
        recipe.python = report.executable.to_string_lossy().into_owned();
        recipe.is_root_read_only = true;
        for dir in ["/run", "/var/tmp"] {
            recipe.tmpfs.push((dir.to_owned(), TMPFS.to_owned()));
        }
        if recipe.user.is_none() {
            // The container's root is the caller where the engine runs without root.
            recipe.user = Some(if is_rootless {
                "0:0".to_owned()
            } else {
                format!(
                    "{}:{}",
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw()
                )
            });
        }
        let mut modules = mount_plugin(&mut recipe, plugin);
        if let Some(packages) = packages {
            recipe.binds.push(Bind::read_only(&packages.dir, PACKAGES_DIR));
            modules.push(PACKAGES_DIR.to_owned());
        }
        environment.prepend_path("PYTHONPATH", &modules, None);
        let image = Image::Host {
            executable: report.executable.clone(),
        };
        let plan = Plan {
            spec: spec.clone(),
            recipe,
            environment,
            image,
            is_here: true,
            home: OnceLock::new(),
        };
        Ok((plan, root))
    }

    /// The sessions' Python, as it is called.
    pub(super) fn program(&self) -> String {
        match &self.image {
            Image::Host { executable } => executable.to_string_lossy().into_owned(),
            Image::Named { .. } => "python3".to_owned(),
        }
    }

    /// A container that runs something of ours in the place of a session.
    pub(super) fn instance(&self, argv: &[String]) -> Instance {
        self.complete(argv, self.environment.clone())
    }

    /// The container of an attempt.
    pub(super) fn session(&self, attempt: &Attempt) -> Instance {
        let mut environment = self.environment.clone();
        for (name, below) in &attempt.dir_env {
            let path = if below.is_empty() {
                RUN_DIR.to_owned()
            } else {
                format!("{RUN_DIR}/{below}")
            };
            environment.set_default(name, path);
        }
        for (name, value) in &attempt.env {
            environment.set(name, value);
        }
        if self.spec.container.cores {
            environment.set(MARK, attempt.name.as_str());
        }
        let mut instance = self.complete(&attempt.argv, environment);
        instance.cpu = self.cpu(attempt.iteration);
        let starve = self.spec.container.starve.as_ref();
        instance.starvation = starve.map(|starve| gate::plan(starve, self.spec.seed(attempt.iteration)));
        instance.run = Some(Run {
            dir: attempt.dir.clone(),
            identity: attempt.dirs.as_ref().map(|dirs| dirs.session.identity()),
        });
        if self.spec.container.workspace == Workspace::Rw {
            for sweep in &attempt.guarded {
                instance.guard(&self.spec.directory, sweep);
            }
            // What lies in there is believed, and run, by every sweep of this user.
            if let Ok(cache) = packages::cache()
                && self.is_here
                && cache.is_dir()
            {
                instance.guard(&self.spec.directory, &cache);
            }
        }
        instance
    }

    /// The one CPU of an iteration that is to run on one alone.
    fn cpu(&self, iteration: u32) -> Option<usize> {
        if !self.spec.is_under(Perturbation::OneCore) {
            return None;
        }
        let listed = self.spec.container.cpuset.as_deref().and_then(one_core::listed);
        // Of an engine on another machine only the first core is known to be there.
        let others = || if self.is_here { one_core::here() } else { vec![0] };
        Some(one_core::one(&listed.unwrap_or_else(others), iteration))
    }

    fn complete(&self, argv: &[String], mut environment: Environment) -> Instance {
        let mut argv = argv.to_vec();
        if let (Image::Host { executable }, Some(program)) = (&self.image, argv.first_mut())
            && program == "python3"
        {
            // Called by its own path a virtual environment's interpreter knows that it is one.
            *program = executable.to_string_lossy().into_owned();
        }
        let mut binds = Vec::new();
        if self.spec.container.workspace != Workspace::Fresh {
            binds.push(Bind {
                source: self.spec.directory.clone(),
                target: WORKSPACE.to_owned(),
                is_writable: self.spec.container.workspace == Workspace::Rw,
            });
        }
        // A session could otherwise decide what the next sweep runs on this machine.
        let settings = self.spec.directory.join(SETTINGS_FILE);
        let is_file = settings.symlink_metadata().is_ok_and(|found| found.is_file());
        if self.is_here && is_file && self.spec.container.workspace == Workspace::Rw {
            binds.push(Bind::read_only(&settings, &format!("{WORKSPACE}/{SETTINGS_FILE}")));
        }
        if let Some((bind, variable)) = self.hf_cache(&environment) {
            if let Some(target) = variable {
                environment.set("HF_HOME", target);
            }
            binds.push(bind);
        }
        Instance {
            argv,
            binds,
            env: environment
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Instance::default()
        }
    }

    /// Where the sessions run, for messages, and what to do if something is missing there.
    pub(super) fn place(&self) -> (String, &'static str) {
        match &self.image {
            Image::Host { executable } => (
                format!("`{}`", executable.display()),
                "install it in this Python, or use an image that has it",
            ),
            Image::Named { .. } => (
                format!("image `{}`", self.spec.image),
                "install it there (pip install pytest pytest-xdist pytest-timeout), or use --image host",
            ),
        }
    }

    /// Variables whose values are the caller's own and must not be shown.
    pub(super) fn secrets(&self) -> Vec<String> {
        let given = self.spec.env.iter().filter(|variable| variable.value.is_none());
        let named = given
            .map(|variable| variable.name.clone())
            .chain(self.spec.pass_env.iter().cloned());
        let is_given = |name: &String| {
            self.spec
                .env
                .iter()
                .any(|given| given.name == *name && given.value.is_some())
        };
        named.filter(|name| !is_given(name)).collect()
    }
}

fn common(spec: &Spec, is_here: bool) -> Result<Recipe, BackendError> {
    let container = &spec.container;
    Ok(Recipe {
        image: spec.image.clone(),
        python: "python3".to_owned(),
        volumes: container
            .volumes
            .iter()
            .map(|text| recipe::volume(text, &spec.directory, is_here))
            .collect::<Result<_, _>>()?,
        tmpfs: container
            .has(Part::Tmp)
            .then(|| ("/tmp".to_owned(), TMPFS.to_owned()))
            .into_iter()
            .collect(),
        user: container.user.clone(),
        ulimits: recipe::ulimits(container)?,
        pids: pids(spec, proc::most_pids()),
        container: container.clone(),
        ..Recipe::default()
    })
}

/// Processes and threads that a container may have at a time; `None` for any number. Half of what this machine can have
/// stays its own, whatever the sessions of all jobs do at once.
fn pids(spec: &Spec, of_machine: Option<u32>) -> Option<i64> {
    /// Several times what sixteen workers have, each with a pool of threads for every one of sixty cores.
    const USUAL: u32 = 16_384;
    /// What any session gets.
    const LEAST: u32 = 1024;
    let most = spec.container.pids_limit.unwrap_or_else(|| {
        let share = of_machine.map_or(USUAL, |all| all / 2 / spec.jobs.max(1));
        share.clamp(LEAST, USUAL)
    });
    (most > 0).then_some(i64::from(most))
}

/// Mounts the plugin's directory and returns where it is inside.
fn mount_plugin(recipe: &mut Recipe, plugin: Option<&Path>) -> Vec<String> {
    recipe.binds.extend(plugin.map(|dir| Bind::read_only(dir, PLUGIN_DIR)));
    plugin.map(|_| PLUGIN_DIR.to_owned()).into_iter().collect()
}

fn host_environment(spec: &Spec, report: &Toolchain) -> Environment {
    let mut environment = Environment::of(spec, caller, |_| None);
    environment.set_default("HOME", "/tmp");
    environment.set_default("LANG", "C.UTF-8");
    if let Some(base) = &report.user_base {
        environment.set_default("PYTHONUSERBASE", base.to_string_lossy());
    }
    // The caller's name may be known only to a directory service that the container does not ask.
    for name in ["USER", "LOGNAME"] {
        if let Some(value) = caller("USER") {
            environment.set_default(name, value);
        }
    }
    if let Some(venv) = caller("VIRTUAL_ENV").filter(|venv| report.executable.starts_with(venv)) {
        environment.set_default("VIRTUAL_ENV", venv);
    }
    environment
}

/// A variable of this process.
fn caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
