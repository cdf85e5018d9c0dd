//! The connection to an engine: where it is, what it can do, and what its errors mean.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use sha2::{Digest, Sha256};

use crate::backend::BackendError;
use crate::backend::toolchain::hex;

/// Seconds until the engine must have answered; not how long a session may take, since a wait that has begun to
/// answer is not limited. Starting a container on a busy disk can take a minute.
const ANSWER_S: u64 = 120;

/// How long an engine that is there may take to say so.
const PING: Duration = Duration::from_secs(20);

/// Address used where nothing else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An engine that answered.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    /// bollard's client, speaking the version that both sides know.
    pub(super) docker: Docker,
    /// Where it is, for messages.
    pub(super) address: String,
    /// What it says about itself.
    pub(super) facts: Facts,
}

/// What an engine says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it is.
    pub address: String,
    /// Version of the engine.
    pub version: String,
    /// Version of the API.
    pub api: String,
    /// `Docker` or `Podman`.
    pub name: String,
    /// Whether it runs without root, so that the container's root is the caller.
    pub is_rootless: bool,
    /// Directory of its data.
    pub data: Option<PathBuf>,
    /// Version of control groups.
    pub cgroups: Option<String>,
    /// Storage driver.
    pub storage: Option<String>,
}

/// What the engine says about itself, where one answers.
///
/// # Errors
/// None answers, or not to this user.
pub async fn facts(docker_host: Option<&str>) -> Result<Facts, BackendError> {
    Ok(Engine::connect_to(docker_host).await?.facts)
}

impl Engine {
    /// Finds the engine as `docker` would and asks what it is.
    pub(super) async fn connect() -> Result<Engine, BackendError> {
        Engine::connect_to(None).await
    }

    /// The same, where an address may have been named.
    pub(super) async fn connect_to(named: Option<&str>) -> Result<Engine, BackendError> {
        let address = address(&|name| match named {
            Some(named) if name == "DOCKER_HOST" => Some(named.to_owned()),
            Some(_) | None => std::env::var(name).ok().filter(|value| !value.is_empty()),
        });
        let unreachable = |cause: String| BackendError::Unreachable {
            socket: address.clone(),
            cause,
        };
        let version = bollard::API_DEFAULT_VERSION;
        let docker = if let Some(path) = address.strip_prefix("unix://") {
            Docker::connect_with_unix(path, ANSWER_S, version)
        } else if address.starts_with("tcp://") || address.starts_with("http://") {
            if std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty()) {
                return Err(unreachable(
                    "TLS is not supported; forward the socket over ssh instead".to_owned(),
                ));
            }
            Docker::connect_with_http(&address, ANSWER_S, version)
        } else {
            return Err(unreachable(
                "only unix:// and tcp:// are supported; forward a remote socket with ssh -L".to_owned(),
            ));
        };
        let docker = docker.map_err(|error| explain(&address, "connect to the engine", &error))?;
        let docker = tokio::time::timeout(PING, docker.negotiate_version())
            .await
            .map_err(|_| unreachable(format!("no answer within {} seconds", PING.as_secs())))?
            .map_err(
                |error| match explain(&address, "ask the engine for its version", &error) {
                    BackendError::Refused { cause, .. } => unreachable(cause),
                    other => other,
                },
            )?;
        let mut engine = Engine {
            docker,
            address,
            facts: Facts::default(),
        };
        engine.facts = engine.ask().await?;
        Ok(engine)
    }

    async fn ask(&self) -> Result<Facts, BackendError> {
        let version = self
            .docker
            .version()
            .await
            .map_err(|error| self.explain("ask for the version", &error))?;
        let info = self
            .docker
            .info()
            .await
            .map_err(|error| self.explain("ask for its state", &error))?;
        let is_podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.to_lowercase().contains("podman"));
        Ok(Facts {
            address: self.address.clone(),
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            name: if is_podman { "Podman" } else { "Docker" }.to_owned(),
            is_rootless: info
                .security_options
                .iter()
                .flatten()
                .any(|option| option.contains("rootless")),
            data: info.docker_root_dir.map(PathBuf::from),
            cgroups: info.cgroup_version.map(|version| version.to_string()),
            storage: info.driver,
        })
    }

    /// Whether it answers.
    pub(super) async fn ping(&self) -> Result<(), BackendError> {
        match tokio::time::timeout(PING, self.docker.ping()).await {
            Ok(answer) => answer
                .map(|_| ())
                .map_err(|error| self.explain("ping the engine", &error)),
            Err(_) => Err(BackendError::Unreachable {
                socket: self.address.clone(),
                cause: format!("no answer within {} seconds", PING.as_secs()),
            }),
        }
    }

    /// Whether its paths are this machine's.
    pub(super) fn is_here(&self) -> bool {
        self.socket().is_some()
    }

    /// Its socket, where it has one on this machine.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }

    /// What an error of a request means.
    pub(super) fn explain(&self, verb: &str, error: &Error) -> BackendError {
        explain(&self.address, verb, error)
    }
}

/// The engine's address: `DOCKER_HOST`, then docker's current context, then the sockets that engines use.
fn address(variable: &dyn Fn(&str) -> Option<String>) -> String {
    if let Some(host) = variable("DOCKER_HOST") {
        return if host.starts_with('/') {
            format!("unix://{host}")
        } else {
            host
        };
    }
    let home = variable("HOME").map(PathBuf::from);
    let config = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".docker")));
    if let Some(host) = config.and_then(|dir| context_host(&dir, variable("DOCKER_CONTEXT"))) {
        return host;
    }
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = [
        Some(PathBuf::from(DEFAULT_SOCKET)),
        runtime.as_ref().map(|dir| dir.join("docker.sock")),
        home.as_ref().map(|home| home.join(".docker/run/docker.sock")),
        runtime.as_ref().map(|dir| dir.join("podman/podman.sock")),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    let found = candidates.into_iter().flatten().find(|path| path.exists());
    format!(
        "unix://{}",
        found.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)).display()
    )
}

/// The address that docker's own configuration names, if it names one.
fn context_host(config: &Path, chosen: Option<String>) -> Option<String> {
    let read = |path: PathBuf| -> Option<serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    };
    let name = match chosen {
        Some(name) => name,
        None => read(config.join("config.json"))?
            .get("currentContext")?
            .as_str()?
            .to_owned(),
    };
    if name == "default" {
        return None;
    }
    // Docker files a context under the digest of its name.
    let digest = hex(&Sha256::digest(name.as_bytes()));
    let meta = read(config.join("contexts/meta").join(digest).join("meta.json"))?;
    Some(meta.pointer("/Endpoints/docker/Host")?.as_str()?.to_owned())
}

/// What an error of a request means: the one place that reads the engine's words.
fn explain(address: &str, verb: &str, error: &Error) -> BackendError {
    let refused = |cause: &str| BackendError::Refused {
        verb: verb.to_owned(),
        cause: cause.trim().to_owned(),
    };
    match error {
        Error::SocketNotFoundError(_) => BackendError::Unreachable {
            socket: address.to_owned(),
            cause: "no such socket".to_owned(),
        },
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            if message.contains("no space left on device") {
                BackendError::DiskFull {
                    cause: message.trim().to_owned(),
                }
            } else {
                refused(message)
            }
        }
        Error::RequestTimeoutError => BackendError::Lost {
            cause: format!("no answer to `{verb}` in {ANSWER_S} s"),
        },
        other => match io_error(other) {
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => BackendError::Forbidden {
                socket: address.to_owned(),
            },
            Some(error) => BackendError::Unreachable {
                socket: address.to_owned(),
                cause: error.to_string(),
            },
            None if is_transport(other) => BackendError::Unreachable {
                socket: address.to_owned(),
                cause: chain(other),
            },
            None => refused(&chain(other)),
        },
    }
}

/// Whether the request never got an answer from the engine.
pub(super) fn is_transport(error: &Error) -> bool {
    matches!(
        error,
        Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } | Error::IOError { .. }
    )
}

/// Whether the engine says that there is no such thing.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that something is in the way, such as a name in use: for which Podman has another code.
pub(super) fn is_conflict(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 409, .. } => true,
        Error::DockerResponseServerError { message, .. } => message.contains("name is already in use"),
        _ => false,
    }
}

fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref::<io::Error>())
}

fn chain(error: &Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_comes_before_the_context_and_the_context_before_the_sockets() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".docker");
        let meta = config.join("contexts/meta").join(hex(&Sha256::digest(b"desk")));
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(config.join("config.json"), r#"{"currentContext":"desk"}"#).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Endpoints":{"docker":{"Host":"unix:///desk.sock"}}}"#,
        )
        .unwrap();
        let path = home.path().to_string_lossy().into_owned();
        let with_home = |name: &str| (name == "HOME").then(|| path.clone());
        assert_eq!(address(&with_home), "unix:///desk.sock");
        let with_host = |name: &str| {
            if name == "DOCKER_HOST" {
                Some("/x.sock".to_owned())
            } else {
                with_home(name)
            }
        };
        assert_eq!(address(&with_host), "unix:///x.sock");
        let other = |name: &str| {
            if name == "DOCKER_CONTEXT" {
                Some("gone".to_owned())
            } else {
                with_home(name)
            }
        };
        assert!(address(&other).starts_with("unix:///"));
    }

    #[test]
    fn a_full_disk_and_a_refusal_are_told_apart() {
        let error = |message: &str| Error::DockerResponseServerError {
            status_code: 500,
            message: message.to_owned(),
        };
        assert!(matches!(
            explain("x", "create", &error("mkdir /x: no space left on device")),
            BackendError::DiskFull { .. }
        ));
        assert_eq!(
            explain("x", "create a container", &error("no")).to_string(),
            "failed to create a container: no"
        );
    }
}
