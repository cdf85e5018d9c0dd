//! Values of flags that several commands have: formats, rates, levels of tests, confidences.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::spec::Mode;

/// The directory of sweeps, for every command that reads or writes one.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsDir {
    /// Directory of the sweeps, where new ones go too.
    #[arg(
        id = "logs_dir",
        long = "logs-dir",
        default_value = "logs",
        value_name = "DIR",
        env = "REPRODUCE_FLAKY_LOGS_DIR",
        hide_env = true
    )]
    pub dir: PathBuf,
}

/// What a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words.
    Text,
    /// JSON, one object or one object a line.
    Json,
}

/// What a command prints whose answer may also stand on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    /// Words and tables.
    Text,
    /// One JSON object.
    Json,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
}

/// Reads `--parallelism`: a mode, or a word of pytest-xdist that stands for this machine's cores and is resolved here, once.
pub(crate) fn parallelism(text: &str) -> Result<Mode, String> {
    // xdist's own variable; without it xdist counts the cores that psutil finds.
    let asked = || {
        std::env::var("PYTEST_XDIST_AUTO_NUM_WORKERS")
            .ok()?
            .parse::<usize>()
            .ok()
    };
    let logical = num_cpus::get();
    let workers = match text {
        "auto" => asked().unwrap_or_else(|| num_cpus::get_physical().min(logical)),
        "logical" => asked().unwrap_or(logical),
        _ => {
            return text.parse().map_err(|_| {
                "expected `serial`, a number of xdist workers (1 or more), or `auto` or `logical` as for `pytest -n`"
                    .to_owned()
            });
        }
    };
    Ok(Mode::Xdist(u32::try_from(workers).unwrap_or(u32::MAX).max(1)))
}

/// Reads `3%`, `3 %` or `0.03`: a rate between 0 and 1, both excluded.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || "expected a rate such as `3%` or `0.03`, more than 0 and less than 1".to_owned();
    let trimmed = text.trim();
    let value = match trimmed.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => trimmed.parse::<f64>().map_err(|_| wrong())?,
    };
    if value > 0.0 && value < 1.0 {
        Ok(value)
    } else {
        Err(wrong())
    }
}

/// Reads a limit on a rate, which may also be 0: not one failure is let through.
pub(crate) fn limit(text: &str) -> Result<f64, String> {
    if matches!(text.trim(), "0" | "0%" | "0 %") {
        Ok(0.0)
    } else {
        rate(text)
    }
}

/// Reads the level of a test, such as `0.05` or `5%`.
pub(crate) fn level(text: &str) -> Result<f64, String> {
    rate(text)
        .ok()
        .filter(|level| (1e-9..=0.5).contains(level))
        .ok_or_else(|| "expected a level such as `0.05`, at most 0.5 and at least 1e-9".to_owned())
}

/// Reads a confidence, such as `0.95` or `95%`.
pub(crate) fn confidence(text: &str) -> Result<f64, String> {
    rate(text)
        .ok()
        .filter(|confidence| (0.5..=0.999_999).contains(confidence))
        .ok_or_else(|| "expected a confidence such as `0.95` or `95%`, at least 0.5 and at most 0.999999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_percentages_or_fractions() {
        for text in ["3%", "3 %", "0.03", " 0.03 "] {
            assert!((rate(text).unwrap() - 0.03).abs() < 1e-12, "{text}");
        }
        for wrong in ["", "%", "3", "0", "100%", "-1%", "nan", "inf", "three"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(limit("0").unwrap().abs() < 1e-12);
    }

    #[test]
    fn the_words_of_xdist_stand_for_this_machines_cores() {
        for word in ["auto", "logical"] {
            assert!(
                matches!(parallelism(word), Ok(Mode::Xdist(workers)) if workers >= 1),
                "{word}"
            );
        }
        assert_eq!(parallelism("serial"), Ok(Mode::Serial));
        assert_eq!(parallelism("4"), Ok(Mode::Xdist(4)));
        assert!(parallelism("0").is_err() && parallelism("automatic").is_err());
    }

    #[test]
    fn levels_and_confidences_are_what_they_can_be() {
        assert!(level("0.05").is_ok() && level("5%").is_ok() && level("0.95").is_err());
        assert!(confidence("0.95").is_ok() && confidence("95%").is_ok() && confidence("0.05").is_err());
    }
}
