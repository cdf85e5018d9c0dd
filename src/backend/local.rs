//! Sessions in process groups on this machine: no isolation, but the same deadlines and the same facts.
//!
//! 400 lines long because one state follows a process group from its start to its last orphan.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, kill_process_group, setrlimit};
use rustix::thread::CpuSet;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::autopsy::native::Seen;
use super::autopsy::{Autopsy, Bedside, Examination, Program, Then};
use super::cores::{Cores, Pattern, View};
use super::environment::{Environment, MARK};
use super::toolchain::{self, Report};
use super::{Attempt, Backend, BackendError, Ended, KILL_WAIT, Plugin, Probe, Session, Signal, Tell, cores, packages};
use crate::model::{Spec, Workspace};

mod load;

use load::{Noise, cpus, on_cpus};

/// How long the rest of the output may take once everything of the session has been killed.
const DRAIN: Duration = Duration::from_secs(2);
/// A pipe's worth of output.
const PIECE: usize = 64 << 10;

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
    let report = toolchain::examine(&spec.directory, &[]).await?;
    if spec.container.cores {
        allow_cores();
    }
    let mut notes = without_effect(spec);
    if spec.deadlines.keep_s.is_some() {
        notes.push("without containers a session that hangs is not kept: nothing would end it afterwards".to_owned());
    }
    if spec.container.cores
        && let Err(cause) = core_place(&spec.directory)
    {
        notes.push(format!("cores are not collected: {cause}"));
    }
    let mut modules = Vec::new();
    if let Some(plugin) = plugin {
        modules.push(packages::keep_plugin(plugin)?.to_string_lossy().into_owned());
    }
    if let Some(fetched) = packages::complete(&report, spec.host_requirements.as_deref(), plugin, tell).await? {
        modules.push(fetched.dir.to_string_lossy().into_owned());
        notes.push(fetched.note);
    }
    let caller = |name: &str| std::env::var(name).ok();
    let mut environment = Environment::of(spec, caller, caller);
    environment.prepend_path("PYTHONPATH", &modules, caller("PYTHONPATH").as_deref());
    Ok(Local {
        spec: spec.clone(),
        environment,
        cpus: spec.container.cpuset.as_deref().map(cpus).transpose()?,
        noise: Mutex::default(),
        python: report.executable,
        notes,
    })
}

/// Where cores of processes of this machine are, that work in this directory.
fn core_place(directory: &Path) -> Result<cores::Place, String> {
    let limit = getrlimit(Resource::Core).maximum;
    if limit == Some(0) {
        return Err("their size is limited to 0 (ulimit -Hc)".to_owned());
    }
    Pattern::current().place(&View {
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
    async fn examine(&self) -> Result<Report, BackendError> {
        let extra: Vec<(String, Option<String>)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
            .collect();
        toolchain::examine(&self.spec.directory, &extra).await
    }

    fn launch(&self, attempt: &Attempt) -> Result<Running, BackendError> {
        let refused = |verb: &str| {
            let verb = verb.to_owned();
            move |error: std::io::Error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NOSPC) => BackendError::DiskFull {
                    cause: error.to_string(),
                },
                _ => BackendError::Refused {
                    verb,
                    cause: error.to_string(),
                },
            }
        };
        // Short: names of Unix sockets below it must stay under 108 bytes.
        let temporary = tempfile::Builder::new()
            .prefix("rf-")
            .tempdir()
            .map_err(refused("make a temporary directory"))?;
        let directory = if self.spec.container.workspace == Workspace::Fresh {
            let copy = temporary.path().join("workspace");
            copy_tree(
                &self.spec.directory,
                &copy,
                attempt.sweep.parent().unwrap_or(&attempt.sweep),
            )
            .map_err(refused("copy the workspace"))?;
            copy
        } else {
            self.spec.directory.clone()
        };
        let cores = match core_place(&directory) {
            Ok(place) if self.spec.container.cores => Some(Cores {
                place,
                mark: attempt.dir.display().to_string(),
                dir: attempt.dir.clone(),
            }),
            Ok(_) | Err(_) => None,
        };
        let (reader, writer) = std::io::pipe().map_err(refused("open a pipe"))?;
        let output = pipe::Receiver::from_owned_fd(reader.into()).map_err(refused("open a pipe"))?;
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
            .stdout(writer.try_clone().map_err(refused("open a pipe"))?)
            .stderr(writer)
            .process_group(0)
            .env("TMPDIR", temporary.path());
        for (name, below) in &attempt.dir_env {
            command.env(name, attempt.dir.join(below).components().collect::<PathBuf>());
        }
        command.envs(self.environment.iter());
        command.envs(attempt.env.iter().map(|(name, value)| (name, value)));
        command.env(MARK, &attempt.dir);
        let spawned = on_cpus(self.cpus.as_ref(), || command.spawn());
        let child = spawned.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => BackendError::Unfit {
                what: format!("`{program}` is not on this machine"),
                hint: None,
            },
            _ => refused("start the session")(error),
        })?;
        // The parent's ends of the pipe go with the command: what is left of them is the session's.
        drop(command);
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Running {
            child,
            group,
            python: self.python.clone(),
            ahead: VecDeque::new(),
            mark: format!("{MARK}={}", attempt.dir.display()),
            output,
            is_drained: false,
            status: None,
            started_at: Utc::now(),
            finished_at: None,
            killed_at: None,
            drained_by: None,
            temporary: Some(temporary),
            cores,
            has_aborted: false,
        })
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

/// A process group.
struct Running {
    child: Child,
    group: Option<Pid>,
    mark: String,
    python: PathBuf,
    output: pipe::Receiver,
    /// Output that was read ahead.
    ahead: VecDeque<Bytes>,
    is_drained: bool,
    status: Option<ExitStatus>,
    started_at: chrono::DateTime<Utc>,
    finished_at: Option<chrono::DateTime<Utc>>,
    killed_at: Option<Instant>,
    drained_by: Option<Instant>,
    temporary: Option<TempDir>,
    cores: Option<Cores>,
    /// Whether processes were aborted for their stacks.
    has_aborted: bool,
}

impl Running {
    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        if let Some(piece) = self.ahead.pop_front() {
            return Ok(Some(piece));
        }
        loop {
            let gives_up = self
                .drained_by
                .into_iter()
                .chain(self.killed_at.map(|at| at + KILL_WAIT))
                .min();
            if gives_up.is_some_and(|at| at <= Instant::now()) || (self.is_drained && self.status.is_some()) {
                return Ok(None);
            }
            let mut piece = BytesMut::with_capacity(PIECE);
            tokio::select! {
                biased;
                read = self.output.read_buf(&mut piece), if !self.is_drained => match read {
                    Ok(0) => self.is_drained = true,
                    Ok(_) => return Ok(Some(piece.freeze())),
                    Err(error) => return Err(BackendError::Lost { cause: format!("failed to read the output: {error}") }),
                },
                status = self.child.wait(), if self.status.is_none() => self.ended(status)?,
                () = tokio::time::sleep_until(gives_up.unwrap_or_else(|| Instant::now() + Duration::from_hours(1))) => {}
            }
        }
    }

    /// As in a container, what is left of a session ends with its main process; else it would hold the pipe open.
    fn ended(&mut self, status: std::io::Result<ExitStatus>) -> Result<(), BackendError> {
        let status = status.map_err(|error| BackendError::Lost {
            cause: format!("failed to wait for the session: {error}"),
        })?;
        self.status = Some(status);
        self.finished_at = Some(Utc::now());
        self.drained_by = Some(Instant::now() + DRAIN);
        self.kill_all();
        Ok(())
    }

    fn kill_all(&self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
        for pid in marked(&self.mark) {
            let _ = kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Session for Running {
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        self.next().boxed()
    }

    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>> {
        match (signal, self.group) {
            // Once the leader has been waited for its number may belong to somebody else.
            (_, None) => {}
            _ if self.status.is_some() => {}
            (Signal::Term, Some(group)) => {
                let _ = kill_process_group(group, rustix::process::Signal::TERM);
            }
            (Signal::Kill, Some(_)) => {
                self.killed_at.get_or_insert_with(Instant::now);
                self.kill_all();
            }
        }
        std::future::ready(Ok(())).boxed()
    }

    fn autopsy<'a>(&'a mut self, run_dir: &'a Path, budget: Duration, then: Then) -> BoxFuture<'a, Autopsy> {
        async move {
            let bedside = Here {
                python: self.python.clone(),
                mark: self.mark.clone(),
            };
            let mut examination = Examination::new(run_dir, budget);
            examination.examine(&bedside, then).await;
            if examination.has_aborted {
                self.has_aborted = true;
                let (mut printed, mut pieces) = (Vec::new(), VecDeque::new());
                let patience = examination.left().min(Duration::from_secs(2));
                let _ = tokio::time::timeout(patience, async {
                    while let Ok(Some(piece)) = self.next().await {
                        printed.extend_from_slice(&piece);
                        pieces.push_back(piece);
                    }
                })
                .await;
                self.ahead.append(&mut pieces);
                examination.printed(&printed);
            }
            examination.end()
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>> {
        async move {
            if self.status.is_none()
                && let Ok(status) = tokio::time::timeout(KILL_WAIT, self.child.wait()).await
            {
                self.ended(status)?;
            }
            if let Some(cores) = self.cores.take() {
                cores.collect(None, self.has_aborted).await;
            }
            if let Some(temporary) = self.temporary.take() {
                // A large one takes a while; a file that cannot be removed is no reason to lose the answer.
                let _ = tokio::task::spawn_blocking(move || temporary.close()).await;
            }
            let Some(status) = self.status else {
                return Ok(Ended {
                    error: Some(format!(
                        "the process could not be ended within {} s",
                        KILL_WAIT.as_secs()
                    )),
                    started_at: Some(self.started_at),
                    ..Ended::default()
                });
            };
            Ok(Ended {
                code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
                signal: status.signal(),
                oom_killed: false,
                error: None,
                started_at: Some(self.started_at),
                finished_at: self.finished_at,
                usage: None,
            })
        }
        .boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill_all();
        }
    }
}

/// How the processes of a session on this machine are got at.
struct Here {
    python: PathBuf,
    mark: String,
}

impl Bedside for Here {
    fn python(&self, arguments: Vec<String>) -> BoxFuture<'_, Result<Program, String>> {
        let started = Command::new(&self.python)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let program = started
            .map_err(|error| format!("failed to run `{}`: {error}", self.python.display()))
            .and_then(|mut child| {
                let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("it has no pipes")?;
                // The child goes with the stream, so that it ends when nobody reads it any more.
                let pieces = futures_util::stream::unfold((child, output), |(child, mut output)| async move {
                    let mut piece = BytesMut::with_capacity(PIECE);
                    let read = output.read_buf(&mut piece).await.unwrap_or(0);
                    (read > 0).then(|| (piece.freeze(), (child, output)))
                });
                Ok(Program {
                    output: Box::pin(pieces),
                    input: Box::pin(input),
                })
            });
        std::future::ready(program).boxed()
    }

    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>> {
        let mark = self.mark.clone();
        async move {
            // A process in an uninterruptible sleep can block whoever reads about it, so not on a thread of ours.
            let found = tokio::task::spawn_blocking(move || marked(&mark)).await;
            let pids = found
                .map_err(|error| error.to_string())?
                .into_iter()
                .map(|pid| pid.as_raw_nonzero().get());
            Ok(pids.map(|pid| Seen { inside: pid, here: pid }).collect())
        }
        .boxed()
    }

    fn is_its_own(&self) -> bool {
        false
    }
}

/// Processes that carry the mark in their environment, wherever they have gone. Empty where there is no /proc.
fn marked(mark: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| {
            std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
        })
        .collect()
}

fn copy_tree(from: &Path, to: &Path, without: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source == without {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target, without)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target)?;
        }
    }
    std::fs::set_permissions(to, from.metadata()?.permissions())
}
