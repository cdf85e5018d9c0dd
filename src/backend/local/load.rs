//! CPUs for the processes of this machine, and processes that keep cores busy beside them.

use std::io;
use std::process::Stdio;
use std::sync::PoisonError;

use rustix::process::{Pid, kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::{Child, Command};

use super::Local;
use crate::backend::{BackendError, noise};

/// A process group that keeps cores busy until it is dropped.
pub(super) struct Noise(Child);

impl Drop for Noise {
    fn drop(&mut self) {
        let group = self
            .0
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Local {
    /// Starts it, on the CPUs of the sessions.
    pub(super) fn start_noise(&self) -> io::Result<()> {
        let Some(cores) = self.spec.container.noise else {
            return Ok(());
        };
        let mut command = Command::new(&self.python);
        command
            .args(["-ISc", noise::PYTHON, &cores.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let child = on_cpus(self.cpus.as_ref(), || command.spawn())?;
        *self.noise.lock().unwrap_or_else(PoisonError::into_inner) = Some(Noise(child));
        Ok(())
    }
}

/// The CPUs of a list such as `0-1,3`.
///
/// # Errors
/// This machine does not have one of them, or this process may not use it.
pub(super) fn cpus(list: &str) -> Result<CpuSet, BackendError> {
    let unfit = |cause: String| BackendError::Unfit {
        what: format!("this process may not run on the CPUs `{list}`{cause}"),
        hint: Some("nproc and taskset -p $$ tell which there are".to_owned()),
    };
    let allowed = sched_getaffinity(None).map_err(|error| unfit(format!(": {error}")))?;
    let mut set = CpuSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return Err(unfit(String::new()));
        };
        for cpu in first..=last {
            if cpu >= CpuSet::MAX_CPU || !allowed.is_set(cpu) {
                return Err(unfit(String::new()));
            }
            set.set(cpu);
        }
    }
    Ok(set)
}

/// Starts something on these CPUs: it inherits those of the thread that starts it, which has its own back afterwards.
pub(super) fn on_cpus<T>(cpus: Option<&CpuSet>, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(cpus) = cpus else { return start() };
    let own = sched_getaffinity(None)?;
    sched_setaffinity(None, cpus)?;
    let started = start();
    sched_setaffinity(None, &own)?;
    started
}
