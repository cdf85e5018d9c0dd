//! A look at what runs, a few times a second: what the displays show of it, and what takes long.

use std::time::Duration;

use super::State;
use crate::model::EventKind;
use crate::reporter::Running;

/// An iteration is called slow at this many times the median of the finished ones, and never before `SLOW_LEAST`.
const SLOW_FACTOR: u32 = 3;
const SLOW_LEAST: Duration = Duration::from_secs(30);

impl State {
    /// Called a few times a second.
    pub(in crate::runner) fn tick(&mut self) {
        self.check_stop_rules();
        self.announce_slow();
        let running = self.running.iter().map(|((arm, iteration), flight)| Running {
            arm: self.sweeps[*arm].name.clone(),
            iteration: *iteration,
            elapsed: flight.live.since.elapsed(),
            last_line: flight.live.last_line(),
        });
        let running: Vec<Running> = running.collect();
        let live = self.stop_rules.live();
        self.show(|reporter| reporter.tick(&running, &live));
    }

    fn announce_slow(&mut self) {
        let Some(usual) = median(&self.durations) else { return };
        let limit = (Duration::from_secs_f64(usual) * SLOW_FACTOR).max(SLOW_LEAST);
        let mut slow = Vec::new();
        for (slot, flight) in &mut self.running {
            let running = flight.live.since.elapsed();
            if !flight.is_slow && running > limit {
                flight.is_slow = true;
                slow.push((*slot, running.as_secs_f64()));
            }
        }
        for ((arm, iteration), running_s) in slow {
            self.emit(
                arm,
                EventKind::IterationSlow {
                    iteration,
                    running_s,
                    usual_s: usual,
                },
            );
        }
    }
}

/// Middle of at least three wall times, in seconds.
fn median(durations: &[f64]) -> Option<f64> {
    if durations.len() < 3 {
        return None;
    }
    let mut sorted = durations.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(sorted[sorted.len() / 2])
}
