//! What the containers of a sweep get, resolved once: variables, mounts, user. Knows no engine, so that the same
//! plan also answers what the equivalent `docker run` would be.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bollard::models::ImageConfig;

use super::recipe::{self, Instance, PACKAGES_DIR, PLUGIN_DIR, RUN_DIR, Recipe, TMPFS, WORKSPACE};
use crate::backend::environment::{self, Environment, MARK};
use crate::backend::host::{self, Bind, HostRoot};
use crate::backend::packages::Packages;
use crate::backend::toolchain::Report;
use crate::backend::{Attempt, BackendError};
use crate::model::spec::Recipe as Part;
use crate::model::{Spec, Workspace};

mod cores;

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
    /// Home of the container's user, once it was asked.
    pub(super) home: OnceLock<PathBuf>,
}

impl Plan {
    /// For an image of the user's.
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

    /// For this machine's own Python. Returns the root to import too; its image is for the caller to fill in.
    pub(super) fn host(
        spec: &Spec,
        plugin: Option<&Path>,
        is_rootless: bool,
        report: &Report,
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
        instance.binds.push(Bind::writable(&attempt.dir, RUN_DIR));
        instance
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

    /// The caller's Hugging Face cache, if there is one, where the session's programs look for it; with the
    /// variable that tells them, if they would not.
    fn hf_cache(&self, environment: &Environment) -> Option<(Bind, Option<String>)> {
        if !self.spec.container.has(Part::HfCache) || !self.is_here {
            return None;
        }
        let source = caller("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(caller("HOME")?).join(".cache/huggingface")))
            .filter(|dir| dir.is_absolute() && dir.is_dir())?;
        match &self.image {
            Image::Host { .. } => {
                let target = environment
                    .get("HF_HOME")
                    .unwrap_or("/reproduce-flaky/huggingface")
                    .to_owned();
                Some((Bind::read_only(&source, &target), Some(target)))
            }
            Image::Named { config, .. } => {
                let own = config.env.as_deref().unwrap_or_default();
                let target = match environment.get("HF_HOME").or_else(|| environment::find(own, "HF_HOME")) {
                    Some(dir) => dir.to_owned(),
                    None => format!("{}/.cache/huggingface", self.home()?.display()),
                };
                Some((Bind::read_only(&source, &target), None))
            }
        }
    }

    /// Home of the container's user: its own answer, else what follows from its name.
    fn home(&self) -> Option<PathBuf> {
        match self.home.get() {
            Some(home) => home.is_absolute().then(|| home.clone()),
            None => (self.uid() == Some(0)).then(|| PathBuf::from("/root")),
        }
    }

    /// Id of the container's user; `None` for a name that only the image knows.
    pub(super) fn uid(&self) -> Option<u32> {
        let user = match &self.image {
            Image::Host { .. } => self.recipe.user.as_deref(),
            Image::Named { config, .. } => self.recipe.user.as_deref().or(config.user.as_deref()),
        };
        match user.and_then(|user| user.split(':').next()) {
            None | Some("" | "root") => Some(0),
            Some(user) => user.parse().ok(),
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
        container: container.clone(),
        ..Recipe::default()
    })
}

/// Mounts the plugin's directory and returns where it is inside.
fn mount_plugin(recipe: &mut Recipe, plugin: Option<&Path>) -> Vec<String> {
    recipe.binds.extend(plugin.map(|dir| Bind::read_only(dir, PLUGIN_DIR)));
    plugin.map(|_| PLUGIN_DIR.to_owned()).into_iter().collect()
}

fn host_environment(spec: &Spec, report: &Report) -> Environment {
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
mod tests {
    use super::*;
    use crate::backend::tests::spec;
    use crate::model::EnvVar;

    fn attempt() -> Attempt {
        Attempt {
            sweep: "/logs/serial".into(),
            iteration: 7,
            name: "run007.here-1-1".to_owned(),
            dir: "/logs/serial/.attempts/run007.here-1-1".into(),
            argv: ["python3", "-m", "pytest"].map(str::to_owned).to_vec(),
            env: vec![("REPRODUCE_FLAKY_ITERATION".to_owned(), "7".to_owned())],
            dir_env: vec![
                ("DYN_TEST_OUTPUT_PATH".to_owned(), String::new()),
                ("TRAIL".to_owned(), "trail".to_owned()),
            ],
        }
    }

    fn value<'a>(instance: &'a Instance, name: &str) -> Option<&'a str> {
        instance
            .env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_session_knows_its_iteration_its_directory_and_the_images_modules() {
        let config = ImageConfig {
            env: Some(vec!["PYTHONPATH=/app".to_owned()]),
            ..ImageConfig::default()
        };
        let plan = Plan::named(&spec("app"), Some(Path::new("/cache")), true, "sha256:1", config).unwrap();
        let instance = plan.session(&attempt());
        assert_eq!(value(&instance, "PYTHONPATH"), Some("/reproduce-flaky/plugin:/app"));
        assert_eq!(value(&instance, "DYN_TEST_OUTPUT_PATH"), Some("/reproduce-flaky/run"));
        assert_eq!(value(&instance, "TRAIL"), Some("/reproduce-flaky/run/trail"));
        assert_eq!(value(&instance, "REPRODUCE_FLAKY_ITERATION"), Some("7"));
        assert_eq!(instance.argv[0], "python3");
    }

    #[test]
    fn values_given_on_the_command_line_are_no_secrets() {
        let mut spec = spec("app");
        spec.pass_env = vec!["HF_TOKEN".to_owned(), "GIVEN".to_owned()];
        spec.env = vec![
            EnvVar {
                name: "GIVEN".to_owned(),
                value: Some("x".to_owned()),
            },
            EnvVar {
                name: "NAMED".to_owned(),
                value: None,
            },
        ];
        let plan = Plan::named(&spec, None, true, "sha256:1", ImageConfig::default()).unwrap();
        assert_eq!(plan.secrets(), ["NAMED", "HF_TOKEN"]);
    }

    #[test]
    fn the_user_of_a_container_is_the_flags_then_the_images_then_root() {
        let config = ImageConfig {
            user: Some("1000:1000".to_owned()),
            ..ImageConfig::default()
        };
        let mut spec = spec("app");
        let uid = |spec: &Spec, config: &ImageConfig| Plan::named(spec, None, true, "x", config.clone()).unwrap().uid();
        assert_eq!(uid(&spec, &ImageConfig::default()), Some(0));
        assert_eq!(uid(&spec, &config), Some(1000));
        spec.container.user = Some("app".to_owned());
        assert_eq!(uid(&spec, &config), None);
    }
}
