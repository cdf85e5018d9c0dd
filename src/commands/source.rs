//! What `plan` and `compare` are pointed at: a sweep's directory, or counts typed as `K/N`.

use std::path::Path;

use crate::message::usage;
use crate::model::side::Side;
use crate::stats::Count;

/// Reads one side. Counts are told from a path by their form, digits on both sides of one slash.
///
/// # Errors
/// A usage error for counts that are none and for a path that is not there; a plain one for a sweep that says nothing.
pub fn read(text: &str) -> anyhow::Result<Side> {
    if is_counts(text) {
        let count: Count = text.parse().map_err(|words: String| usage(words, None))?;
        if count.of() == 0 {
            return Err(usage(
                format!("`{text}`: nothing can be said about no iterations"),
                Some("give the iterations that passed or failed as the second number"),
            ));
        }
        return Ok(Side::from_counts(text, count));
    }
    let path = Path::new(text);
    if !path.is_dir() {
        return Err(usage(
            format!("`{text}` is neither a sweep's directory nor counts such as `2/75`"),
            None,
        ));
    }
    anyhow::bail!("reading sweeps is not there yet")
}

/// Whether a text is meant as counts, right or wrong.
fn is_counts(text: &str) -> bool {
    let is_number = |part: &str| {
        let part = part.trim();
        let digits = part.strip_prefix('-').unwrap_or(part);
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    text.split_once('/')
        .is_some_and(|(failed, of)| is_number(failed) && is_number(of) && failed != "." && failed != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_from_paths_by_their_form() {
        for counts in ["2/75", "0/0", "-1/5", "80/50", "1.5/3"] {
            assert!(is_counts(counts), "{counts}");
        }
        for path in ["logs/serial", "./2", "../75", "logs", "2", "/75", "2/75/1"] {
            assert!(!is_counts(path), "{path}");
        }
    }

    #[test]
    fn counts_that_say_nothing_are_refused_in_words() {
        for (text, words) in [
            ("0/0", "nothing can be said"),
            ("80/50", "80 failed of only 50"),
            ("-1/5", "expected counts"),
            ("no/such/place", "neither"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                crate::message::is_usage(&error) && error.to_string().contains(words),
                "{error}"
            );
        }
    }
}
