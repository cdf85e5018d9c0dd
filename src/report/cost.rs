//! What runs will cost, as it is said before any of them starts.

use std::fmt;

use super::time::rounded;
use crate::stats::counted;

/// Runs that are still to come, and how long one takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub runs: u64,
    /// Runs at a time.
    pub jobs: u32,
    /// Seconds of one run; `None` where no run was seen.
    pub each_s: Option<f64>,
}

impl Cost {
    /// Seconds of all of them; `None` where no run was seen.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.runs.div_ceil(u64::from(self.jobs.max(1))) as f64 * self.each_s?)
    }

    /// `86 min`; empty where no run was seen.
    pub fn time(&self) -> String {
        self.seconds().map_or_else(String::new, rounded)
    }
}

/// `259 runs, about 86 min`.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&counted(self.runs, "run", "runs"))?;
        match self.seconds() {
            Some(seconds) => write!(f, ", about {}", rounded(seconds)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_side_by_side_take_as_long_as_the_rounds_they_need() {
        let cost = |runs, jobs, each_s| Cost { runs, jobs, each_s };
        assert_eq!(cost(259, 1, Some(20.0)).to_string(), "259 runs, about 86 min");
        assert_eq!(cost(9, 4, Some(20.0)).to_string(), "9 runs, about 60 s");
        assert_eq!(cost(1, 8, None).to_string(), "1 run");
        assert_eq!(cost(1000, 1, Some(60.0)).to_string(), "1000 runs, about 17 h");
    }
}
