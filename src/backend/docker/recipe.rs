//! How the container of an attempt is made: one value, from which both the engine's request and the equivalent
//! `docker run` line follow.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, ResourcesUlimits,
};

use super::gate;
use super::unsupported::Unsupported;
use crate::backend::host::Bind;
use crate::run::Identity;
use crate::spec::{Container, Recipe as Part};

mod given;

use given::{device_request, is_cdi};

pub(super) use given::{ulimits, volume};

/// Where a session sees the directory of its attempt.
pub(super) const RUN_DIR: &str = "/reproduce-flaky/run";
/// Where a session sees the plugin.
pub(super) const PLUGIN_DIR: &str = "/reproduce-flaky/plugin";
/// Where a session sees packages that were fetched for it.
pub(super) const PACKAGES_DIR: &str = "/reproduce-flaky/packages";
/// Where a session sees the sweep's directory.
pub(super) const WORKSPACE: &str = "/workspace";

const SHM_SIZE: u64 = 10 << 30;
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
    /// Processes and threads it may have at a time; any number if `None`.
    pub(super) pids: Option<i64>,
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
    /// Directory of the attempt, which it sees as [`RUN_DIR`].
    pub(super) run: Option<Run>,
    /// What keeps it from directories that its workspace holds.
    pub(super) guards: Vec<Mount>,
    /// Volume mounted as the workspace instead of a directory.
    pub(super) workspace_volume: Option<String>,
    /// The one CPU it may run on.
    pub(super) cpu: Option<usize>,
    /// How process 1 starves the session, if it is held.
    pub(super) starvation: Option<String>,
    /// Labels.
    pub(super) labels: HashMap<String, String>,
    /// What the engine turned out not to be able to do.
    pub(super) unsupported: Unsupported,
    /// The program that holds it until its turn; `None` for one that runs at once.
    pub(super) holder: Option<PathBuf>,
    /// Whether what it prints comes through the engine, which outlives us, even if it is held.
    pub(super) is_attached: bool,
}

/// The directory of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Where it is on this machine.
    pub(super) dir: PathBuf,
    /// What it was when it was made, if it was.
    pub(super) identity: Option<Identity>,
}

impl Instance {
    /// Keeps the container from a directory that its workspace holds. Those above it are mounted once more, so that
    /// none of them can be moved away with it.
    pub(super) fn guard(&mut self, workspace: &Path, dir: &Path) {
        let Ok(below) = dir.strip_prefix(workspace) else { return };
        let at = |path: &Path| format!("{WORKSPACE}/{}", path.display());
        if below.as_os_str().is_empty() {
            return;
        }
        let above = below.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let mut guards: Vec<Mount> = above
            .map(|above| mount(&Bind::writable(&workspace.join(above), &at(above))))
            .collect();
        guards.push(Mount {
            typ: Some(MountType::TMPFS),
            target: Some(at(below)),
            read_only: Some(true),
            ..Mount::default()
        });
        guards.retain(|guard| !self.guards.contains(guard));
        self.guards.append(&mut guards);
    }
}

impl Recipe {
    /// The engine's request for one container, held at a gate if there is one.
    pub(super) fn body(&self, instance: &Instance, gate: Option<&gate::GateMount>) -> ContainerCreateBody {
        let container = &self.container;
        let mut command: Vec<String> = match gate {
            Some(_) => {
                let shown = instance.run.as_ref().map_or(gate::DOOR, |_| RUN_DIR);
                gate::GateMount::command(container.has(Part::Init), shown).to_vec()
            }
            None if instance.unsupported.init => [self.python.as_str(), "-ISc", INIT].map(str::to_owned).to_vec(),
            None => Vec::new(),
        };
        command.extend(instance.argv.iter().cloned());
        let mut command = command.into_iter();
        let program = command.next().unwrap_or_default();
        let mut mounts: Vec<Mount> = self.binds.iter().chain(&instance.binds).map(mount).collect();
        mounts.extend(instance.run.iter().map(|run| mount(&run.bind())));
        mounts.extend(instance.guards.iter().cloned());
        let mut env = instance.env.clone();
        if let Some(gate) = gate {
            mounts.push(mount(&Bind::read_only(&gate.program, gate::PROGRAM)));
            mounts.push(mount(&Bind::read_only(&gate.door, gate::DOOR)));
            env.push((gate::SECRET.to_owned(), gate.secret.clone()));
            env.extend(instance.starvation.clone().map(|plan| (gate::PLAN.to_owned(), plan)));
        }
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
            env: Some(env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(instance.labels.clone()),
            user: self.user.clone(),
            working_dir: Some(WORKSPACE.to_owned()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                // Without one pytest itself would be process 1: to raise(SIGABRT) or SIGKILL it would be immune,
                // and its exit code 0. The gate's program is one.
                init: Some(container.has(Part::Init) && !instance.unsupported.init && gate.is_none()),
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
                ulimits: Some(self.limits(&instance.unsupported)),
                pids_limit: self.pids,
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a number of CPUs, checked when it was read"
                )]
                nano_cpus: container.cpus.map(|cpus| (cpus * 1e9).round() as i64),
                cpuset_cpus: self.cpuset(instance),
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

    /// CPUs that a container may run on, as a list.
    fn cpuset(&self, instance: &Instance) -> Option<String> {
        let one = instance.cpu.map(|cpu| cpu.to_string());
        one.or_else(|| self.container.cpuset.clone())
    }

    fn limits(&self, unsupported: &Unsupported) -> Vec<ResourcesUlimits> {
        let is_set = |name: &str| unsupported.limits.iter().all(|(refused, _)| refused != name);
        let set = self.ulimits.iter().filter(|(name, _, _)| is_set(name)).cloned();
        let own = unsupported
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
    /// appear without their values. Limits that the engine may not set are left out, as they are for the tool's own containers.
    pub(super) fn command_line(&self, image: &str, instance: &Instance, named: &[String]) -> Vec<String> {
        let container = &self.container;
        let mut line: Vec<String> = ["docker", "run", "--rm"].map(str::to_owned).to_vec();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
        if container.has(Part::Init) && !instance.unsupported.init {
            add(&["--init"]);
        }
        add(&["--network", container.network.as_deref().unwrap_or("bridge")]);
        if let Some(size) = self.shm_size() {
            add(&["--shm-size", &size.to_string()]);
        }
        for limit in self.limits(&instance.unsupported) {
            let name = limit.name.as_deref().unwrap_or_default();
            let [soft, hard] = [limit.soft, limit.hard].map(Option::unwrap_or_default);
            add(&["--ulimit", &format!("{name}={soft}:{hard}")]);
        }
        if let Some(most) = self.pids {
            add(&["--pids-limit", &most.to_string()]);
        }
        if let Some(cpus) = container.cpus {
            add(&["--cpus", &cpus.to_string()]);
        }
        if let Some(cpus) = self.cpuset(instance) {
            add(&["--cpuset-cpus", &cpus]);
        }
        if let Some(memory) = container.memory {
            add(&["--memory", &memory.to_string()]);
        }
        match container.gpus.as_deref() {
            Some(gpus) if is_cdi(gpus) => gpus.split(',').for_each(|name| add(&["--device", name])),
            Some(gpus) => add(&["--gpus", gpus]),
            None => {}
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
        let run = instance.run.as_ref().map(Run::bind);
        for bind in self.binds.iter().chain(&instance.binds).chain(&run) {
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

impl Run {
    fn bind(&self) -> Bind {
        Bind::writable(&self.dir, RUN_DIR)
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

#[cfg(test)]
mod tests {
    use super::*;

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
