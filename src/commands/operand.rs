//! What `plan` and `compare` are given: a sweep's directory, or counts typed as `K/N`.

use std::fs;
use std::path::{Path, PathBuf};

use super::judged_sweep::JudgedSweep;
use super::sweep_name;
use crate::judge::{Record, SignatureSet};
use crate::message::{hinted, usage};
use crate::run;
use crate::stats::sample::Sample;
use crate::stats::{Count, iterations};

/// A sweep or counts.
#[derive(Debug)]
pub struct Operand {
    /// The counts by class, and what they were made under.
    pub sample: Sample,
    /// The sweep that the sample was read from; `None` for counts.
    pub sweep: Option<JudgedSweep>,
}

/// What an iteration counts as that passed only after tests were run again in the same session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reruns {
    Pass,
    Fail,
}

impl Operand {
    /// Reads one sample in which reruns count as passes.
    pub fn read(text: &str, logs_dir: &Path, signatures: &SignatureSet) -> anyhow::Result<Operand> {
        Operand::read_counting(text, logs_dir, signatures, Reruns::Pass)
    }

    /// Reads one sample. Counts are told from a path by their form, digits on both sides of one slash; a sweep without a path
    /// is looked for in `logs_dir`.
    pub fn read_counting(
        text: &str,
        logs_dir: &Path,
        signatures: &SignatureSet,
        reruns: Reruns,
    ) -> anyhow::Result<Operand> {
        if is_counts(text) {
            return counts(text);
        }
        let places = sweep_name::places(Path::new(text), logs_dir)?;
        let Some(path) = places.iter().find(|place| place.is_dir()) else {
            return Err(usage(
                format!("`{text}` is neither a sweep's directory nor counts such as `2/75`"),
                Some("reproduce-flaky status lists the sweeps"),
            ));
        };
        let mut sweep = JudgedSweep::read(path, signatures)?;
        if reruns == Reruns::Fail {
            let records = sweep.records.iter_mut().chain(&mut sweep.replaced);
            records.for_each(|record| record.outcome.count_reruns());
        }
        if sweep.records.is_empty() {
            return Err(empty(path));
        }
        // A sweep that still runs is read as it is now; a note says how many iterations are in flight.
        let running = run::in_flight(path).map_or(0, |running| running.len() as u64);
        let sample = Sample::of(sweep.answers(), running);
        if sample.any.of() == 0 {
            return Err(hinted(
                format!(
                    "`{text}`: all of its {} errored, which says nothing about the tests",
                    iterations(sample.errored)
                ),
                format!("reproduce-flaky summary {text} tells why; --retry errored runs them again"),
            ));
        }
        Ok(Operand {
            sample,
            sweep: Some(sweep),
        })
    }
}

fn counts(text: &str) -> anyhow::Result<Operand> {
    let count: Count = text.parse().map_err(|words: String| usage(words, None))?;
    if count.of() == 0 {
        return Err(usage(
            format!("`{text}`: nothing can be said about no iterations"),
            Some("give the iterations that passed or failed as the second number"),
        ));
    }
    Ok(Operand {
        sample: Sample::from_counts(text, count),
        sweep: None,
    })
}

/// The error for a directory that is no sweep; its hint names the sweeps below.
fn empty(path: &Path) -> anyhow::Error {
    let below = run::find_sweeps(path).unwrap_or_default();
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

/// Whether a text is meant as counts, also wrong ones such as `80/50`.
fn is_counts(text: &str) -> bool {
    let is_number = |part: &str| {
        let part = part.trim();
        let digits = part.strip_prefix('-').unwrap_or(part);
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    text.split_once('/')
        .is_some_and(|(failed, of)| is_number(failed) && is_number(of))
}

/// Refuses two operands that are the same sweep or share iterations.
pub fn ensure_apart(base: &Operand, new: &Operand) -> anyhow::Result<()> {
    let (Some(old), Some(now)) = (&base.sweep, &new.sweep) else {
        return Ok(());
    };
    let real = |sweep: &JudgedSweep| -> Option<PathBuf> { fs::canonicalize(&sweep.dir).ok() };
    if real(old).is_some() && real(old) == real(now) {
        return Err(usage(
            format!("`{}` would be compared with itself", new.sample.name),
            None,
        ));
    }
    let shared = shared(&old.records, &now.records);
    if shared > 0 {
        return Err(usage(
            format!(
                "`{}` and `{}` share {}: the same runs on both sides show nothing",
                base.sample.name,
                new.sample.name,
                iterations(shared)
            ),
            Some("compare sweeps that were run apart from each other"),
        ));
    }
    Ok(())
}

/// The first answers of two arms that were run block by block; `None` for any other two operands.
pub fn blocks_of(base: &Operand, new: &Operand) -> Option<(Vec<Record>, Vec<Record>)> {
    let (old, now) = (base.sweep.as_ref()?, new.sweep.as_ref()?);
    old.spec
        .as_ref()?
        .is_interleaved_with(now.spec.as_ref()?)
        .then(|| (old.answers().first(), now.answers().first()))
}

/// How many iterations are in both sweeps: those of the same number, start and duration.
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
            let error = Operand::read(text, Path::new("logs"), &SignatureSet::built_in()).unwrap_err();
            assert!(
                crate::message::is_usage(&error) && error.to_string().contains(words),
                "{error}"
            );
        }
    }
}
