//! What else went on where an attempt ran: flakes depend on the neighbors.

use crate::model::Exit;
use crate::store::Sweep;

/// What could be seen of the machine when an attempt began.
pub(super) struct Surroundings {
    cores: Option<u32>,
    load: Option<f64>,
    co_runners: Option<u32>,
}

impl Surroundings {
    /// Looks now. What the system does not show is not there.
    pub(super) fn of(sweep: &Sweep, iteration: u32) -> Surroundings {
        let processors = std::thread::available_parallelism().ok();
        Surroundings {
            cores: processors.and_then(|count| u32::try_from(count.get()).ok()),
            load: load(),
            co_runners: sweep.co_runners(iteration).ok(),
        }
    }

    /// Writes it to the facts.
    pub(super) fn write(self, exit: &mut Exit) {
        exit.cores = self.cores;
        exit.load = self.load;
        exit.co_runners = self.co_runners;
    }
}

/// The load of the last minute, as the kernel averages it; `None` on systems without `/proc`.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
