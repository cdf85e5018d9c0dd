//! The connection to an engine: where it is, what it can do, and what its errors mean.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use bollard::{BollardRequest, ClientVersion, Docker};

use super::transport::{self, Way};
use super::{address, tls};
use crate::backend::BackendError;
use crate::spec::Container;
use crate::timings;

/// Seconds until the engine must have answered; not how long a session may take, since a wait that has begun to
/// answer is not limited. Starting a container on a busy disk can take a minute.
const ANSWER_S: u64 = 120;

/// What engines say of GPUs that they cannot give: Docker, and Docker and Podman of devices with CDI's names.
const NO_GPUS: [&str; 3] = [
    "could not select device driver",
    "unresolvable CDI devices",
    "CDI device injection failed",
];

/// What an engine takes to set limits.
pub const NO_LIMITS: &str = "an engine without root sets limits with control groups of version 2, of which systemd hands \
                             cpu and memory to this user (Delegate=)";

/// How long an engine that is there may take to say so.
const PING: Duration = Duration::from_secs(20);

/// Oldest version of the API that has all that is asked of an engine: Docker 19.03's.
const OLDEST: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 40,
};

/// An engine that answered.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    /// bollard's client, speaking the version that both sides know.
    pub(super) docker: Docker,
    /// The engine's address, for messages.
    pub(super) address: String,
    pub(super) facts: Facts,
}

/// What an engine says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
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
    /// Flags of limits that it does not set on a container.
    pub without: Vec<&'static str>,
}

/// What the engine says about itself, where one answers.
///
/// # Errors
/// No engine answers, or none that this user may use.
pub async fn facts(docker_host: Option<&str>) -> Result<Facts, BackendError> {
    Ok(Engine::connect_to(docker_host).await?.facts)
}

impl Engine {
    /// Finds the engine as `docker` would and asks what it is.
    pub(super) async fn connect() -> Result<Engine, BackendError> {
        Engine::connect_to(None).await
    }

    /// As [`Engine::connect`], to an address if one is named.
    pub(super) async fn connect_to(named: Option<&str>) -> Result<Engine, BackendError> {
        let place = address::place(named)?;
        let address = place.address.clone();
        let unreachable = |cause: String| BackendError::Unreachable {
            socket: address.clone(),
            cause,
        };
        let way = Way::to(&place)?;
        let client = |version: Option<&ClientVersion>| {
            let (way, spoken) = (way.clone(), version.map(ToString::to_string));
            let send = move |request: BollardRequest| transport::send(way.clone(), spoken.clone(), request);
            let version = version.unwrap_or(bollard::API_DEFAULT_VERSION);
            Docker::connect_with_custom_transport(send, Some("http://engine"), ANSWER_S, version)
                .map_err(|error| explain(&address, "connect to the engine", &error))
        };
        let refused = |error: &Error| match explain(&address, "ask the engine for its version", error) {
            BackendError::Refused { cause, .. } => unreachable(cause),
            other => other,
        };
        let first = client(None)?;
        let asked = async {
            // In the engine's own version of the API, so that neither question waits for the other's answer.
            let (version, info) = tokio::join!(
                timings::of("engine: version", first.version()),
                timings::of("engine: info", first.info())
            );
            let version = version.map_err(|error| refused(&error))?;
            let docker = client(Some(&common(&address, &version)?))?;
            let info = match info {
                Ok(info) => info,
                Err(_) => (docker.info().await).map_err(|error| explain(&address, "ask for its state", &error))?,
            };
            Ok((docker, version, info))
        };
        let (docker, version, info) = tokio::time::timeout(PING, asked)
            .await
            .map_err(|_| unreachable(format!("no answer within {} seconds", PING.as_secs())))??;
        Ok(Engine {
            facts: facts_of(&address, version, info),
            docker,
            address: address.clone(),
        })
    }

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

    /// Refuses limits that the engine would leave out without a word.
    pub(super) fn can_limit(&self, container: &Container) -> Result<(), BackendError> {
        let wanted = [
            ("--memory", container.memory.is_some()),
            ("--cpus", container.cpus.is_some()),
        ];
        let Some((flag, _)) = wanted
            .iter()
            .find(|(flag, is_wanted)| *is_wanted && self.facts.without.contains(flag))
        else {
            return Ok(());
        };
        let groups = self.facts.cgroups.as_deref().unwrap_or("unknown");
        Err(BackendError::Unfit {
            what: format!(
                "the container engine at `{}` sets no {flag}: its control groups (version {groups}) do not let it",
                self.address
            ),
            hint: Some(NO_LIMITS.to_owned()),
        })
    }

    /// Whether the engine's paths are this machine's.
    pub(super) fn is_here(&self) -> bool {
        self.socket().is_some()
    }

    /// The engine's socket, if it has one on this machine.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.address.strip_prefix("unix://").map(Path::new)
    }

    /// What an error of a request means.
    pub(super) fn explain(&self, verb: &str, error: &Error) -> BackendError {
        explain(&self.address, verb, error)
    }
}

fn facts_of(address: &str, version: SystemVersion, info: SystemInfo) -> Facts {
    let is_podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name.to_lowercase().contains("podman"));
    let is_rootless = info
        .security_options
        .iter()
        .flatten()
        .any(|option| option.contains("rootless"));
    let cgroups = info.cgroup_version.map(|version| version.to_string());
    // Podman says that it has them, and leaves them out.
    let has_none = is_rootless && cgroups.as_deref() == Some("1");
    let limits = [("--memory", info.memory_limit), ("--cpus", info.cpu_cfs_quota)];
    Facts {
        address: address.to_owned(),
        version: version.version.unwrap_or_default(),
        api: version.api_version.unwrap_or_default(),
        name: if is_podman { "Podman" } else { "Docker" }.to_owned(),
        is_rootless,
        data: info.docker_root_dir.map(PathBuf::from),
        cgroups,
        storage: info.driver,
        without: limits
            .into_iter()
            .filter(|(_, can)| has_none || *can == Some(false))
            .map(|(flag, _)| flag)
            .collect(),
    }
}

/// The newest version of the API that both sides know.
fn common(address: &str, engine: &SystemVersion) -> Result<ClientVersion, BackendError> {
    let parse = |text: Option<&str>| {
        let (major, minor) = text?.split_once('.')?;
        Some(ClientVersion {
            major_version: major.parse().ok()?,
            minor_version: minor.parse().ok()?,
        })
    };
    let newest = bollard::API_DEFAULT_VERSION;
    // An engine that does not say which versions it speaks is asked in the oldest one.
    let last = parse(engine.api_version.as_deref()).unwrap_or(OLDEST);
    let first = parse(engine.min_api_version.as_deref()).unwrap_or(OLDEST);
    let hint = if first > *newest {
        "a newer version of this tool may speak it"
    } else if last < OLDEST {
        "update the engine: Docker 19.03 is the oldest that will do"
    } else {
        return Ok(if last < *newest { last } else { *newest });
    };
    Err(BackendError::Unfit {
        what: format!(
            "no common version of the API with the container engine at `{address}`: {} speaks {first} to {last}, this tool \
             {OLDEST} to {newest}",
            engine.version.as_deref().unwrap_or("it"),
        ),
        hint: Some(hint.to_owned()),
    })
}

/// What an error of a request means: the one place that reads the engine's words.
fn explain(address: &str, verb: &str, error: &Error) -> BackendError {
    let refused = |cause: &str| BackendError::Refused {
        verb: verb.to_owned(),
        cause: cause.trim().to_owned(),
    };
    match error {
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            if message.contains("no space left on device") {
                BackendError::DiskFull {
                    cause: message.trim().to_owned(),
                }
            } else if NO_GPUS.iter().any(|words| message.contains(words)) {
                BackendError::Unfit {
                    what: format!("the container engine has no such GPUs to give: {}", message.trim()),
                    hint: Some(
                        "install nvidia-container-toolkit and restart the engine, or name devices as it lists them \
                         (`nvidia-ctk cdi list`); without --gpus the sweep runs"
                            .to_owned(),
                    ),
                }
            } else if message.contains("HTTP request to an HTTPS server") {
                BackendError::Unfit {
                    what: format!("the container engine at `{address}` speaks TLS"),
                    hint: Some(
                        "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, the directory of ca.pem, cert.pem and key.pem"
                            .to_owned(),
                    ),
                }
            } else {
                refused(message)
            }
        }
        Error::RequestTimeoutError => BackendError::Lost {
            cause: format!("no answer to `{verb}` in {ANSWER_S} s"),
        },
        other => match io_error(other) {
            _ if let Some(refusal) = tls::refusal(address, inner(other)) => refusal,
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
    matches!(error, Error::HyperResponseError { .. } | Error::IOError { .. })
}

/// Whether the engine answered "not found".
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine answered that something is in the way, such as a name in use; Podman has another code for it.
pub(super) fn is_conflict(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 409, .. } => true,
        Error::DockerResponseServerError { message, .. } => message.contains("name is already in use"),
        _ => false,
    }
}

fn io_error(error: &Error) -> Option<&io::Error> {
    std::iter::successors(Some(inner(error)), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// What an error of the client is made of, where it passes for that error itself.
fn inner(error: &Error) -> &(dyn std::error::Error + 'static) {
    match error {
        Error::IOError { err } => err,
        Error::HyperResponseError { err } => err,
        other => other,
    }
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
    fn limits_that_an_engine_leaves_out_are_refused_and_no_others() {
        let engine = |answer: &str, rootless: bool| {
            let mut info: SystemInfo = serde_json::from_str(answer).unwrap();
            info.security_options = rootless.then(|| vec!["name=rootless".to_owned()]);
            facts_of("x", SystemVersion::default(), info).without
        };
        let one = r#"{"CgroupVersion":"1","MemoryLimit":true,"CpuCfsQuota":true}"#;
        assert_eq!(engine(one, false), [""; 0]);
        assert_eq!(engine(one, true), ["--memory", "--cpus"]);
        let two = r#"{"CgroupVersion":"2","MemoryLimit":true,"CpuCfsQuota":false}"#;
        assert_eq!(engine(two, true), ["--cpus"]);
        assert_eq!(engine("{}", false), [""; 0]);
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
