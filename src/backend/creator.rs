//! Who made a container: the process whose death makes it a leftover. Written as labels, read back by the reaper.

use std::collections::HashMap;

use rustix::process::{Pid, test_kill_process};

use crate::proc;

/// What tells one process from all others, on this machine and on others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creator {
    /// Process id, in its own namespace.
    pub pid: i32,
    /// Start in the kernel's clock ticks: process ids are used again, pairs of id and start are not.
    pub started: String,
    /// User id; the processes of others may be hidden from us.
    pub uid: u32,
    /// Name of the machine; others may have the same.
    pub host: String,
    /// Identity of the machine; empty where the system has none.
    pub machine: String,
    /// Identity of the machine's present boot; empty where the system has none.
    pub boot: String,
    /// Namespace that the process id belongs to; empty where the system has none.
    pub namespace: String,
}

/// What became of the process that made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Alive,
    /// Certainly gone.
    Gone,
    /// Out of sight: of another machine, namespace or user.
    Unknown,
}

const PID: &str = "reproduce-flaky.creator-pid";
const STARTED: &str = "reproduce-flaky.creator-started";
const UID: &str = "reproduce-flaky.creator-uid";
const MACHINE: &str = "reproduce-flaky.creator-machine";
const HOST: &str = "reproduce-flaky.creator-host";
const BOOT: &str = "reproduce-flaky.creator-boot";
const NAMESPACE: &str = "reproduce-flaky.creator-namespace";

impl Creator {
    pub fn current() -> Creator {
        let pid = rustix::process::getpid();
        Creator {
            pid: pid.as_raw_nonzero().get(),
            started: start_time(pid).unwrap_or_default(),
            uid: rustix::process::geteuid().as_raw(),
            host: host_name(),
            machine: machine_id(),
            boot: proc::first_line("/proc/sys/kernel/random/boot_id"),
            namespace: proc::pid_namespace(),
        }
    }

    pub fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (PID.to_owned(), self.pid.to_string()),
            (STARTED.to_owned(), self.started.clone()),
            (UID.to_owned(), self.uid.to_string()),
            (HOST.to_owned(), self.host.clone()),
            (MACHINE.to_owned(), self.machine.clone()),
            (BOOT.to_owned(), self.boot.clone()),
            (NAMESPACE.to_owned(), self.namespace.clone()),
        ])
    }

    /// Reads the labels; `None` if they are not all there. Earlier versions did not know the machine.
    pub fn from_labels(labels: &HashMap<String, String>) -> Option<Creator> {
        let text = |name: &str| labels.get(name).cloned();
        Some(Creator {
            pid: text(PID)?.parse().ok()?,
            started: text(STARTED)?,
            uid: text(UID)?.parse().ok()?,
            host: text(HOST)?,
            machine: text(MACHINE).unwrap_or_default(),
            boot: text(BOOT)?,
            namespace: text(NAMESPACE)?,
        })
    }

    /// What became of it, as far as this process can tell. `may_be_old`: what it made may be left from before this
    /// machine's last start, as nothing can be that runs, or that is on an engine of another machine.
    pub fn fate(&self, may_be_old: bool) -> Fate {
        self.fate_seen_by(&Creator::current(), may_be_old)
    }

    /// Whether it was a process of this machine, and not of another one of that name.
    pub fn is_of_this_machine(&self) -> bool {
        let us = Creator::current();
        self.host == us.host && (self.boot == us.boot || self.has_machine_of(&us))
    }

    fn has_machine_of(&self, us: &Creator) -> bool {
        !self.machine.is_empty() && self.machine == us.machine
    }

    fn fate_seen_by(&self, us: &Creator, may_be_old: bool) -> Fate {
        if self.host != us.host || (us.uid != 0 && us.uid != self.uid) {
            return Fate::Unknown;
        }
        if self.boot != us.boot {
            return if may_be_old && self.has_machine_of(us) {
                Fate::Gone
            } else {
                Fate::Unknown
            };
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
                Some(started) if started != self.started => Fate::Gone,
                Some(_) if proc::is_zombie(self.pid) => Fate::Gone,
                Some(_) | None => Fate::Alive,
            },
        }
    }
}

pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn machine_id() -> String {
    let found = ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(proc::first_line);
    found.into_iter().find(|id| !id.is_empty()).unwrap_or_default()
}

/// Start of a process: as `/proc` has it on Linux, else what `ps` says.
fn start_time(pid: Pid) -> Option<String> {
    if cfg!(target_os = "linux") {
        return proc::start(pid.as_raw_nonzero().get());
    }
    let output = std::process::Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.as_raw_nonzero().to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_reads_its_own_labels() {
        let us = Creator::current();
        assert_eq!(us.fate(true), Fate::Alive);
        assert!(us.is_of_this_machine());
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
        assert_eq!(creator.fate(false), Fate::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(creator.fate(false), Fate::Gone);
    }

    #[test]
    fn a_later_process_with_the_same_number_is_another_one() {
        let mut creator = Creator::current();
        creator.started = "1".to_owned();
        assert_eq!(creator.fate(false), Fate::Gone);
    }

    #[test]
    fn what_cannot_be_seen_from_here_is_unknown_and_an_earlier_boot_of_this_machine_is_gone() {
        let us = Creator {
            machine: "ours".to_owned(),
            ..Creator::current()
        };
        let elsewhere = Creator {
            host: "elsewhere".to_owned(),
            ..us.clone()
        };
        assert_eq!(elsewhere.fate_seen_by(&us, true), Fate::Unknown);
        let inside = Creator {
            namespace: "pid:[1]".to_owned(),
            ..us.clone()
        };
        assert_eq!(inside.fate_seen_by(&us, true), Fate::Unknown);
        let before = Creator {
            boot: "before".to_owned(),
            ..us.clone()
        };
        assert_eq!(before.fate_seen_by(&us, true), Fate::Gone);
        assert_eq!(before.fate_seen_by(&us, false), Fate::Unknown, "it runs now");
        for machine in ["another", ""] {
            let namesake = Creator {
                machine: machine.to_owned(),
                ..before.clone()
            };
            assert_eq!(namesake.fate_seen_by(&us, true), Fate::Unknown, "a name is no machine");
            assert!(!namesake.is_of_this_machine());
        }
        let other = Creator {
            uid: us.uid + 1,
            ..us.clone()
        };
        let seen_by = Creator { uid: us.uid + 2, ..us };
        assert_eq!(other.fate_seen_by(&seen_by, true), Fate::Unknown);
    }
}
