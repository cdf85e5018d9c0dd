//! How the container of an attempt is made: one value, from which both the engine's request and the equivalent
//! `docker run` line follow.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
    ResourcesUlimits,
};

use super::gate;
use super::lacks::Lacks;
use crate::backend::BackendError;
use crate::backend::host::Bind;
use crate::model::spec::{Container, Recipe as Part};

/// Where a session sees the directory of its attempt.
pub(super) const RUN_DIR: &str = "/reproduce-flaky/run";
/// Where a session sees the plugin.
pub(super) const PLUGIN_DIR: &str = "/reproduce-flaky/plugin";
/// Where a session sees packages that were fetched for it.
pub(super) const PACKAGES_DIR: &str = "/reproduce-flaky/packages";
/// Where a session sees the sweep's directory.
pub(super) const WORKSPACE: &str = "/workspace";

const SHM_SIZE: u64 = 10 << 30;
const ULIMITS: [&str; 3] = ["memlock=-1", "stack=67108864", "nofile=65536"];
/// What stands in for an init process.
const INIT: &str = include_str!("../init.py");

/// Docker's own default forbids executing what lies in a tmpfs; tests build and run programs in there.
pub(super) const TMPFS: &str = "rw,exec,nosuid,nodev,mode=1777";

/// What every container of a sweep has in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recipe {
    /// Image to start, by id where it is known: a tag may be moved while the sweep runs.
    pub(super) image: String,
    /// Directories and files it sees, in the order they are mounted.
    pub(super) binds: Vec<Bind>,
    /// Volumes as the user gave them, host paths made absolute.
    pub(super) volumes: Vec<String>,
    /// Memory file systems and their options.
    pub(super) tmpfs: Vec<(String, String)>,
    /// User it runs as; the image's own if `None`.
    pub(super) user: Option<String>,
    /// Whether its root cannot be written to.
    pub(super) is_root_read_only: bool,
    /// The Python in it, as it is called.
    pub(super) python: String,
    /// The switches of the command line.
    pub(super) container: Container,
    /// Limits, already read.
    pub(super) ulimits: Vec<(String, i64, i64)>,
}

/// What differs from one container to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Instance {
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// Variables, with values.
    pub(super) env: Vec<(String, String)>,
    /// More directories.
    pub(super) binds: Vec<Bind>,
    /// Volume mounted as the workspace instead of a directory.
    pub(super) workspace_volume: Option<String>,
    /// Labels.
    pub(super) labels: HashMap<String, String>,
    /// What the engine turned out not to be able to do.
    pub(super) lacks: Lacks,
    /// Where it is held until its turn; `None` for one that runs at once.
    pub(super) gate: Option<gate::Place>,
}

impl Recipe {
    /// The engine's request for one container.
    pub(super) fn body(&self, instance: &Instance) -> ContainerCreateBody {
        let container = &self.container;
        let mut command: Vec<String> = match &instance.gate {
            Some(_) => gate::Place::command(container.has(Part::Init)).to_vec(),
            None if instance.lacks.init => [self.python.as_str(), "-ISc", INIT].map(str::to_owned).to_vec(),
            None => Vec::new(),
        };
        command.extend(instance.argv.iter().cloned());
        let mut command = command.into_iter();
        let program = command.next().unwrap_or_default();
        let mut mounts: Vec<Mount> = self.binds.iter().chain(&instance.binds).map(mount).collect();
        let gate = instance.gate.as_ref();
        mounts.extend(gate.map(|gate| mount(&Bind::read_only(&gate.program, gate::PROGRAM))));
        mounts.extend(instance.workspace_volume.as_ref().map(|volume| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.clone()),
            target: Some(WORKSPACE.to_owned()),
            // Without this the engine copies what the image holds at that place into the volume.
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }));
        ContainerCreateBody {
            image: Some(self.image.clone()),
            // The program replaces the image's entrypoint: the command runs as it is, without a shell before it.
            entrypoint: Some(vec![program]),
            cmd: Some(command.collect()),
            env: Some(
                instance
                    .env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            labels: Some(instance.labels.clone()),
            user: self.user.clone(),
            working_dir: Some(WORKSPACE.to_owned()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                // Without one pytest itself would be process 1: to raise(SIGABRT) or SIGKILL it would be immune,
                // and its exit code 0. The gate's program is one.
                init: Some(container.has(Part::Init) && !instance.lacks.init && instance.gate.is_none()),
                auto_remove: Some(false),
                // The session's output is taken from the attached stream alone. With `json-file` the engine writes
                // every byte a second time: 2 x 500 MB took 16.3 s instead of 4.2 s. What it would buy, reading the
                // log of a session whose sweep has died, is of no use: such an attempt is never an answer.
                log_config: Some(HostConfigLogConfig {
                    typ: Some("none".to_owned()),
                    config: None,
                }),
                network_mode: Some(container.network.clone().unwrap_or_else(|| "bridge".to_owned())),
                shm_size: self.shm_size().and_then(|size| i64::try_from(size).ok()),
                ulimits: Some(self.limits(&instance.lacks)),
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a number of CPUs, checked when it was read"
                )]
                nano_cpus: container.cpus.map(|cpus| (cpus * 1e9).round() as i64),
                cpuset_cpus: container.cpuset.clone(),
                memory: container.memory.and_then(|bytes| i64::try_from(bytes).ok()),
                device_requests: container.gpus.as_deref().map(|gpus| vec![device_request(gpus)]),
                binds: Some(self.volumes.clone()),
                mounts: Some(mounts),
                tmpfs: Some(self.tmpfs.iter().cloned().collect()),
                readonly_rootfs: Some(self.is_root_read_only),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn limits(&self, lacks: &Lacks) -> Vec<ResourcesUlimits> {
        let is_set = |name: &str| lacks.limits.iter().all(|(refused, _)| refused != name);
        let set = self.ulimits.iter().filter(|(name, _, _)| is_set(name)).cloned();
        let own = lacks
            .limits
            .iter()
            .filter_map(|(name, limit)| limit.map(|limit| (name.clone(), limit, limit)));
        set.chain(own)
            .map(|(name, soft, hard)| ResourcesUlimits {
                name: Some(name),
                soft: Some(soft),
                hard: Some(hard),
            })
            .collect()
    }

    /// Size of /dev/shm in bytes; `None` leaves the engine's own, 64 MB, with which xdist can die of SIGBUS.
    fn shm_size(&self) -> Option<u64> {
        self.container
            .has(Part::ShmSize)
            .then(|| self.container.shm_size.unwrap_or(SHM_SIZE))
    }

    /// The `docker run` line that makes the same container by hand. Variables in `named` are the caller's own and
    /// appear without their values.
    pub(super) fn command_line(&self, image: &str, instance: &Instance, named: &[String]) -> Vec<String> {
        let container = &self.container;
        let mut line: Vec<String> = ["docker", "run", "--rm"].map(str::to_owned).to_vec();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
        if container.has(Part::Init) {
            add(&["--init"]);
        }
        add(&["--network", container.network.as_deref().unwrap_or("bridge")]);
        if let Some(size) = self.shm_size() {
            add(&["--shm-size", &size.to_string()]);
        }
        for (name, soft, hard) in &self.ulimits {
            add(&["--ulimit", &format!("{name}={soft}:{hard}")]);
        }
        if let Some(cpus) = container.cpus {
            add(&["--cpus", &cpus.to_string()]);
        }
        if let Some(cpus) = &container.cpuset {
            add(&["--cpuset-cpus", cpus]);
        }
        if let Some(memory) = container.memory {
            add(&["--memory", &memory.to_string()]);
        }
        if let Some(gpus) = &container.gpus {
            add(&["--gpus", gpus]);
        }
        if let Some(user) = &self.user {
            add(&["--user", user]);
        }
        if self.is_root_read_only {
            add(&["--read-only"]);
        }
        for (path, options) in &self.tmpfs {
            add(&["--tmpfs", &format!("{path}:{options}")]);
        }
        for bind in self.binds.iter().chain(&instance.binds) {
            let suffix = if bind.is_writable { "" } else { ":ro" };
            add(&["-v", &format!("{}:{}{suffix}", bind.source.display(), bind.target)]);
        }
        for volume in &self.volumes {
            add(&["-v", volume]);
        }
        for (name, value) in &instance.env {
            if named.contains(name) {
                add(&["-e", name]);
            } else {
                add(&["-e", &format!("{name}={value}")]);
            }
        }
        add(&["-w", WORKSPACE]);
        let (program, arguments) = instance
            .argv
            .split_first()
            .map_or(("", &[][..]), |(head, tail)| (head, tail));
        add(&["--entrypoint", program, image]);
        line.extend(arguments.iter().cloned());
        line
    }
}

fn mount(bind: &Bind) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.source.to_string_lossy().into_owned()),
        target: Some(bind.target.clone()),
        read_only: Some(!bind.is_writable),
        ..Mount::default()
    }
}

/// `all`, a count, or `device=0,1`, as `docker run --gpus` takes them.
fn device_request(gpus: &str) -> DeviceRequest {
    let gpus = gpus.trim_matches('"');
    let devices = gpus.strip_prefix("device=");
    DeviceRequest {
        count: match devices {
            Some(_) => None,
            None => Some(gpus.strip_prefix("count=").unwrap_or(gpus).parse().unwrap_or(-1)),
        },
        device_ids: devices.map(|ids| ids.split(',').map(str::to_owned).collect()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

/// The limits in force: the recipe's, replaced and completed by those given as `NAME=SOFT[:HARD]`.
pub(super) fn ulimits(container: &Container) -> Result<Vec<(String, i64, i64)>, BackendError> {
    let mut limits: Vec<(String, i64, i64)> = Vec::new();
    let defaults: &[&str] = if container.has(Part::Ulimits) { &ULIMITS } else { &[] };
    for text in defaults
        .iter()
        .copied()
        .chain(container.ulimits.iter().map(String::as_str))
    {
        let limit = ulimit(text).ok_or_else(|| BackendError::Unfit {
            what: format!("`{text}` is not a limit"),
            hint: Some("write NAME=SOFT or NAME=SOFT:HARD, such as nofile=65536".to_owned()),
        })?;
        limits.retain(|(name, _, _)| *name != limit.0);
        limits.push(limit);
    }
    if container.cores && limits.iter().all(|(name, _, _)| name != "core") {
        limits.push(("core".to_owned(), -1, -1));
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Option<(String, i64, i64)> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), soft.parse().ok()?, hard.parse().ok()?))
}

/// A volume with its host path made absolute. A path that is not there is refused: the engine would make an empty
/// directory of it, and the tests would fail for a reason that nobody looks for. `is_here` says whether the
/// engine's paths are this machine's, so that they can be looked at.
pub(super) fn volume(text: &str, directory: &Path, is_here: bool) -> Result<String, BackendError> {
    let unfit = |what: String| BackendError::Unfit {
        what,
        hint: Some("write HOST:CONTAINER or HOST:CONTAINER:ro".to_owned()),
    };
    let (source, rest) = text
        .split_once(':')
        .filter(|(source, rest)| !source.is_empty() && rest.starts_with('/'))
        .ok_or_else(|| unfit(format!("`{text}` is not a volume")))?;
    // A name without a slash is a volume of the engine's.
    if !source.contains('/') && !source.starts_with('.') {
        return Ok(text.to_owned());
    }
    let path: PathBuf = directory.join(source).components().collect();
    if is_here && !path.exists() {
        return Err(unfit(format!(
            "there is no `{}` for the volume `{text}`",
            path.display()
        )));
    }
    Ok(format!("{}:{rest}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_limits_replace_the_recipes() {
        let container = Container {
            ulimits: vec!["nofile=10:20".to_owned()],
            ..Container::default()
        };
        let limits = ulimits(&container).unwrap();
        assert_eq!(limits.last(), Some(&("nofile".to_owned(), 10, 20)));
        assert_eq!(limits.len(), 3);
        assert!(
            ulimits(&Container {
                ulimits: vec!["nofile".to_owned()],
                ..container
            })
            .is_err()
        );
    }

    #[test]
    fn volumes_are_relative_to_the_sweeps_directory_and_must_exist() {
        let here = Path::new("/usr");
        assert_eq!(volume("./lib:/x:ro", here, true).unwrap(), "/usr/lib:/x:ro");
        assert_eq!(volume("cache:/x", here, true).unwrap(), "cache:/x");
        assert!(volume("./absent:/x", here, true).is_err());
        assert_eq!(volume("/absent:/x", here, false).unwrap(), "/absent:/x");
        for bad in ["/x", ":/x", "a:b", ""] {
            assert!(volume(bad, here, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn gpus_are_asked_for_as_docker_run_does() {
        assert_eq!(device_request("all").count, Some(-1));
        assert_eq!(device_request("2").count, Some(2));
        let request = device_request("\"device=0,3\"");
        assert_eq!(
            (request.count, request.device_ids),
            (None, Some(vec!["0".to_owned(), "3".to_owned()]))
        );
    }

    #[test]
    fn the_line_names_secrets_without_their_values() {
        let recipe = Recipe {
            image: "sha256:1".to_owned(),
            ..Recipe::default()
        };
        let instance = Instance {
            argv: ["python3", "-m", "pytest"].map(str::to_owned).to_vec(),
            env: vec![
                ("HF_TOKEN".to_owned(), "secret".to_owned()),
                ("CI".to_owned(), "true".to_owned()),
            ],
            ..Instance::default()
        };
        let line = shell_words::join(recipe.command_line("app", &instance, &["HF_TOKEN".to_owned()]));
        assert_eq!(
            line,
            "docker run --rm --init --network bridge --shm-size 10737418240 -e HF_TOKEN -e 'CI=true' -w /workspace \
             --entrypoint python3 app -m pytest"
        );
    }
}
