//! `culprit` in words: what it will cost, and what came of it.

use super::course::Course;
use super::found::likeliest;
use crate::report::cost::Cost;
use crate::report::search::Picture;
use crate::report::shown::short;
use crate::stats::culprit::End;
use crate::stats::culprit::search::Cost as Predicted;
use crate::stats::{Count, counted, percent};
use crate::sweep::stop::Class;

/// Rates at which the cost is told where none is known.
const RATES: [f64; 3] = [0.3, 0.1, 0.03];
/// Most candidates that a sentence lists.
const MOST_LISTED: usize = 8;

fn whole(runs: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "runs are no more than a rate of one in millions makes them"
    )]
    let runs = runs.ceil().clamp(0.0, 1e12) as u64;
    runs
}

/// What is said before anything starts, a line each. `each` says how long a run takes, and how many run at a time.
pub(super) fn costs(course: &Course, class: &Class, each: Cost) -> Vec<String> {
    let kept = course.kept();
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
        return Vec::new();
    };
    let n = kept.len() - 1;
    let (good, bad) = (course.count(*first), course.count(*last));
    let names = format!("from `{}` to `{}`", course.names[*first], course.names[*last]);
    let what = if course.is_confirmed {
        "to name one and confirm it"
    } else {
        "to name one"
    };
    let predicted = |rate: f64| {
        let cost = Predicted::predicted(n, rate, good, bad);
        whole(if course.is_confirmed { cost.runs() } else { cost.search })
    };
    let candidates = counted(n as u64 + 1, "candidate", "candidates");
    let mut lines = Vec::new();
    let rate = bad.rate().filter(|rate| *rate > 0.0);
    if let Some(rate) = rate {
        let runs = predicted(rate);
        lines.push(format!(
            "{class}: {bad} at the bad end, {candidates} {names}: about {} {what}",
            Cost { runs, ..each }
        ));
        if runs as f64 > Predicted::HIGH {
            lines.push(amplify().to_owned());
        }
    } else {
        let table: Vec<String> = RATES
            .iter()
            .map(|rate| format!("{} where it fails in {}", predicted(*rate), percent(*rate)))
            .collect();
        lines.push(format!(
            "{class}: {candidates} {names}: {what} takes about so many runs: {}",
            table.join(", ")
        ));
        lines.push(
            "the search itself twice as many where it fails a tenth as often before, four times where a third as often"
                .to_owned(),
        );
        if predicted(RATES[1]) as f64 > Predicted::HIGH {
            lines.push(amplify().to_owned());
        }
    }
    lines.push(format!("at most {} runs (--max-runs)", course.max_runs));
    lines
}

fn amplify() -> &'static str {
    "that is much: `amplify` looks for conditions under which it comes often; search with the flags that it prints, or \
     with --condition-of SWEEP"
}

/// A candidate with what it is.
fn label(picture: &Picture, candidate: usize) -> String {
    let row = &picture.rows[candidate];
    match &row.title {
        Some(title) => format!("{} \"{}\"", row.name, short(title, 72)),
        None => row.name.clone(),
    }
}

/// Candidates right before one that took no part: the change may have come with them as well.
fn stretch(picture: &Picture, candidate: usize) -> Vec<&str> {
    let before = picture.rows[..candidate].iter().rev();
    let mut names: Vec<&str> = before
        .take_while(|row| row.left_out.is_some())
        .map(|row| row.name.as_str())
        .collect();
    names.reverse();
    names
}

fn listed(names: &[&str]) -> String {
    let mut shown: Vec<&str> = names.iter().copied().take(MOST_LISTED).collect();
    let more = format!("{} more", names.len().saturating_sub(MOST_LISTED));
    if names.len() > MOST_LISTED {
        shown.push(&more);
    }
    shown.join(", ")
}

/// The sentence at the end; `end` is `None` where the search is not over.
pub(super) fn sentence(course: &Course, picture: &Picture, end: Option<&End>) -> String {
    let class = &picture.class;
    let up_to = |candidate: usize| {
        (
            picture.among(0..candidate),
            picture.among(candidate..picture.rows.len()),
        )
    };
    match end {
        Some(End::Culprit {
            candidate,
            p,
            confirmation,
        }) => {
            let (below, from) = up_to(*candidate);
            let left_out = stretch(picture, *candidate);
            let or = match left_out.as_slice() {
                [] => String::new(),
                [one] => format!(", or with `{one}` before it, which cannot be run"),
                more => format!(", or with one of {} before it, which cannot be run", listed(more)),
            };
            let parent = if picture.rows[*candidate].title.is_some() {
                "up to its parent"
            } else {
                "before it"
            };
            let confirmed = match confirmation {
                Some(decision) => format!(
                    "; confirmed {} to {} in {}",
                    decision.only_higher,
                    decision.only_lower,
                    counted(decision.blocks, "block", "blocks")
                ),
                None => "; not run once more beside the one before it (--no-confirm)".to_owned(),
            };
            format!(
                "{class} came with {}{or} ({}): {below} {parent}, {from} from it on{confirmed}",
                label(picture, *candidate),
                percent(*p)
            )
        }
        Some(End::NoCulprit { p }) => {
            let (first, total) = (&picture.rows[0], picture.total());
            if first.count.failed() > 0 {
                format!(
                    "{class}: none of these: it was there before ({}): {} at `{}` already, {total} in all",
                    percent(*p),
                    first.count,
                    first.name
                )
            } else {
                format!(
                    "{class}: none of these brought it in ({}): {total} along the axis, and no change told",
                    percent(*p)
                )
            }
        }
        Some(End::TooRare { bad_end }) => format!(
            "{class}: undecided: {bad_end} at the bad end, `{}`, which is too rare to search for; `amplify` looks for \
             conditions under which it comes often, and prints them as flags to search with",
            course.names[course.bad_end()]
        ),
        Some(End::Between { candidates, or_none, p }) => between(course, picture, candidates, *or_none, *p),
        Some(End::NotConfirmed { candidate, p }) => format!(
            "{class}: most likely {} ({}), not confirmed: beside the one before it, fresh runs did not show it",
            label(picture, *candidate),
            percent(*p)
        ),
        Some(End::TooFew) => format!("{class}: undecided: fewer than two candidates can be run"),
        None => {
            let so_far = match likeliest(picture) {
                Some(at) if picture.total() != Count::default() => format!(
                    ", so far most likely {} ({})",
                    label(picture, at),
                    percent(picture.rows[at].posterior)
                ),
                Some(_) | None => String::new(),
            };
            format!(
                "{class}: undecided after {}{so_far}; the same command goes on",
                counted(course.spent(), "run", "runs")
            )
        }
    }
}

fn between(course: &Course, picture: &Picture, candidates: &[usize], or_none: bool, p: f64) -> String {
    let class = &picture.class;
    let runs = counted(course.spent(), "run", "runs");
    let none = if or_none { ", or with none of these" } else { "" };
    let names: Vec<&str> = candidates.iter().map(|at| picture.rows[*at].name.as_str()).collect();
    let which = match names.as_slice() {
        [] => {
            return format!(
                "{class}: undecided after {runs}: most likely none of these ({})",
                percent(p)
            );
        }
        [one] => format!("with `{one}`"),
        more => format!("with one of {}", listed(more)),
    };
    format!(
        "{class}: undecided after {runs}: it came {which}{none} ({}); more --max-runs tell more",
        percent(p)
    )
}
