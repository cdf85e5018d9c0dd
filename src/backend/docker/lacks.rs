//! What an engine turns out not to be able to do, such as raising limits where it runs in a container itself.

use std::path::Path;

use tokio::net::UnixStream;

use crate::model::spec::{Container, Recipe as Part};

/// Limits that an engine may stumble over: name, number on Linux, and name in `/proc/PID/limits`.
const LIMITS: [(&str, u32, &str); 5] = [
    ("stack", 3, "Max stack size"),
    ("core", 4, "Max core file size"),
    ("nproc", 6, "Max processes"),
    ("nofile", 7, "Max open files"),
    ("memlock", 8, "Max locked memory"),
];

/// What an engine turned out not to be able to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    /// Limits that it may not set as the recipe has them, with what is set instead; `None` for one that it may not
    /// set at all.
    pub(super) limits: Vec<(String, Option<i64>)>,
    /// Whether it has no init process to give.
    pub(super) init: bool,
}

impl Lacks {
    /// What an engine on this socket will not be able to do, as far as that can be seen before it is asked: each limit
    /// that it stumbles over costs the start of a container. `wanted` has names, soft and hard limits; -1 is no limit.
    pub(super) async fn foresee(socket: &Path, wanted: &[(String, i64, i64)], container: &Container) -> Lacks {
        match Process::of_engine(socket).await {
            Some(engine) => Lacks::of(&engine, wanted, container),
            None => Lacks::default(),
        }
    }

    fn of(engine: &Process, wanted: &[(String, i64, i64)], container: &Container) -> Lacks {
        let mut lacks = Lacks::default();
        if engine.may_raise() != Some(false) {
            return lacks;
        }
        for (name, _, hard) in wanted {
            let own = LIMITS
                .iter()
                .find(|(known, _, _)| known == name)
                .and_then(|(_, _, shown)| engine.hard(shown));
            if let Some(own) = own
                && (*hard < 0 || *hard > own)
                && !is_asked_for(name, container)
            {
                lacks.limits.push((name.clone(), Some(own)));
            }
        }
        lacks
    }

    /// Learns from an engine's words for a container that it could not make. `false` if there is nothing to learn:
    /// nothing of the recipe's own is in the way, or that is left out already.
    pub(super) fn learn(&mut self, cause: &str, container: &Container) -> bool {
        // Podman's init is a package of its own.
        if cause.contains("init binary not found") && container.has(Part::Init) && !self.init {
            self.init = true;
            return true;
        }
        let Some(name) = refused_limit(cause, container) else {
            return false;
        };
        match self.limits.iter_mut().find(|(known, _)| known == name) {
            None => self.limits.push((name.to_owned(), own_limit(name))),
            // Podman lowers its own before it sets those of others.
            Some((_, limit @ Some(_))) => *limit = limit.map(|limit| limit / 2).filter(|limit| *limit > 1000),
            Some((_, None)) => return false,
        }
        true
    }
}

/// The limit of the recipe's own that an engine without the right to raise limits stumbled over, from its words
/// for a container that could not be started. One that was asked for is not given up.
fn refused_limit(cause: &str, container: &Container) -> Option<&'static str> {
    let cause = cause.to_lowercase();
    if !cause.contains("rlimit") {
        return None;
    }
    // runc says the number (getrlimit(2)'s constants on Linux), crun the name.
    // Podman sets nproc and nofile by itself, higher than its own, unless it is told others.
    LIMITS
        .into_iter()
        .find(|(name, number, _)| {
            cause.contains(&format!("rlimit type {number}")) || cause.contains(&format!("rlimit_{name}"))
        })
        .map(|(name, _, _)| name)
        .filter(|name| !is_asked_for(name, container))
}

/// Whether a limit is the user's own wish, which is not given up.
fn is_asked_for(name: &str, container: &Container) -> bool {
    let mut given = container.ulimits.iter().filter_map(|given| given.split_once('='));
    given.any(|(given, _)| given == name)
}

/// The rights and limits of a process, as `/proc` shows them.
struct Process {
    status: String,
    limits: String,
}

impl Process {
    /// The engine's own, where it listens on this machine itself: not where systemd listens for it, and not where it is
    /// in another container.
    async fn of_engine(socket: &Path) -> Option<Process> {
        let peer = UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()?;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{peer}/{file}")).ok();
        if !["dockerd", "podman"].contains(&read("comm")?.trim_end()) {
            return None;
        }
        Some(Process {
            status: read("status")?,
            limits: read("limits")?,
        })
    }

    /// Whether it may raise a limit above its own. `None` where the kernel does not say.
    fn may_raise(&self) -> Option<bool> {
        const SYS_RESOURCE: u32 = 24;
        let rights = self.status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        let rights = u64::from_str_radix(rights.trim(), 16).ok()?;
        Some(rights & (1 << SYS_RESOURCE) != 0)
    }

    /// Its hard limit, by what `/proc` calls it; `None` for one that is not bounded.
    fn hard(&self, shown: &str) -> Option<i64> {
        let line = self.limits.lines().find_map(|line| line.strip_prefix(shown))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

/// This process's own hard limit, which an engine beside it, or below it, has too.
fn own_limit(name: &str) -> Option<i64> {
    use rustix::process::{Resource, getrlimit};
    let resource = match name {
        "stack" => Resource::Stack,
        "core" => Resource::Core,
        "nproc" => Resource::Nproc,
        "nofile" => Resource::Nofile,
        "memlock" => Resource::Memlock,
        _ => return None,
    };
    i64::try_from(getrlimit(resource).maximum?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_given_up_only_if_nobody_asked_for_it() {
        let cause = "error setting rlimits for ready process: error setting rlimit type 8: operation not permitted";
        let mut container = Container::default();
        assert_eq!(refused_limit(cause, &container), Some("memlock"));
        assert_eq!(refused_limit("no such file", &container), None);
        container.ulimits = vec!["memlock=-1".to_owned()];
        assert_eq!(refused_limit(cause, &container), None);
    }

    #[test]
    fn an_engine_without_the_right_to_raise_limits_gets_none_above_its_own() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max stack size            8388608              unlimited            bytes     \n\
            Max open files            20000                30000                files     \n\
            Max locked memory         8388608              8388608              bytes     \n";
        let process = |rights: &str| Process {
            status: format!("Name:\tdockerd\nCapEff:\t{rights}\n"),
            limits: limits.to_owned(),
        };
        let wanted = [("memlock", -1), ("stack", 67_108_864), ("nofile", 65_536)]
            .map(|(name, hard)| (name.to_owned(), hard, hard));
        let container = Container::default();
        let bound = Lacks::of(&process("000001fffeffffff"), &wanted, &container);
        assert_eq!(
            bound.limits,
            [
                ("memlock".to_owned(), Some(8_388_608)),
                ("nofile".to_owned(), Some(30_000))
            ]
        );
        assert_eq!(
            Lacks::of(&process("000001ffffffffff"), &wanted, &container),
            Lacks::default()
        );
        assert_eq!(Lacks::of(&process("nothing"), &wanted, &container), Lacks::default());
        let asked = Container {
            ulimits: vec!["memlock=-1".to_owned()],
            ..Container::default()
        };
        let bound = Lacks::of(&process("000001fffeffffff"), &wanted, &asked);
        assert_eq!(bound.limits, [("nofile".to_owned(), Some(30_000))]);
    }
}
