//! `doctor`: whether a sweep can run here, a line for each thing it needs, and what to do where it cannot.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use rustix::process::Resource;
use serde::{Deserialize, Serialize};

use super::{output, sweep};
use crate::backend::{self, BackendError, PodmanService, docker};
use crate::cli::values::{Format, LogsDir, parallelism};
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::report::paint::Paint;
use crate::spec::{BackendKind, EngineKind, Mode, Spec};

mod node;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Example:\n  reproduce-flaky doctor -i app:ci -p 4\n\n\
    Exit code 0 if a sweep can run, else 1.\n\
    Next: reproduce-flaky demo")]
pub struct Args {
    /// Image to look into; `host` is this machine's own Python.
    #[arg(short, long, default_value = "host")]
    pub image: String,
    /// Where attempts would execute.
    #[arg(long, default_value = "docker", value_name = "WHERE")]
    pub backend: BackendKind,
    /// Who would place iterations: with `slurm`, a node of the cluster is looked at, through srun.
    #[arg(long, default_value = "here", value_name = "WHO")]
    pub engine: EngineKind,
    /// Arguments that choose the node, as those of the sweep: `--sbatch=--partition=main`.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Socket that speaks Docker's API, as in `DOCKER_HOST`.
    #[arg(long, value_name = "ADDRESS")]
    pub docker_host: Option<String>,
    /// Look as a worker would, which starts Podman where no engine answers.
    #[arg(long, hide = true)]
    pub as_worker: bool,
    /// How pytest would run: `serial`, or N xdist workers, which need pytest-xdist.
    #[arg(short, long, default_value = "serial", value_name = "serial|N", value_parser = parallelism)]
    pub parallelism: Mode,
    #[command(flatten)]
    pub logs: LogsDir,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// Space below which a sweep of any length is likely to run out.
const LITTLE_SPACE: u64 = 2 << 30;

#[derive(Debug, Serialize, Deserialize)]
struct Check {
    what: Cow<'static, str>,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What the finding means for a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As a sweep needs it.
    Ok,
    /// A sweep runs, but some of what it can do is missing.
    Limited,
    Missing,
}

impl Check {
    fn ok(what: &'static str, found: impl Into<String>) -> Check {
        Check {
            what: what.into(),
            state: State::Ok,
            found: found.into(),
            hint: None,
        }
    }

    fn limited(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Check {
        Check {
            what: what.into(),
            state: State::Limited,
            found: found.into(),
            hint: Some(hint.into()),
        }
    }

    fn missing(what: &'static str, error: &BackendError) -> Check {
        Check {
            what: what.into(),
            state: State::Missing,
            found: error.to_string(),
            hint: error.hint(),
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.engine == EngineKind::Slurm {
        return node::run(args);
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the scheduler")?;
    let mut checks = Vec::new();
    let mut args = args.clone();
    // Podman runs until everything has been looked at.
    let mut podman = None;
    if args.backend == BackendKind::Docker {
        if args.as_worker {
            podman = runtime.block_on(podman_if_needed(&args))?;
        }
        if let Some(podman) = &podman {
            args.docker_host = Some(podman.address().to_owned());
        }
        checks.extend(runtime.block_on(engine(args.docker_host.as_deref())));
    }
    let args = &args;
    if checks.iter().all(|check| check.state != State::Missing) {
        checks.push(runtime.block_on(pytest(args))?);
    }
    checks.push(space("logs", &args.logs.dir));
    checks.push(debugger());
    checks.extend(limits());
    if let Some(podman) = podman {
        runtime.block_on(podman.stop());
    }
    conclude(args.format, &checks)
}

fn conclude(format: Format, checks: &[Check]) -> anyhow::Result<ExitCode> {
    let can_run = checks.iter().all(|check| check.state != State::Missing);
    match format {
        Format::Json => output::json(&serde_json::json!({ "format": 1, "can_run": can_run, "checks": checks }))?,
        Format::Text => print(checks)?,
    }
    Ok(if can_run {
        ExitCode::Passed
    } else {
        ExitCode::ToolFailed
    })
}

fn print(checks: &[Check]) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    for Check {
        what,
        state,
        found,
        hint,
    } in checks
    {
        let sign = match state {
            State::Ok => Paint::Color.green("ok"),
            State::Limited => Paint::Color.yellow("- "),
            State::Missing => Paint::Color.red("! "),
        };
        writeln!(out, "{sign}  {what:<8}  {found}")?;
        if let Some(hint) = hint {
            writeln!(out, "              {hint}")?;
        }
    }
    Ok(())
}

/// Starts Podman as a worker would, where no engine was named and none answers.
async fn podman_if_needed(args: &Args) -> anyhow::Result<Option<PodmanService>> {
    let is_named = args.docker_host.is_some() || std::env::var_os("DOCKER_HOST").is_some();
    match docker::facts(None).await {
        Err(BackendError::Unreachable { .. } | BackendError::Forbidden { .. }) if !is_named => {
            Ok(PodmanService::start().await?)
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The engine, what it says about itself, and the space it has.
async fn engine(docker_host: Option<&str>) -> Vec<Check> {
    let place = match docker::place(docker_host) {
        Ok(place) => place,
        Err(error) => return vec![Check::missing("engine", &error)],
    };
    let facts = match docker::facts(docker_host).await {
        Ok(facts) => facts,
        Err(error @ BackendError::Forbidden { .. }) => return vec![Check::missing("rights", &error)],
        Err(error) => return vec![Check::missing("engine", &error)],
    };
    let mut checks = vec![
        Check::ok(
            "engine",
            format!(
                "{} {}, API {}, at {}: {}",
                facts.name, facts.version, facts.api, facts.address, place.why
            ),
        ),
        Check::ok(
            "rights",
            if facts.is_rootless {
                "the engine runs without root"
            } else {
                "this user may use it"
            },
        ),
    ];
    if !place.others.is_empty() {
        let others = place.others.join(", ");
        checks.push(Check::limited(
            "others",
            others,
            "--docker-host ADDRESS takes another engine",
        ));
    }
    match &facts.cgroups {
        Some(version) if facts.without.is_empty() => checks.push(Check::ok("cgroups", format!("version {version}"))),
        Some(version) => {
            let without = facts.without.join(" and ");
            let found = format!("version {version}, without {without}");
            checks.push(Check::limited("cgroups", found, docker::NO_LIMITS));
        }
        None => checks.push(Check::limited(
            "cgroups",
            "the engine does not say",
            "--memory and --cpus may have no effect",
        )),
    }
    if let Some(data) = facts.data.filter(|data| data.exists()) {
        checks.push(space("disk", &data));
    }
    checks
}

/// Whether pytest and what the mode needs are where the sessions would run.
async fn pytest(args: &Args) -> anyhow::Result<Check> {
    let spec = spec(args)?;
    let what = if spec.backend == BackendKind::Docker {
        "image"
    } else {
        "python"
    };
    let found = match backend::open(&spec, None, &|news| tell(format_args!("{news}"))).await {
        Ok(backend) => {
            let probe = backend.probe().await;
            backend.close().await;
            probe
        }
        Err(error) => Err(error),
    };
    Ok(match found {
        Ok(probe) => {
            let versions = probe.versions.iter().map(|(name, version)| format!("{name} {version}"));
            let versions = versions.collect::<Vec<_>>().join(", ");
            let place = if spec.backend == BackendKind::Docker {
                format!("{}: ", spec.image)
            } else {
                String::new()
            };
            if probe.versions.contains_key("pytest-timeout") {
                Check::ok(what, format!("{place}{versions}"))
            } else {
                let hint = "without pytest-timeout a hang lasts until --timeout or --silence";
                Check::limited(what, format!("{place}{versions}"), hint)
            }
        }
        Err(error) => Check::missing(what, &error),
    })
}

/// The specification that a sweep with these flags would have.
fn spec(args: &Args) -> anyhow::Result<Spec> {
    let backend = args.backend.as_str();
    let mode = args.parallelism.to_string();
    let words = ["reproduce-flaky", "-i", &args.image, "--backend", backend, "-p", &mode];
    let host = args.docker_host.iter().flat_map(|host| ["--docker-host", host]);
    let argv = words.into_iter().chain(host).map(OsString::from).collect();
    sweep::specification(&sweep::args::Args::read(argv, None)?)
}

fn space(what: &'static str, path: &Path) -> Check {
    // A directory that is still to be made will be on the disk of the one above it.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there: PathBuf = absolute
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(&absolute)
        .to_owned();
    let Ok(stat) = rustix::fs::statvfs(&there) else {
        return Check::limited(
            what,
            format!("nothing known about `{}`", there.display()),
            "look with df",
        );
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!(
        "{:.1} GiB free at {}",
        free as f64 / f64::from(1 << 30),
        there.display()
    );
    if what == "logs" && rustix::fs::access(&there, rustix::fs::Access::WRITE_OK).is_err() {
        let hint = "name a directory you can write to with --logs-dir".to_owned();
        return Check {
            what: what.into(),
            state: State::Missing,
            found: format!("no right to write to `{}`", there.display()),
            hint: Some(hint),
        };
    }
    if free < LITTLE_SPACE {
        Check::limited(what, found, "free some: a full disk stops a sweep")
    } else {
        Check::ok(what, found)
    }
}

/// gdb reads native stacks from outside, of programs with and without symbols.
fn debugger() -> Check {
    let output = Command::new("gdb").arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Check::ok("gdb", text.lines().next().unwrap_or_default())
        }
        Ok(_) | Err(_) => Check::limited(
            "gdb",
            "not on this machine",
            "install gdb to look into a session that hangs",
        ),
    }
}

/// Limits of this process that its own sessions inherit, or that bound what it can keep open.
fn limits() -> Vec<Check> {
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let files = rustix::process::getrlimit(Resource::Nofile);
    let core = rustix::process::getrlimit(Resource::Core);
    let found = format!(
        "{} open files, core files of {} bytes",
        shown(files.current),
        shown(core.current)
    );
    if files.current.is_some_and(|files| files < 1024) {
        vec![Check::limited(
            "ulimits",
            found,
            "ulimit -n 4096: each iteration in flight keeps a handful open",
        )]
    } else {
        vec![Check::ok("ulimits", found)]
    }
}
