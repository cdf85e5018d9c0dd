//! When an iteration is ended from outside.

use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::duration;

/// When an iteration is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deadlines {
    /// Longest wall time of an iteration, in seconds.
    pub total_s: f64,
    /// Longest time without a byte of output, in seconds; `None` never ends a quiet one.
    #[serde(default)]
    pub silence_s: Option<f64>,
    /// Whether that time is learned from the iterations that passed.
    #[serde(default)]
    pub silence_auto: bool,
    /// How long a session that hung is left running, in seconds; `None` ends it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<f64>,
    /// Time between TERM and KILL, in seconds.
    #[serde(default = "default_grace")]
    pub grace_s: f64,
}

fn default_grace() -> f64 {
    10.0
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            total_s: 660.0,
            silence_s: None,
            silence_auto: false,
            keep_s: None,
            grace_s: default_grace(),
        }
    }
}

impl Deadlines {
    pub fn total(&self) -> Duration {
        Duration::from_secs_f64(self.total_s)
    }

    pub fn silence(&self) -> Option<Duration> {
        self.silence_s.map(Duration::from_secs_f64)
    }

    /// The same, with no more than this between TERM and KILL.
    #[must_use]
    pub fn with_grace_below(self, most: Duration) -> Deadlines {
        Deadlines {
            grace_s: self.grace_s.min(most.as_secs_f64()),
            ..self
        }
    }

    pub fn keep(&self) -> Option<Duration> {
        self.keep_s.map(Duration::from_secs_f64)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace_s)
    }
}

/// `--silence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// This long.
    Fixed(Duration),
    /// As the iterations that passed were, with a margin.
    Auto,
}

impl Silence {
    /// The fixed time in seconds, and whether it is learned instead.
    pub fn seconds(self) -> (Option<f64>, bool) {
        match self {
            Silence::Fixed(time) => (Some(time.as_secs_f64()), false),
            Silence::Auto => (None, true),
        }
    }
}

impl FromStr for Silence {
    type Err = String;

    fn from_str(text: &str) -> Result<Silence, String> {
        if text == "auto" {
            Ok(Silence::Auto)
        } else {
            duration(text).map(Silence::Fixed)
        }
    }
}
