//! What process 1 of a container tells of the threads and processes that it stops.

use std::time::Duration;

use tokio::time::Instant;

use crate::judge::starvation::{MOST_WINDOWS, Means, Window};
use crate::spec::Starve;

/// Variable with the plan; the program in the container knows it by the same name.
pub(in crate::backend::docker) const PLAN: &str = "REPRODUCE_FLAKY_STARVE";

/// What the plan is, as the program reads it.
pub(in crate::backend::docker) fn plan(starve: &Starve, seed: u64) -> String {
    let mut plan = format!("{} {seed}", starve.share);
    for name in &starve.names {
        plan.push('\t');
        plan.push_str(name);
    }
    plan
}

/// What was told so far.
#[derive(Clone, Debug, Default)]
pub(in crate::backend::docker) struct Starvation {
    pub(in crate::backend::docker) means: Means,
    pub(in crate::backend::docker) windows: Vec<Window>,
    /// Time of the windows that have ended.
    ended: Duration,
    /// Since when a window is open, and how long it will be.
    open: Option<(Instant, Duration)>,
    /// Whether nothing is stopped any more.
    pub(in crate::backend::docker) is_still: bool,
}

impl Starvation {
    /// Takes in a line; `false` if it is about something else.
    pub(super) fn take(&mut self, line: &str) -> bool {
        let line = line.trim_end_matches('\n');
        let (word, rest) = line.split_once(['\t', ' ']).unwrap_or((line, ""));
        match word {
            "starving" => {
                self.means = match rest {
                    "stop" => Means::Stop,
                    "idle" => Means::Idle,
                    "no" => Means::Refused,
                    _ => Means::None,
                }
            }
            "stop" => {
                let micros = rest.parse().unwrap_or(0);
                self.open = Some((Instant::now(), Duration::from_micros(micros)));
            }
            "window" => {
                self.open = None;
                if let Some(window) = window(rest) {
                    self.ended += Duration::try_from_secs_f64(window.duration_s).unwrap_or_default();
                    if self.windows.len() < MOST_WINDOWS {
                        self.windows.push(window);
                    }
                }
            }
            "none" => self.open = None,
            "still" => self.is_still = true,
            _ => return false,
        }
        true
    }

    /// For how long anything has been stopped so far.
    pub(in crate::backend::docker) fn stopped(&self) -> Duration {
        let open = self
            .open
            .map_or(Duration::ZERO, |(since, length)| since.elapsed().min(length));
        self.ended + open
    }
}

fn window(rest: &str) -> Option<Window> {
    let fields: Vec<&str> = rest.split('\t').collect();
    let [at, length, pid, process, tid, thread, threads] = fields[..] else {
        return None;
    };
    let seconds = |micros: &str| Some(micros.parse::<u64>().ok()? as f64 / 1e6);
    let tid = tid.parse().ok().filter(|tid| *tid != 0);
    Some(Window {
        at: seconds(at)?,
        duration_s: seconds(length)?,
        process: process.to_owned(),
        pid: pid.parse().ok()?,
        thread: tid.map(|_: i32| thread.to_owned()),
        tid,
        threads: threads.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_share_seed_and_names() {
        let starve = "12.5%:tokio-rt:python3".parse().unwrap();
        assert_eq!(plan(&starve, 7), "0.125 7\ttokio-rt\tpython3");
    }

    #[tokio::test(start_paused = true)]
    async fn windows_are_taken_in_and_the_open_one_counts_as_far_as_it_goes() {
        let mut told = Starvation::default();
        for line in [
            "starving stop\n",
            "stop\t100000\n",
            "window\t5000000\t100500\t3\tpython3\t8\ttokio 1\t1\n",
        ] {
            assert!(told.take(line), "{line}");
        }
        assert_eq!(told.means, Means::Stop);
        assert_eq!(told.windows[0].thread.as_deref(), Some("tokio 1"));
        assert_eq!((told.windows[0].at, told.windows[0].tid), (5.0, Some(8)));
        assert!(told.take("stop\t2000000\n"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told.stopped(), Duration::from_micros(1_100_500));
        assert!(told.take("window\t6000000\t2000000\t3\tpython3\t0\t\t4\n"));
        assert_eq!((told.windows[1].thread.as_ref(), told.windows[1].threads), (None, 4));
        assert!(told.take("window\tx\n"), "it is a window, and says nothing");
        assert_eq!(told.windows.len(), 2);
        assert!(!told.is_still);
        assert!(told.take("still\n"));
        assert!(told.is_still);
        assert!(!told.take("code=0 signal=0\n"));
    }
}
