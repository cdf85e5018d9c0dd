//! What failed: each category with its iterations and tests, and groups of what no signature covers.

use std::fmt::Write as _;

use super::super::paint::Paint;
use super::super::test_names::TestNames;
use super::super::wrap::cut;
use super::{Detail, hang};
use crate::judge::UNKNOWN;
use crate::judge::cluster::Group;
use crate::report::summary::{Category, Summary};
use crate::stats::counted;

/// Most numbers of iterations behind a category; JSON and the other forms have all.
const MOST_RUNS: usize = 60;

/// Most tests that needed a rerun; JSON has all.
const MOST_RERAN: usize = 20;

/// Most groups of unknown failures.
const MOST_GROUPS: usize = 8;

/// Categories with how often, in which iterations, by which tests.
pub(super) fn failures(summary: &Summary, detail: Detail, paint: Paint) -> String {
    if summary.categories.is_empty() {
        return String::new();
    }
    let names = TestNames::of(summary);
    let mut text = format!("\n{}\n", paint.bold("failure breakdown"));
    let id_width = summary
        .categories
        .iter()
        .map(|category| category.id.chars().count())
        .max()
        .unwrap_or(0);
    for category in &summary.categories {
        text += &failure(category, id_width, &names, detail, paint);
        if category.id == UNKNOWN {
            text += &unknown(&summary.unknown, id_width + 4, paint);
        }
    }
    text
}

fn failure(category: &Category, id_width: usize, names: &TestNames, detail: Detail, paint: Paint) -> String {
    let id = paint.red(&format!("{:id_width$}", category.id));
    let how_often = match &category.rate {
        Some(rate) => format!("{}, {}", rate.count, rate),
        None => format!(
            "{}, errored: outside the rate",
            counted(category.iterations, "iteration", "iterations")
        ),
    };
    let indent = id_width + 4;
    let mut text = format!("  {id}  {}: {how_often}\n", category.title);
    let mut runs: Vec<String> = category.runs.iter().take(MOST_RUNS).map(u32::to_string).collect();
    if category.runs.len() > MOST_RUNS {
        runs.push(format!("… and {} more", category.runs.len() - MOST_RUNS));
    }
    let _ = writeln!(text, "{:indent$}in {}", "", hang(&runs.join(" "), indent + 3));
    for (test, n) in category.by_frequency() {
        let _ = writeln!(text, "{:indent$}{n:>4} x {}", "", names.short(test));
    }
    if detail == Detail::Report && !category.advice.is_empty() {
        let _ = writeln!(text, "{:indent$}{}", "", paint.dim(&hang(&category.advice, indent)));
    }
    text
}

/// Groups of failures that no signature covers: id, how often, the error.
fn unknown(groups: &[Group], indent: usize, paint: Paint) -> String {
    let mut text = String::new();
    for group in groups.iter().take(MOST_GROUPS) {
        let runs: Vec<String> = group.iterations.iter().take(MOST_RUNS).map(u32::to_string).collect();
        let lead = format!("{}  in {}: ", group.id, runs.join(" "));
        let _ = writeln!(
            text,
            "{:indent$}{}",
            "",
            hang(&format!("{lead}{}", cut(&group.example, 120)), indent)
        );
    }
    if groups.len() > MOST_GROUPS {
        let _ = writeln!(
            text,
            "{:indent$}{}",
            "",
            paint.dim(&format!("… and {} more groups", groups.len() - MOST_GROUPS))
        );
    }
    text
}

/// Tests that passed only after a rerun, of the iterations that reached them.
pub(super) fn reran(summary: &Summary, paint: Paint) -> String {
    if summary.reran.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}, and passed: counted as passes\n", paint.bold("needed a rerun"));
    for test in summary.reran.iter().take(MOST_RERAN) {
        let count = format!("{}/{}", test.iterations, test.of);
        let _ = writeln!(text, "  {count:>9}  {}", test.nodeid);
    }
    if summary.reran.len() > MOST_RERAN {
        let _ = writeln!(text, "  and {} more", summary.reran.len() - MOST_RERAN);
    }
    text
}
