//! How the commands that compute read their figures: rates, levels, formats.

use clap::ValueEnum;

/// What a reading command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables.
    Text,
    /// One JSON object.
    Json,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
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
    fn levels_and_confidences_are_what_they_can_be() {
        assert!(level("0.05").is_ok() && level("5%").is_ok() && level("0.95").is_err());
        assert!(confidence("0.95").is_ok() && confidence("95%").is_ok() && confidence("0.05").is_err());
    }
}
