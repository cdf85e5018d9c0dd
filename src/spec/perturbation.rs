//! Conditions by name: what `--condition` and `--starve` do to the sessions of a sweep besides the limits that have a
//! flag of their own.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::words;
use super::{BackendKind, Container, Mode, Spec};

words! {
    /// A condition under which races show up more often than they do undisturbed.
    pub enum Perturbation {
        /// Half a core: the same as --cpus 0.5.
        Cpus = "cpus",
        /// One CPU, another one for each iteration in turn.
        OneCore = "one-core",
        /// Every core of this machine kept busy beside the iterations: the same as --noise with their number.
        Noise = "noise",
        /// 512 MiB of memory: the same as --memory 512m.
        Memory = "memory",
        /// Threads and processes stopped at random: the same as --starve 20%.
        Starve = "starve",
        /// Python's threads take turns every microsecond instead of every five milliseconds.
        SwitchInterval = "switch-interval",
        /// One worker thread for Tokio, Rayon, OpenMP and Polars.
        Threads = "threads",
        /// Memory that is filled when it is allocated and freed, by the C library and by Python.
        Malloc = "malloc",
        /// Tests in random order, drawn anew for each iteration.
        Order = "order",
        /// Twice as many xdist workers.
        Workers = "workers",
        /// Packets of the container's network come late: 5 ms on average, each by its own delay.
        NetDelay = "net-delay",
    }
}

const HALF_A_CORE: f64 = 0.5;
const LITTLE_MEMORY: u64 = 512 << 20;

impl Perturbation {
    /// Variables of the session that are this condition.
    pub fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Perturbation::Threads => &[
                ("TOKIO_WORKER_THREADS", "1"),
                ("RAYON_NUM_THREADS", "1"),
                ("OMP_NUM_THREADS", "1"),
                ("POLARS_MAX_THREADS", "1"),
            ],
            Perturbation::Malloc => &[("MALLOC_PERTURB_", "165"), ("PYTHONMALLOC", "debug")],
            Perturbation::Cpus
            | Perturbation::OneCore
            | Perturbation::Noise
            | Perturbation::Memory
            | Perturbation::Starve
            | Perturbation::SwitchInterval
            | Perturbation::Order
            | Perturbation::Workers
            | Perturbation::NetDelay => &[],
        }
    }

    /// Whether the plugin that writes the trail brings it about.
    pub fn is_the_plugins(self) -> bool {
        matches!(self, Perturbation::SwitchInterval | Perturbation::Order)
    }
}

impl Container {
    /// The same with conditions that are given by name as the limits that flags have for them, unless those flags were
    /// given too. `cores` is the number of cores of this machine.
    #[must_use]
    pub fn settled(mut self, cores: u32) -> Container {
        for condition in std::mem::take(&mut self.conditions) {
            match condition {
                Perturbation::Cpus => self.cpus = self.cpus.or(Some(HALF_A_CORE)),
                Perturbation::Memory => self.memory = self.memory.or(Some(LITTLE_MEMORY)),
                Perturbation::Noise => self.noise = self.noise.or(Some(cores)),
                Perturbation::Starve => self.starve = self.starve.or_else(|| Some(Starve::default())),
                other => self.conditions.push(other),
            }
        }
        self.conditions.sort_unstable();
        self.conditions.dedup();
        self
    }

    /// Whether cores are kept busy beside the iterations.
    pub fn has_noise(&self) -> bool {
        self.noise.is_some() || self.conditions.contains(&Perturbation::Noise)
    }
}

impl Spec {
    /// Conditions by name that cannot be had, each with the reason: because of what the sweep itself is.
    pub fn without_effect(&self) -> Vec<(Perturbation, &'static str)> {
        let asked = self.container.conditions.iter().copied();
        let reason = |condition: Perturbation| match condition {
            _ if condition.is_the_plugins() && !self.trail => Some("the plugin that does it is off (--no-trail)"),
            Perturbation::NetDelay if self.backend == BackendKind::Local => {
                Some("processes of this machine have no network of their own")
            }
            Perturbation::Workers if self.worker_mode() == self.mode && self.own_workers().is_none() => {
                Some("no number of xdist workers is named that could be doubled")
            }
            _ => None,
        };
        let mut found: Vec<_> = asked.filter_map(|name| Some((name, reason(name)?))).collect();
        if self.container.starve.is_some() && self.backend == BackendKind::Local {
            found.push((
                Perturbation::Starve,
                "only process 1 of a container may stop the processes below it",
            ));
        }
        found
    }

    /// Whether a condition that has no flag of its own is asked for and can be had, as far as the sweep itself says.
    pub fn is_under(&self, condition: Perturbation) -> bool {
        let is_asked = match condition {
            Perturbation::Starve => self.container.starve.is_some(),
            other => self.container.conditions.contains(&other),
        };
        is_asked && self.without_effect().iter().all(|(name, _)| *name != condition)
    }

    /// What an iteration draws by: its number, or in a replay the number of the iteration that is repeated.
    pub fn seed(&self, iteration: u32) -> u64 {
        self.container.seed.unwrap_or_else(|| u64::from(iteration))
    }

    /// How many workers share the tests out, [`Perturbation::Workers`] taken into account.
    pub fn worker_mode(&self) -> Mode {
        match self.mode {
            Mode::Xdist(workers) if self.container.conditions.contains(&Perturbation::Workers) => {
                Mode::Xdist(workers.saturating_mul(2))
            }
            mode => mode,
        }
    }

    /// The number of workers in the user's own arguments, with the place of its word; the last one holds.
    fn own_workers(&self) -> Option<(usize, u32)> {
        let args = &self.pytest_args;
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        (0..end).rev().find_map(|at| {
            let value = match args[at].as_str() {
                "-n" | "--numprocesses" => args.get(at + 1).filter(|_| at + 1 < end)?.as_str(),
                arg => arg.strip_prefix("--numprocesses=").or_else(|| arg.strip_prefix("-n"))?,
            };
            Some((at, value.parse().ok()?))
        })
    }

    /// The user's arguments for pytest, [`Perturbation::Workers`] taken into account.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = self.pytest_args.clone();
        if self.container.conditions.contains(&Perturbation::Workers)
            && let Some((at, workers)) = self.own_workers()
        {
            let is_apart = matches!(args[at].as_str(), "-n" | "--numprocesses");
            args.splice(
                at..=at + usize::from(is_apart),
                [format!("-n{}", workers.saturating_mul(2))],
            );
        }
        args
    }
}

/// How a session is starved: its threads, or all threads of one of its processes, are stopped for a while, again and
/// again. Written as `20%` or `20%:NAME:NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Starve {
    /// Most of the time in which anything is stopped, more than 0 and less than 1.
    pub share: f64,
    /// Names of threads and processes that are stopped, as the kernel knows them; any where none is named.
    pub names: Vec<String>,
}

impl Default for Starve {
    fn default() -> Starve {
        Starve {
            share: 0.2,
            names: Vec::new(),
        }
    }
}

impl FromStr for Starve {
    type Err = String;

    fn from_str(text: &str) -> Result<Starve, String> {
        let mut parts = text.split(':');
        let share = parts.next().unwrap_or_default();
        let read = match share.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => share.parse(),
        };
        let share = read.ok().filter(|share| (0.001..=0.9).contains(share));
        let share =
            share.ok_or("expected a share of the time such as `20%`, from 0.1% to 90%, and names after colons")?;
        let names: Vec<String> = parts.map(str::to_owned).collect();
        let is_name =
            |name: &String| !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| (33..127).contains(&b));
        if names.len() > 32 || !names.iter().all(is_name) {
            return Err(
                "expected at most 32 names of threads or processes after the share, each after a colon".to_owned(),
            );
        }
        Ok(Starve { share, names })
    }
}

impl std::fmt::Display for Starve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Ten digits bring back every share that can be typed.
        let percent = (self.share * 1e10).round() / 1e8;
        write!(f, "{percent}%")?;
        self.names.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

impl TryFrom<String> for Starve {
    type Error = String;

    fn try_from(text: String) -> Result<Starve, String> {
        text.parse()
    }
}

impl From<Starve> for String {
    fn from(starve: Starve) -> String {
        starve.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_back_from_its_own_words() {
        for text in ["20%", "0.1%", "12.5%:tokio-runtime-w:python3", "90%"] {
            assert_eq!(text.parse::<Starve>().unwrap().to_string(), text);
        }
        assert_eq!("0.3".parse::<Starve>().unwrap().to_string(), "30%");
        assert_eq!(Starve::default().to_string(), "20%");
        for wrong in ["", "0", "0%", "95%", "1", "nan%", "20%:", "20%:a b", "x"] {
            assert!(wrong.parse::<Starve>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_is_the_limit_of_its_flag_unless_that_was_given() {
        let all = [
            Perturbation::Starve,
            Perturbation::Order,
            Perturbation::Cpus,
            Perturbation::Noise,
            Perturbation::Order,
        ];
        let given = Container {
            cpus: Some(2.0),
            conditions: all.to_vec(),
            ..Container::default()
        };
        let found = given.settled(4);
        assert_eq!((found.cpus, found.noise, found.memory), (Some(2.0), Some(4), None));
        assert_eq!(found.conditions, [Perturbation::Order]);
        assert_eq!(found.starve, Some(Starve::default()));
    }

    fn spec(mode: Mode, args: &str, conditions: &[Perturbation]) -> Spec {
        Spec {
            mode,
            pytest_args: args.split_whitespace().map(str::to_owned).collect(),
            container: Container {
                conditions: conditions.to_vec(),
                ..Container::default()
            },
            ..Spec::default()
        }
    }

    #[test]
    fn workers_are_doubled_where_their_number_is_known() {
        let workers = [Perturbation::Workers];
        assert_eq!(spec(Mode::Xdist(4), "a.py", &workers).worker_mode(), Mode::Xdist(8));
        assert_eq!(spec(Mode::Xdist(4), "a.py", &[]).worker_mode(), Mode::Xdist(4));
        for (given, doubled) in [
            ("a.py -n 3 -x", "a.py -n6 -x"),
            ("-n2 -n5", "-n2 -n10"),
            ("--numprocesses=3 -- -n 4", "-n6 -- -n 4"),
            ("-n auto", "-n auto"),
        ] {
            assert_eq!(spec(Mode::Serial, given, &workers).arguments().join(" "), doubled);
        }
        assert!(!spec(Mode::Serial, "a.py", &workers).is_under(Perturbation::Workers));
        assert!(spec(Mode::Serial, "-n 2", &workers).is_under(Perturbation::Workers));
    }

    #[test]
    fn what_cannot_be_had_is_named_with_its_reason() {
        let mut spec = spec(
            Mode::Serial,
            "",
            &[
                Perturbation::SwitchInterval,
                Perturbation::Malloc,
                Perturbation::NetDelay,
            ],
        );
        assert!(spec.without_effect().is_empty());
        spec.trail = false;
        spec.backend = BackendKind::Local;
        spec.container.starve = Some(Starve::default());
        let names: Vec<&str> = spec.without_effect().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["switch-interval", "net-delay", "starve"]);
        assert!(spec.is_under(Perturbation::Malloc) && !spec.is_under(Perturbation::Starve));
    }
}
