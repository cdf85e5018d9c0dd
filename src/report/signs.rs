//! Outcomes as signs of one letter.

use super::summary::Summary;
use crate::judge::OutcomeKind;

/// Most iterations whose signs are shown.
const MOST: u64 = 1_000;

/// One sign for each iteration, in order: `.` passed, `F` failed, `C` crashed, `H` hung, `T` timed out, `E` errored,
/// a blank where one is missing; nothing where they would be a page.
pub fn strip(summary: &Summary) -> String {
    let Some((first, last)) = summary.span() else {
        return String::new();
    };
    let n = u64::from(last - first) + 1;
    if n > MOST {
        return String::new();
    }
    let mut signs: Vec<char> = (0..n).map(|_| ' ').collect();
    for run in summary.not_passed.iter().chain(&summary.passed) {
        signs[(run.iteration - first) as usize] = sign(run.outcome);
    }
    signs.into_iter().collect()
}

/// The sign of an outcome in a row of iterations.
pub fn sign(outcome: OutcomeKind) -> char {
    match outcome {
        OutcomeKind::Hung => 'H',
        OutcomeKind::Crashed => 'C',
        OutcomeKind::TimedOut => 'T',
        OutcomeKind::Failed => 'F',
        OutcomeKind::Infra
        | OutcomeKind::OutOfTime
        | OutcomeKind::NoTests
        | OutcomeKind::UsageError
        | OutcomeKind::NoResult => 'E',
        OutcomeKind::Passed => '.',
    }
}
