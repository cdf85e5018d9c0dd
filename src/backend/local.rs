//! Sessions in process groups on this machine: no isolation, but the same deadlines and the same facts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CpuSet;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::cores::{Cores, Pattern, View};
use super::environment::{Environment, MARK};
use super::session::Running;
use super::toolchain::{self, Toolchain};
use super::{
    Attempt, Backend, BackendError, Plugin, Probe, Session, Tell, cores, leftovers, one_core, output, packages,
};
use crate::run::{RunDir, Scratch, tree};
use crate::spec::{Perturbation, Spec, Workspace};

mod group;
mod load;
mod shell;

use group::Group;
use load::{Noise, cpus, on_cpus};

pub use shell::local_shell;

/// Process groups for the attempts of one sweep.
struct Local {
    spec: Spec,
    environment: Environment,
    python: PathBuf,
    /// CPUs that sessions may run on.
    cpus: Option<CpuSet>,
    /// What keeps cores busy beside them.
    noise: Mutex<Option<Noise>>,
    notes: Vec<String>,
}

/// Finds this machine's Python and resolves what the sessions get.
pub(super) async fn open(
    spec: &Spec,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<impl Backend + use<>, BackendError> {
    if spec.container.workspace == Workspace::Ro {
        return Err(BackendError::Unfit {
            what: "a process of this machine cannot be kept from writing to its directory".to_owned(),
            hint: Some("use --workspace fresh, or containers".to_owned()),
        });
    }
    let python = prepare(spec, plugin, tell).await?;
    if spec.container.cores {
        allow_cores();
    }
    let mut notes = without_effect(spec);
    notes.extend(super::ineffective(spec, &[]));
    if spec.deadlines.keep_s.is_some() {
        notes.push("without containers a session that hangs is not kept: nothing would end it afterwards".to_owned());
    }
    if spec.container.cores
        && let Err(cause) = core_dir(&spec.directory)
    {
        notes.push(format!("cores are not collected: {cause}"));
    }
    notes.extend(python.note);
    Ok(Local {
        spec: spec.clone(),
        environment: python.environment,
        cpus: spec.container.cpuset.as_deref().map(cpus).transpose()?,
        noise: Mutex::default(),
        python: python.executable,
        notes,
    })
}

/// This machine's Python, ready to run sessions.
struct Python {
    executable: PathBuf,
    environment: Environment,
    /// What was fetched for it.
    note: Option<String>,
}

/// Finds this machine's Python, fetches what it lacks, and resolves the variables of its sessions.
async fn prepare(spec: &Spec, plugin: Option<&Plugin>, tell: Tell<'_>) -> Result<Python, BackendError> {
    let found = toolchain::examine(&spec.directory, &[]).await?;
    let mut modules = Vec::new();
    if let Some(plugin) = plugin {
        modules.push(packages::keep_plugin(plugin)?.to_string_lossy().into_owned());
    }
    let fetched = packages::complete(&found, spec.host_requirements.as_deref(), plugin, tell).await?;
    modules.extend(fetched.iter().map(|fetched| fetched.dir.to_string_lossy().into_owned()));
    let mut environment = Environment::of(spec, caller, caller);
    environment.prepend_path("PYTHONPATH", &modules, caller("PYTHONPATH").as_deref());
    Ok(Python {
        executable: found.executable,
        environment,
        note: fetched.map(|fetched| fetched.note),
    })
}

/// A variable of this process.
fn caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Gives a command the variables of a sweep's sessions and of one attempt.
fn give(command: &mut std::process::Command, environment: &Environment, attempt: &Attempt) {
    for (name, below) in &attempt.dir_env {
        command.env(name, attempt.dir.join(below).components().collect::<PathBuf>());
    }
    command.envs(environment.iter());
    command.envs(attempt.env.iter().map(|(name, value)| (name, value)));
}

/// Where cores of processes of this machine are, that work in this directory.
fn core_dir(directory: &Path) -> Result<cores::CoreDir, String> {
    let limit = getrlimit(Resource::Core).maximum;
    if limit == Some(0) {
        return Err("their size is limited to 0 (ulimit -Hc)".to_owned());
    }
    Pattern::current().dir(&View {
        works_in: Some(directory),
        mounts: &[(PathBuf::from("/"), "/".to_owned())],
    })
}

/// Raises this process's own limit of cores, which what it starts inherits.
fn allow_cores() {
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// What was asked for that only a container can have.
fn without_effect(spec: &Spec) -> Vec<String> {
    let container = &spec.container;
    let given = [
        ("--volume", !container.volumes.is_empty()),
        ("--network", container.network.is_some()),
        ("--ulimit", !container.ulimits.is_empty()),
        ("--cpus", container.cpus.is_some()),
        ("--memory", container.memory.is_some()),
        ("--gpus", container.gpus.is_some()),
        ("--user", container.user.is_some()),
    ];
    let named: Vec<&str> = given
        .iter()
        .filter(|(_, is_given)| *is_given)
        .map(|(flag, _)| *flag)
        .collect();
    if named.is_empty() {
        Vec::new()
    } else {
        vec![format!("without containers {} has no effect", named.join(", "))]
    }
}

impl Local {
    async fn examine(&self) -> Result<Toolchain, BackendError> {
        let extra: Vec<(String, Option<String>)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
            .collect();
        toolchain::examine(&self.spec.directory, &extra).await
    }

    fn launch(&self, attempt: &Attempt) -> Result<Running<Group>, BackendError> {
        // Short: names of Unix sockets below it must stay under 108 bytes.
        let temporary = Scratch::make(&std::env::temp_dir(), leftovers::TEMPORARY)
            .map_err(refused("make a temporary directory"))?;
        let directory = self
            .directory(attempt, &temporary)
            .map_err(refused("copy the workspace"))?;
        let cores = self.cores(attempt, &directory);
        let pipe = || {
            let (reader, writer) = io::pipe()?;
            Ok((output::of_pipe(reader)?, writer.try_clone()?, writer))
        };
        let (output, stdout, stderr) = pipe().map_err(refused("open a pipe"))?;
        let (program, arguments) = attempt.argv.split_first().ok_or_else(|| BackendError::Refused {
            verb: "start the session".to_owned(),
            cause: "its command is empty".to_owned(),
        })?;
        let is_python = program == "python3";
        let mut command = Command::new(if is_python {
            self.python.as_os_str()
        } else {
            program.as_ref()
        });
        command
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .env("TMPDIR", temporary.path());
        give(command.as_std_mut(), &self.environment, attempt);
        command.env(MARK, &attempt.dir);
        // Before there is a child, so that no end is missed.
        let ends = signal(SignalKind::child()).map_err(refused("watch for the end of the session"))?;
        let one = self.spec.is_under(Perturbation::OneCore).then(|| {
            let listed = self.spec.container.cpuset.as_deref().and_then(one_core::listed);
            let mut one = CpuSet::new();
            one.set(one_core::one(&listed.unwrap_or_else(one_core::here), attempt.iteration));
            one
        });
        let spawned = on_cpus(one.as_ref().or(self.cpus.as_ref()), || command.spawn());
        let child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BackendError::Unfit {
                what: format!("`{program}` is not on this machine"),
                hint: None,
            },
            _ => refused("start the session")(error),
        })?;
        // The parent's ends of the pipe go with the command: what is left of them is the session's.
        drop(command);
        let mark = format!("{MARK}={}", attempt.dir.display());
        let group = Group::of(child, ends, mark, self.python.clone(), temporary);
        Ok(Running::new(group, output).with_cores(cores))
    }

    /// The directory that a session works in.
    fn directory(&self, attempt: &Attempt, temporary: &Scratch) -> io::Result<PathBuf> {
        let directory = &self.spec.directory;
        if self.spec.container.workspace != Workspace::Fresh {
            return Ok(directory.clone());
        }
        let from = RunDir::open(directory)?;
        let to = temporary.dir().make_dir("workspace", 0o700)?;
        // The sweeps' own directory is left out.
        let without = attempt.sweep.parent().unwrap_or(&attempt.sweep);
        tree::copy(&from, &to, |path| directory.join(path) != without)?;
        to.set_mode(from.mode()? & 0o777)?;
        Ok(temporary.path().join("workspace"))
    }

    /// Where the session leaves cores, if they are collected.
    fn cores(&self, attempt: &Attempt, directory: &Path) -> Option<Cores> {
        let dir = core_dir(directory).ok().filter(|_| self.spec.container.cores)?;
        let given_by_name = self.spec.env.iter().filter(|given| given.value.is_none());
        let names = given_by_name.map(|given| given.name.as_str());
        let passed_on = self.spec.pass_env.iter().map(String::as_str);
        Some(Cores {
            dir,
            mark: attempt.dir.display().to_string(),
            dirs: attempt.dirs.clone()?,
            since: SystemTime::now(),
            secrets: self.environment.values(names.chain(passed_on)),
            // The session's processes are this user's, and so is what they name.
            unchanged: vec![PathBuf::from("/")],
        })
    }
}

/// An error of the system while a session is started.
fn refused(verb: &str) -> impl Fn(io::Error) -> BackendError {
    let verb = verb.to_owned();
    move |error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOSPC) => BackendError::DiskFull {
            cause: error.to_string(),
        },
        _ => BackendError::Refused {
            verb: verb.clone(),
            cause: error.to_string(),
        },
    }
}

impl Backend for Local {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async move {
            let report = self.examine().await?;
            report.fit(
                self.spec.mode,
                &format!("`{}`", report.executable.display()),
                "install it in this Python, or use an image that has it",
            )?;
            Ok(Probe {
                image_id: report.identity(&self.spec.directory),
                versions: report.versions(),
                notes: self.notes.clone(),
            })
        }
        .boxed()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move { Ok(Box::new(self.launch(attempt)?) as Box<dyn Session>) }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn make_noise<'a>(&'a self, _sweep: &'a Path) -> BoxFuture<'a, Result<(), BackendError>> {
        let made = self.start_noise().map_err(|error| BackendError::Refused {
            verb: "keep cores busy".to_owned(),
            cause: error.to_string(),
        });
        std::future::ready(made).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        drop(self.noise.lock().unwrap_or_else(PoisonError::into_inner).take());
        std::future::ready(()).boxed()
    }
}
