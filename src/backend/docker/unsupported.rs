//! What an engine turns out not to be able to do, such as raising limits where it runs in a container itself.

use std::path::Path;

use tokio::net::UnixStream;

use crate::proc;
use crate::spec::{Container, Recipe as Part};

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
pub(super) struct Unsupported {
    /// Limits that it may not set as the recipe has them, with what is set instead; `None` for one that it may not
    /// set at all.
    pub(super) limits: Vec<(String, Option<i64>)>,
    /// Whether it has no init process to give.
    pub(super) init: bool,
}

impl Unsupported {
    /// What an engine on this socket will not be able to do, as far as that can be seen before it is asked: each limit
    /// that it stumbles over costs the start of a container. `wanted` has names, soft and hard limits; -1 is no limit.
    pub(super) async fn foresee(socket: &Path, wanted: &[(String, i64, i64)], container: &Container) -> Unsupported {
        match Rights::of_engine(socket).await {
            Some(engine) => Unsupported::of(&engine, wanted, container),
            None => Unsupported::default(),
        }
    }

    fn of(engine: &Rights, wanted: &[(String, i64, i64)], container: &Container) -> Unsupported {
        let mut unsupported = Unsupported::default();
        if engine.may_raise() {
            return unsupported;
        }
        for (name, _, hard) in wanted {
            if let Some(own) = engine.hard(name)
                && (*hard < 0 || *hard > own)
                && !is_asked_for(name, container)
            {
                unsupported.limits.push((name.clone(), Some(own)));
            }
        }
        unsupported
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

/// The rights and hard limits of an engine.
struct Rights {
    /// Its capabilities; `None` where the kernel does not say.
    capabilities: Option<u64>,
    /// The entries of [`LIMITS`] that the engine may not raise without end.
    limits: Vec<(&'static str, i64)>,
}

impl Rights {
    /// An engine's, where it listens on this machine itself: not where systemd listens for it, and not where it is in
    /// another container.
    async fn of_engine(socket: &Path) -> Option<Rights> {
        let peer = UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()?;
        let read = move || {
            let name = proc::status(peer, "Name")?;
            let capabilities = proc::status(peer, "CapEff")?;
            let limits = LIMITS
                .iter()
                .filter_map(|(name, _, shown)| Some((*name, proc::hard_limit(peer, shown)?)));
            ["dockerd", "podman"].contains(&name.as_str()).then(|| Rights {
                capabilities: u64::from_str_radix(&capabilities, 16).ok(),
                limits: limits.collect(),
            })
        };
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// Whether it may raise a limit above its own, for all that is known.
    fn may_raise(&self) -> bool {
        const SYS_RESOURCE: u64 = 1 << 24;
        self.capabilities.is_none_or(|has| has & SYS_RESOURCE != 0)
    }

    fn hard(&self, name: &str) -> Option<i64> {
        let (_, limit) = self.limits.iter().find(|(known, _)| *known == name)?;
        Some(*limit)
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
        let process = |capabilities: Option<u64>| Rights {
            capabilities,
            limits: vec![("nofile", 30_000), ("memlock", 8_388_608)],
        };
        let wanted = [("memlock", -1), ("stack", 67_108_864), ("nofile", 65_536)]
            .map(|(name, hard)| (name.to_owned(), hard, hard));
        let container = Container::default();
        let without = process(Some(0x1ff_feff_ffff));
        let bound = Unsupported::of(&without, &wanted, &container);
        assert_eq!(
            bound.limits,
            [
                ("memlock".to_owned(), Some(8_388_608)),
                ("nofile".to_owned(), Some(30_000))
            ]
        );
        assert_eq!(
            Unsupported::of(&process(Some(0x1ff_ffff_ffff)), &wanted, &container),
            Unsupported::default()
        );
        assert_eq!(
            Unsupported::of(&process(None), &wanted, &container),
            Unsupported::default()
        );
        let asked = Container {
            ulimits: vec!["memlock=-1".to_owned()],
            ..Container::default()
        };
        let bound = Unsupported::of(&without, &wanted, &asked);
        assert_eq!(bound.limits, [("nofile".to_owned(), Some(30_000))]);
    }
}
