//! `--retry`: recorded iterations are moved to .attempts, so that they are missing and run again.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::sweep::args::Args;
use crate::judge::{SignatureSet, Verdict};
use crate::message::usage;
use crate::run::Sweep;

/// `--retry`: which recorded iterations run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retry {
    Errored,
    Failed,
    All,
    These(BTreeSet<u32>),
}

impl FromStr for Retry {
    type Err = String;

    fn from_str(text: &str) -> Result<Retry, String> {
        match text {
            "errored" => Ok(Retry::Errored),
            "failed" => Ok(Retry::Failed),
            "all" => Ok(Retry::All),
            _ => iterations(text).map(Retry::These),
        }
    }
}

/// Reads `3,7-9` into the numbers it names.
fn iterations(text: &str) -> Result<BTreeSet<u32>, String> {
    let wrong = || "expected `errored`, `failed`, `all`, or iterations such as `3,7-9`".to_owned();
    let number = |word: &str| {
        word.trim()
            .parse::<u32>()
            .ok()
            .filter(|n| (1..=1_000_000).contains(n))
            .ok_or_else(wrong)
    };
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(format!("`{part}` runs backwards"));
                }
                found.extend(first..=last);
            }
            None => {
                found.insert(number(part)?);
            }
        }
    }
    Ok(found)
}

pub(super) fn set_aside(sweep: &Sweep, args: &Args, retry: &Retry, signatures: &SignatureSet) -> anyhow::Result<()> {
    let with = |verdict: Verdict| -> anyhow::Result<BTreeSet<u32>> {
        let records = JudgedSweep::read(sweep.shown(), signatures)?.records;
        let chosen = records.into_iter().filter(|record| record.outcome.verdict == verdict);
        Ok(chosen
            .map(|record| record.iteration)
            .filter(|iteration| args.range().contains(iteration))
            .collect())
    };
    let chosen: BTreeSet<u32> = match retry {
        Retry::These(these) => {
            if let Some(outside) = these.iter().find(|iteration| !args.range().contains(iteration)) {
                return Err(usage(
                    format!("iteration {outside} of --retry is outside {}-{}", args.start, args.end),
                    Some("widen the range with --start and --end"),
                ));
            }
            these.clone()
        }
        Retry::All => args.range().collect(),
        Retry::Errored => with(Verdict::Errored)?,
        Retry::Failed => with(Verdict::Failed)?,
    };
    let chosen: Vec<u32> = chosen.intersection(&sweep.recorded()?).copied().collect();
    sweep.retry(&chosen)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_to_retry_are_words_or_numbers() {
        assert_eq!("3,7-9".parse(), Ok(Retry::These(BTreeSet::from([3, 7, 8, 9]))));
        assert_eq!("errored".parse(), Ok(Retry::Errored));
        for wrong in ["", "9-3", "0", "x", "1,,2", "1-"] {
            assert!(wrong.parse::<Retry>().is_err(), "{wrong}");
        }
    }
}
