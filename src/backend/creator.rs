//! Who made a container: the process whose death makes it a leftover. Written as labels, read back by the reaper.

use std::collections::HashMap;
use std::io;

use rustix::process::{Pid, test_kill_process};

/// Everything that tells one process from all others, on this machine and elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creator {
    /// Process id, in its own namespace.
    pub pid: i32,
    /// When it started, as the kernel counts; process ids are used again, a pair of both is not.
    pub started: String,
    /// User id; the processes of others may be hidden from us.
    pub uid: u32,
    /// Name of the machine.
    pub host: String,
    /// Identity of the machine's present boot; empty where the system has none.
    pub boot: String,
    /// Namespace that the process id belongs to; empty where the system has none.
    pub namespace: String,
}

/// What became of the process that made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is running.
    Alive,
    /// It is gone for certain.
    Gone,
    /// It cannot be seen from here: another machine, another namespace, another user.
    Unknown,
}

const PID: &str = "reproduce-flaky.creator-pid";
const STARTED: &str = "reproduce-flaky.creator-started";
const UID: &str = "reproduce-flaky.creator-uid";
const HOST: &str = "reproduce-flaky.creator-host";
const BOOT: &str = "reproduce-flaky.creator-boot";
const NAMESPACE: &str = "reproduce-flaky.creator-namespace";

impl Creator {
    /// This process.
    #[must_use]
    pub fn current() -> Creator {
        let pid = rustix::process::getpid();
        Creator {
            pid: pid.as_raw_nonzero().get(),
            started: start_time(pid).unwrap_or_default(),
            uid: rustix::process::geteuid().as_raw(),
            host: host_name(),
            boot: boot_id(),
            namespace: namespace(),
        }
    }

    /// The labels that name it.
    #[must_use]
    pub fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (PID.to_owned(), self.pid.to_string()),
            (STARTED.to_owned(), self.started.clone()),
            (UID.to_owned(), self.uid.to_string()),
            (HOST.to_owned(), self.host.clone()),
            (BOOT.to_owned(), self.boot.clone()),
            (NAMESPACE.to_owned(), self.namespace.clone()),
        ])
    }

    /// Reads the labels; `None` if they are not all there.
    #[must_use]
    pub fn from_labels(labels: &HashMap<String, String>) -> Option<Creator> {
        let text = |name: &str| labels.get(name).cloned();
        Some(Creator {
            pid: text(PID)?.parse().ok()?,
            started: text(STARTED)?,
            uid: text(UID)?.parse().ok()?,
            host: text(HOST)?,
            boot: text(BOOT)?,
            namespace: text(NAMESPACE)?,
        })
    }

    /// What became of it, as far as this process can tell.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.fate_seen_by(&Creator::current())
    }

    fn fate_seen_by(&self, us: &Creator) -> Fate {
        if self.host != us.host || (us.uid != 0 && us.uid != self.uid) {
            return Fate::Unknown;
        }
        if self.boot != us.boot {
            return Fate::Gone;
        }
        if self.namespace != us.namespace {
            return Fate::Unknown;
        }
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Fate::Unknown;
        };
        match test_kill_process(pid) {
            Err(rustix::io::Errno::SRCH) => Fate::Gone,
            // A process that is there but has another start is a later one with the same number.
            Ok(()) | Err(_) => match start_time(pid) {
                Ok(started) if started != self.started => Fate::Gone,
                Ok(_) if is_zombie(pid) => Fate::Gone,
                Ok(_) | Err(_) => Fate::Alive,
            },
        }
    }
}

/// Name of this machine.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The fields of `/proc/PID/stat` after the program's name, which may hold spaces and parentheses itself.
fn stat_fields(pid: Pid) -> io::Result<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

fn is_zombie(pid: Pid) -> bool {
    stat_fields(pid).is_ok_and(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

/// Start of a process: clock ticks since boot on Linux (field 22 of proc(5)'s stat), else what `ps` says.
fn start_time(pid: Pid) -> io::Result<String> {
    if cfg!(target_os = "linux") {
        let fields = stat_fields(pid)?;
        return fields
            .get(19)
            .cloned()
            .ok_or_else(|| io::Error::other("/proc holds no start time"));
    }
    let output = std::process::Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.as_raw_nonzero().to_string()])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_reads_its_own_labels() {
        let us = Creator::current();
        assert_eq!(us.fate(), Fate::Alive);
        assert_eq!(Creator::from_labels(&us.labels()), Some(us));
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let creator = Creator {
            pid: pid.as_raw_nonzero().get(),
            started: start_time(pid).unwrap(),
            ..Creator::current()
        };
        assert_eq!(creator.fate(), Fate::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(creator.fate(), Fate::Gone);
    }

    #[test]
    fn a_later_process_with_the_same_number_is_another_one() {
        let mut creator = Creator::current();
        creator.started = "1".to_owned();
        assert_eq!(creator.fate(), Fate::Gone);
    }

    #[test]
    fn what_cannot_be_seen_from_here_is_unknown_and_an_earlier_boot_is_gone() {
        let us = Creator::current();
        let elsewhere = Creator {
            host: "elsewhere".to_owned(),
            ..us.clone()
        };
        assert_eq!(elsewhere.fate(), Fate::Unknown);
        let inside = Creator {
            namespace: "pid:[1]".to_owned(),
            ..us.clone()
        };
        assert_eq!(inside.fate(), Fate::Unknown);
        let before = Creator {
            boot: "before".to_owned(),
            ..us.clone()
        };
        assert_eq!(before.fate(), Fate::Gone);
        let other = Creator {
            uid: us.uid + 1,
            ..us.clone()
        };
        let seen_by = Creator { uid: us.uid + 2, ..us };
        assert_eq!(other.fate_seen_by(&seen_by), Fate::Unknown);
    }
}
