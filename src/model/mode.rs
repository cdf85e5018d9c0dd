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
    fn zero_workers_and_other_words_are_refused() {
        for text in ["0", "n0", "-1", "auto", "", "n", "parallel"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }
}
