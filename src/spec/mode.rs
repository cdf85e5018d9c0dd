//! How pytest is run: in one process, or spread over N xdist workers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many processes run the tests of one session; the word it displays as (`serial`, `n4`) names directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// One pytest process.
    Serial,
    /// `pytest -n N`: a controller and N workers.
    Xdist(u32),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Serial => f.write_str("serial"),
            Mode::Xdist(workers) => write!(f, "n{workers}"),
        }
    }
}

impl Mode {
    /// Mode and tag in the name of a sweep's directory: `logs/n4_fix8` is `n4` and `fix8`. Another name has neither.
    pub fn of_dir(sweep: &str) -> (Option<Mode>, Option<String>) {
        let name = sweep.trim_end_matches('/').rsplit('/').next().unwrap_or(sweep);
        let (mode, tag) = match name.split_once('_') {
            Some((mode, tag)) => (mode, Some(tag.to_owned())),
            None => (name, None),
        };
        let is_mode = mode == "serial" || mode.starts_with('n');
        match mode.parse::<Mode>() {
            Ok(mode) if is_mode => (Some(mode), tag),
            Ok(_) | Err(_) => (None, None),
        }
    }
}

/// Reads `serial`, `4` or `n4`; zero workers is an error, as it is for nobody what they meant.
impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        if text == "serial" {
            return Ok(Mode::Serial);
        }
        match text.strip_prefix('n').unwrap_or(text).parse::<u32>() {
            Ok(workers) if workers > 0 => Ok(Mode::Xdist(workers)),
            Ok(_) | Err(_) => Err("expected `serial` or a number of xdist workers, 1 or more".to_owned()),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Mode, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_back_from_its_own_word() {
        for mode in [Mode::Serial, Mode::Xdist(1), Mode::Xdist(16)] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("4".parse(), Ok(Mode::Xdist(4)));
    }

    #[test]
    fn a_sweeps_name_tells_mode_and_tag() {
        let tag = |tag: &str| Some(tag.to_owned());
        assert_eq!(Mode::of_dir("logs/serial"), (Some(Mode::Serial), None));
        assert_eq!(Mode::of_dir("n4_fix8/"), (Some(Mode::Xdist(4)), tag("fix8")));
        assert_eq!(
            Mode::of_dir("a/serial_fix14-no-prefix_cache"),
            (Some(Mode::Serial), tag("fix14-no-prefix_cache"))
        );
        for other in ["logs", "4_x", "n0", "nightly", "2026-11-24"] {
            assert_eq!(Mode::of_dir(other), (None, None), "{other}");
        }
    }

    #[test]
    fn zero_workers_and_other_words_are_refused() {
        for text in ["0", "n0", "-1", "auto", "", "n", "parallel"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }
}
