//! `--retry`: makes room for iterations that are to run again; what was recorded is kept aside.

use std::collections::BTreeSet;

use super::judged;
use crate::cli::sweep::Args;
use crate::cli::words::Retry;
use crate::judge::SignatureSet;
use crate::message::usage;
use crate::model::Verdict;
use crate::store::Sweep;

/// Moves the chosen iterations aside.
pub(super) fn set_aside(sweep: &Sweep, args: &Args, retry: &Retry, signatures: &SignatureSet) -> anyhow::Result<()> {
    let with = |verdict: Verdict| -> anyhow::Result<BTreeSet<u32>> {
        let records = judged::sweep(sweep.shown(), signatures)?.records;
        let chosen = records.into_iter().filter(|record| record.outcome.verdict == verdict);
        Ok(chosen
            .map(|record| record.iteration)
            .filter(|iteration| args.range().contains(*iteration))
            .collect())
    };
    let chosen: BTreeSet<u32> = match retry {
        Retry::These(these) => {
            if let Some(outside) = these.iter().find(|iteration| !args.range().contains(**iteration)) {
                return Err(usage(
                    format!("iteration {outside} of --retry is outside {}-{}", args.start, args.end),
                    Some("widen the range with --start and --end"),
                ));
            }
            these.clone()
        }
        Retry::All => args.range().iter().collect(),
        Retry::Errored => with(Verdict::Errored)?,
        Retry::Failed => with(Verdict::Failed)?,
    };
    let chosen: Vec<u32> = chosen.intersection(&sweep.recorded()?).copied().collect();
    sweep.retry(&chosen)?;
    Ok(())
}
