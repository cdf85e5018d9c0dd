//! What `plan` and `compare` are pointed at: a sweep's directory, or counts typed as `K/N`.

use std::fs;
use std::path::{Path, PathBuf};

use super::judged::{self, Judged};
use crate::judge::SignatureSet;
use crate::message::{hinted, usage};
use crate::model::Record;
use crate::model::side::{Side, iterations};
use crate::stats::Count;
use crate::store;

/// One side as it was named.
#[derive(Debug)]
pub struct Source {
    /// What a comparison needs of it.
    pub side: Side,
    /// The sweep it was read from; `None` for counts.
    pub sweep: Option<Judged>,
}

/// Reads one side. Counts are told from a path by their form, digits on both sides of one slash.
///
/// # Errors
/// A usage error for counts that are none and for a path that is not there; a plain one for a sweep that says nothing.
pub fn read(text: &str, signatures: &SignatureSet) -> anyhow::Result<Source> {
    if is_counts(text) {
        return counts(text);
    }
    let path = Path::new(text);
    if !path.is_dir() {
        return Err(usage(
            format!("`{text}` is neither a sweep's directory nor counts such as `2/75`"),
            None,
        ));
    }
    let sweep = judged::sweep(path, signatures)?;
    if sweep.records.is_empty() {
        return Err(empty(path));
    }
    // Whether it is still running changes how its figures are to be read, not whether they can be.
    let running = store::in_flight(path).map_or(0, |running| running.len() as u64);
    let side = Side::from_records(text, sweep.spec.as_ref(), &sweep.records, running);
    if side.any.of() == 0 {
        return Err(hinted(
            format!(
                "`{text}`: all of its {} errored, which says nothing about the tests",
                iterations(side.errored)
            ),
            format!("reproduce-flaky summary {text} tells why; --retry errored runs them again"),
        ));
    }
    Ok(Source {
        side,
        sweep: Some(sweep),
    })
}

fn counts(text: &str) -> anyhow::Result<Source> {
    let count: Count = text.parse().map_err(|words: String| usage(words, None))?;
    if count.of() == 0 {
        return Err(usage(
            format!("`{text}`: nothing can be said about no iterations"),
            Some("give the iterations that passed or failed as the second number"),
        ));
    }
    Ok(Source {
        side: Side::from_counts(text, count),
        sweep: None,
    })
}

/// Says that a directory is no sweep, and which ones are below it.
fn empty(path: &Path) -> anyhow::Error {
    let below = store::find_sweeps(path).unwrap_or_default();
    let below: Vec<String> = below
        .iter()
        .filter(|sweep| *sweep != path)
        .map(|sweep| sweep.display().to_string())
        .collect();
    let message = format!("`{}` holds no recorded iteration", path.display());
    match below.len() {
        0 => anyhow::Error::msg(message),
        1..=5 => hinted(message, format!("name one sweep, such as {}", below.join(" or "))),
        _ => hinted(message, format!("name one sweep, such as {}", below[0])),
    }
}

/// Whether a text is meant as counts, right or wrong.
fn is_counts(text: &str) -> bool {
    let is_number = |part: &str| {
        let part = part.trim();
        let digits = part.strip_prefix('-').unwrap_or(part);
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    text.split_once('/')
        .is_some_and(|(failed, of)| is_number(failed) && is_number(of))
}

/// Refuses two sides that are the same sweep, or share iterations.
///
/// # Errors
/// A usage error that says what they share.
pub fn ensure_apart(base: &Source, new: &Source) -> anyhow::Result<()> {
    let (Some(old), Some(now)) = (&base.sweep, &new.sweep) else {
        return Ok(());
    };
    let real = |sweep: &Judged| -> Option<PathBuf> { fs::canonicalize(&sweep.dir).ok() };
    if real(old).is_some() && real(old) == real(now) {
        return Err(usage(
            format!("`{}` would be compared with itself", new.side.name),
            None,
        ));
    }
    let shared = shared(&old.records, &now.records);
    if shared > 0 {
        return Err(usage(
            format!(
                "`{}` and `{}` share {}: the same runs on both sides show nothing",
                base.side.name,
                new.side.name,
                iterations(shared)
            ),
            Some("compare sweeps that were run apart from each other"),
        ));
    }
    Ok(())
}

/// The iterations of two arms that were run side by side; `None` for any other two sides.
#[must_use]
pub fn blocks_of<'a>(base: &'a Source, new: &'a Source) -> Option<(&'a [Record], &'a [Record])> {
    let (old, now) = (base.sweep.as_ref()?, new.sweep.as_ref()?);
    old.spec
        .as_ref()?
        .is_interleaved_with(now.spec.as_ref()?)
        .then_some((&old.records, &now.records))
}

/// Iterations that are in both, told by their number and the moment they started.
fn shared(base: &[Record], new: &[Record]) -> u64 {
    let key = |record: &Record| {
        let exit = record.exit.as_ref()?;
        Some((record.iteration, exit.started_at?, exit.duration_s?.to_bits()))
    };
    let known: std::collections::HashSet<_> = base.iter().filter_map(key).collect();
    new.iter().filter_map(key).filter(|run| known.contains(run)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_from_paths_by_their_form() {
        for counts in ["2/75", "0/0", "-1/5", "80/50", "1.5/3"] {
            assert!(is_counts(counts), "{counts}");
        }
        for path in ["logs/serial", "./2", "../75", "logs", "2", "/75", "2/75/1", "2/"] {
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
            let error = read(text, &SignatureSet::built_in()).unwrap_err();
            assert!(
                crate::message::is_usage(&error) && error.to_string().contains(words),
                "{error}"
            );
        }
    }
}
