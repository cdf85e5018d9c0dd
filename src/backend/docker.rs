//! Sessions in containers, on any socket that speaks Docker's API. Nothing outside this folder knows bollard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bollard::models::ImageConfig;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use super::environment::{self, Environment};
use super::host::{self, Bind, HostRoot};
use super::packages::{self, Packages};
use super::toolchain::{self, INSPECT, Report, last_line};
use super::{Attempt, Backend, BackendError, Creator, Plugin, Probe, Session, Tell};
use crate::model::spec::Recipe as Part;
use crate::model::{Spec, Workspace};

mod engine;
mod fresh;
mod ownership;
mod recipe;
mod removal;
mod session;

use engine::{Engine, is_not_found};
use fresh::{Fresh, Means};
use ownership::Ownership;
use recipe::{Instance, PACKAGES_DIR, PLUGIN_DIR, RUN_DIR, Recipe, TMPFS, WORKSPACE};
use removal::{ATTEMPT, ITERATION, Remover, SWEEP};

pub use removal::{Leftover, LeftoverKind, leftovers, reap};

/// The name that asks for a container over this machine's own Python.
const HOST: &str = "host";
/// Repository that the roots of such containers are tagged in.
const HOST_REPOSITORY: &str = "reproduce-flaky-host";

/// Containers for the attempts of one sweep.
struct Docker {
    engine: Arc<Engine>,
    remover: Arc<Remover>,
    creator: Creator,
    spec: Spec,
    recipe: Recipe,
    environment: Environment,
    image: Image,
    /// Home of the container's user, asked of it by the probe.
    home: OnceLock<PathBuf>,
    /// How fresh workspaces are made, once one was.
    means: OnceLock<Means>,
    notes: Vec<String>,
}

/// What the containers are made from.
enum Image {
    /// An image of the user's: its id and its own settings.
    Named { id: String, config: ImageConfig },
    /// This machine's directories.
    Host { executable: PathBuf },
}

/// Finds the engine and the image and resolves what the containers get.
pub(super) async fn open(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<impl Backend + use<>, BackendError> {
    let engine = Arc::new(Engine::connect().await?);
    let mut draft = Draft::of(spec, engine.is_here())?;
    let image = if spec.image == HOST {
        draft.host(spec, &engine, tell).await?
    } else {
        draft.named(spec, &engine).await?
    };
    if let Some(plugin) = plugin {
        draft
            .recipe
            .binds
            .push(Bind::read_only(&packages::keep_plugin(plugin)?, PLUGIN_DIR));
        draft.modules.insert(0, PLUGIN_DIR.to_owned());
    }
    let inherited = match &image {
        Image::Named { config, .. } => environment::find(config.env.as_deref().unwrap_or_default(), "PYTHONPATH"),
        Image::Host { .. } => None,
    };
    draft.environment.prepend_path("PYTHONPATH", &draft.modules, inherited);
    Ok(Docker {
        remover: Remover::new(Arc::clone(&engine)),
        engine,
        creator: Creator::current(),
        spec: spec.clone(),
        recipe: draft.recipe,
        environment: draft.environment,
        image,
        home: OnceLock::new(),
        means: OnceLock::new(),
        notes: draft.notes,
    })
}

/// A recipe in the making.
struct Draft {
    recipe: Recipe,
    environment: Environment,
    /// Directories in front of Python's search path.
    modules: Vec<String>,
    notes: Vec<String>,
}

impl Draft {
    fn of(spec: &Spec, is_here: bool) -> Result<Draft, BackendError> {
        let container = &spec.container;
        Ok(Draft {
            recipe: Recipe {
                image: spec.image.clone(),
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
            },
            environment: Environment::default(),
            modules: Vec::new(),
            notes: Vec::new(),
        })
    }

    async fn named(&mut self, spec: &Spec, engine: &Engine) -> Result<Image, BackendError> {
        let missing = || BackendError::ImageMissing {
            image: spec.image.clone(),
        };
        let found = engine.docker.inspect_image(&spec.image).await.map_err(|error| {
            if is_not_found(&error) {
                missing()
            } else {
                engine.explain("look for the image", &error)
            }
        })?;
        let config = found.config.unwrap_or_default();
        let own = config.env.clone().unwrap_or_default();
        self.environment = Environment::of(spec, caller, |name| environment::find(&own, name).map(str::to_owned));
        let id = found.id.ok_or_else(missing)?;
        self.recipe.image.clone_from(&id);
        Ok(Image::Named { id, config })
    }

    async fn host(&mut self, spec: &Spec, engine: &Engine, tell: Tell<'_>) -> Result<Image, BackendError> {
        // The caller's search path for modules is not part of the toolchain, and most of it is not visible inside.
        let report = toolchain::examine(&spec.directory, &[("PYTHONPATH".to_owned(), None)]).await?;
        let fetched = packages::complete(&report, spec.host_requirements.as_deref(), tell).await?;
        self.host_environment(spec, &report);
        let root = host::plan(&report, &caller("PATH").unwrap_or_default());
        self.environment.set_default("PATH", root.path.clone());
        self.recipe.binds.extend(root.binds.iter().cloned());
        self.recipe.is_root_read_only = true;
        for dir in ["/run", "/var/tmp"] {
            self.recipe.tmpfs.push((dir.to_owned(), TMPFS.to_owned()));
        }
        if self.recipe.user.is_none() {
            // The container's root is the caller where the engine runs without root.
            self.recipe.user = Some(if engine.facts.is_rootless {
                "0:0".to_owned()
            } else {
                format!(
                    "{}:{}",
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw()
                )
            });
        }
        if let Some(Packages { dir, note }) = fetched {
            self.recipe.binds.push(Bind::read_only(&dir, PACKAGES_DIR));
            self.modules.push(PACKAGES_DIR.to_owned());
            self.notes.push(note);
        }
        self.recipe.image = import(engine, &root).await?;
        Ok(Image::Host {
            executable: report.executable,
        })
    }

    fn host_environment(&mut self, spec: &Spec, report: &Report) {
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
        self.environment = environment;
    }
}

/// A variable of this process.
fn caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Makes the engine know the empty root, unless it does already, and returns what to start.
async fn import(engine: &Engine, root: &HostRoot) -> Result<String, BackendError> {
    let tag = root.tag();
    let name = format!("{HOST_REPOSITORY}:{tag}");
    if let Ok(found) = engine.docker.inspect_image(&name).await
        && let Some(id) = found.id
    {
        return Ok(id);
    }
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(HOST_REPOSITORY)
        .tag(&tag)
        .build();
    let mut answers = engine
        .docker
        .create_image(Some(options), Some(bollard::body_full(root.archive().into())), None);
    let mut id = None;
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| engine.explain("import the empty root", &error))?;
        id = answer.status.or(id);
    }
    Ok(match engine.docker.inspect_image(&name).await {
        Ok(found) => found.id.unwrap_or(name),
        Err(_) => id.unwrap_or(name),
    })
}

impl Docker {
    /// What a session is given on top of what they all have.
    fn instance(&self, argv: &[String], environment: Environment) -> Instance {
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
        let mut instance = Instance {
            argv,
            binds,
            labels: self.creator.labels(),
            ..Instance::default()
        };
        let mut environment = environment;
        if let Some((bind, variable)) = self.hf_cache(&environment) {
            if let Some(target) = variable {
                environment.set("HF_HOME", target);
            }
            instance.binds.push(bind);
        }
        instance.env = environment
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        instance
    }

    /// The caller's Hugging Face cache, if there is one, where the session's programs look for it; with the
    /// variable that tells them, if they would not.
    fn hf_cache(&self, environment: &Environment) -> Option<(Bind, Option<String>)> {
        if !self.spec.container.has(Part::HfCache) || !self.engine.is_here() {
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
                    None => format!("{}/.cache/huggingface", self.home(config)?.display()),
                };
                Some((Bind::read_only(&source, &target), None))
            }
        }
    }

    /// Home of the container's user: the probe's answer, else what follows from the user's name.
    fn home(&self, config: &ImageConfig) -> Option<PathBuf> {
        if let Some(home) = self.home.get() {
            return home.is_absolute().then(|| home.clone());
        }
        let user = self
            .recipe
            .user
            .as_ref()
            .or(config.user.as_ref())
            .map_or("", String::as_str);
        matches!(user.split(':').next(), Some("" | "0" | "root")).then(|| PathBuf::from("/root"))
    }

    fn session_environment(&self, attempt: &Attempt) -> Environment {
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
        environment
    }

    fn labels(&self, attempt: &Attempt) -> HashMap<String, String> {
        let mut labels = self.creator.labels();
        labels.insert(SWEEP.to_owned(), attempt.sweep.to_string_lossy().into_owned());
        labels.insert(ITERATION.to_owned(), attempt.iteration.to_string());
        labels.insert(ATTEMPT.to_owned(), attempt.name.clone());
        labels
    }

    async fn launch(&self, attempt: &Attempt) -> Result<session::Running, BackendError> {
        let mut instance = self.instance(&attempt.argv, self.session_environment(attempt));
        instance.binds.push(Bind::writable(&attempt.dir, RUN_DIR));
        instance.labels = self.labels(attempt);
        let name = container_name(&attempt.sweep, &attempt.name);
        let ownership = self.ownership(attempt, &instance.labels, &name);
        let running = if self.spec.container.workspace == Workspace::Fresh {
            self.launch_fresh(attempt, instance, &name).await?
        } else {
            session::launch(&self.engine, &self.remover, &self.recipe, &instance, &name)
                .await
                .map_err(|e| self.name_image(e))?
        };
        Ok(running.with_ownership(ownership))
    }

    /// Starts a session over a pristine tree; where the engine turns out not to be able to mount an overlay, over
    /// a copy, then and from then on.
    async fn launch_fresh(
        &self,
        attempt: &Attempt,
        mut instance: Instance,
        name: &str,
    ) -> Result<session::Running, BackendError> {
        let labels = instance.labels.clone();
        let fresh = Fresh {
            engine: &self.engine,
            image: &self.recipe.image,
            directory: &self.spec.directory,
            without: attempt.sweep.parent().unwrap_or(&attempt.sweep),
            name,
            labels: &labels,
        };
        let mut means = self.means.get().copied().unwrap_or_else(|| fresh.means());
        loop {
            let volumes = fresh.make(means).await;
            let started = match volumes {
                Ok(volumes) => {
                    instance.workspace_volume = volumes.first().cloned();
                    match session::launch(&self.engine, &self.remover, &self.recipe, &instance, name).await {
                        Ok(running) => Ok(running.with_volumes(volumes)),
                        Err(error) => {
                            self.remover.remove(String::new(), volumes);
                            Err(error)
                        }
                    }
                }
                Err(error) => Err(error),
            };
            match started {
                Err(BackendError::Refused { .. }) if means == Means::Overlay && self.means.get().is_none() => {
                    means = Means::Copy;
                }
                Err(error) => return Err(self.name_image(error)),
                Ok(running) => {
                    let _ = self.means.set(means);
                    return Ok(running);
                }
            }
        }
    }

    /// What to hand over afterwards; `None` where the container's user is the caller.
    fn ownership(&self, attempt: &Attempt, labels: &HashMap<String, String>, name: &str) -> Option<Ownership> {
        let uid = rustix::process::geteuid().as_raw();
        let user = match &self.image {
            Image::Host { .. } => self.recipe.user.clone(),
            Image::Named { config, .. } => self.recipe.user.clone().or_else(|| config.user.clone()),
        };
        let inside = match user.as_deref().and_then(|user| user.split(':').next()) {
            None | Some("" | "root") => Some(0),
            Some(user) => user.parse().ok(),
        };
        let is_caller = if self.engine.facts.is_rootless {
            inside == Some(0)
        } else {
            inside == Some(uid)
        };
        if is_caller || !self.engine.is_here() {
            return None;
        }
        Some(Ownership {
            run_dir: attempt.dir.clone(),
            workspace: (self.spec.container.workspace == Workspace::Rw).then(|| self.spec.directory.clone()),
            since: SystemTime::now(),
            image: self.recipe.image.clone(),
            labels: labels.clone(),
            name: format!("{name}-owner"),
        })
    }

    /// Errors name the image as the user does, not by its id.
    fn name_image(&self, error: BackendError) -> BackendError {
        let image = self.spec.image.clone();
        match error {
            BackendError::ImageMissing { .. } => BackendError::ImageMissing { image },
            BackendError::ProgramMissing { program, .. } => BackendError::ProgramMissing { program, image },
            other => other,
        }
    }

    fn place(&self) -> (String, String) {
        match &self.image {
            Image::Host { executable } => (
                format!("`{}`", executable.display()),
                "install it in this Python, or use an image that has it".to_owned(),
            ),
            Image::Named { .. } => (
                format!("image `{}`", self.spec.image),
                "install it there (pip install pytest pytest-xdist pytest-timeout), or use --image host".to_owned(),
            ),
        }
    }

    async fn examine(&self) -> Result<Report, BackendError> {
        let argv = ["python3", "-c", INSPECT].map(str::to_owned);
        let mut instance = self.instance(&argv, self.environment.clone());
        instance.labels.insert(SWEEP.to_owned(), "probe".to_owned());
        if self.spec.container.workspace == Workspace::Fresh {
            instance.binds.push(Bind::read_only(&self.spec.directory, WORKSPACE));
        }
        let name = container_name(
            Path::new("probe"),
            &format!("{}-{}", self.creator.pid, self.creator.started),
        );
        let mut session = Box::new(
            session::launch(&self.engine, &self.remover, &self.recipe, &instance, &name)
                .await
                .map_err(|error| self.name_image(error))?,
        );
        let mut output = Vec::new();
        while let Some(piece) = session.output().await? {
            output.extend_from_slice(&piece);
        }
        let ended = session.finish().await?;
        if let Some(report) = Report::parse(&output) {
            return Ok(report);
        }
        let last = last_line(&output).unwrap_or_default();
        let program = instance.argv.first().cloned().unwrap_or_default();
        // With an init process it is that which does not find the program, after the engine has started it.
        Err(
            if matches!(ended.code, Some(126 | 127)) && (last.contains("exec") || last.contains(&program)) {
                BackendError::ProgramMissing {
                    program,
                    image: self.spec.image.clone(),
                }
            } else {
                BackendError::Unfit {
                    what: format!(
                        "`python3` does not run in {}: {}",
                        self.place().0,
                        if last.is_empty() {
                            format!("exit code {}", ended.code.unwrap_or_default())
                        } else {
                            last
                        }
                    ),
                    hint: None,
                }
            },
        )
    }
}

impl Backend for Docker {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async move {
            let report = self.examine().await?;
            let (place, hint) = self.place();
            report.fit(self.spec.mode, &place, &hint)?;
            let _ = self.home.set(report.home.clone());
            Ok(Probe {
                image_id: match &self.image {
                    Image::Named { id, .. } => id.clone(),
                    Image::Host { .. } => report.identity(Path::new(WORKSPACE)),
                },
                versions: report.versions(),
                notes: self.notes.clone(),
            })
        }
        .boxed()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move { Ok(Box::new(self.launch(attempt).await?) as Box<dyn Session>) }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let answer = self.engine.docker.ping().await;
            answer
                .map(|_| ())
                .map_err(|error| self.engine.explain("ask the engine", &error))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.remover.close().boxed()
    }
}

/// A name for the reader of `docker ps`, of the characters that engines allow.
fn container_name(sweep: &Path, attempt: &str) -> String {
    let sweep = sweep.file_name().unwrap_or_default().to_string_lossy();
    format!("reproduce-flaky-{sweep}-{attempt}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// Whether an engine answers.
///
/// # Errors
/// None answers, or not to this user.
pub async fn ping() -> Result<(), BackendError> {
    Engine::connect().await.map(|_| ())
}
