//! Failures that no signature covers, those that read alike together: what to write a signature for first.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::names::Names;
use super::{Report, framed};
use crate::judge::UNKNOWN;
use crate::render::visible::{short, visible};

/// Most groups shown.
const MOST_GROUPS: usize = 50;
/// Most runs that a group links to.
const MOST_LINKS: usize = 30;

#[derive(Default)]
struct Group {
    example: String,
    runs: Vec<(usize, u32)>,
    tests: BTreeMap<String, usize>,
}

pub(super) fn unknown(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let groups = groups(report);
    (!groups.is_empty()).then(|| {
        html! {
            p { "Grouped by what their first line says, without its numbers. A signature in a file of rules names them: "
                code { "reproduce-flaky signatures suggest" } "." }
            (framed("groups of unknown failures", &html! {
                table {
                    caption.hide { "Groups of unknown failures" }
                    thead { tr {
                        th.n scope="col" { "iterations" } th scope="col" { "such as" } th scope="col" { "tests" } th scope="col" { "runs" }
                    } }
                    tbody { @for group in groups.iter().take(MOST_GROUPS) {
                        tr {
                            td.n { (group.runs.len()) }
                            td.text { code { (short(&group.example, 240)) } }
                            td { ul.plain { @for (test, n) in group.tests.iter().take(8) { li { (n) " × " code { (short(test, 110)) } } } } }
                            td.runs {
                                @for (sheet, run) in group.runs.iter().take(MOST_LINKS) { a href={ "#" (names.run(*sheet, *run)) } { (run) } " " }
                                @if group.runs.len() > MOST_LINKS { "and " (group.runs.len() - MOST_LINKS) " more" }
                            }
                        }
                    } }
                }
            }))
            @if groups.len() > MOST_GROUPS { p { (groups.len() - MOST_GROUPS) " smaller groups are left out." } }
        }
    })
}

/// The groups, the largest first.
fn groups(report: &Report<'_>) -> Vec<Group> {
    let mut found: BTreeMap<String, Group> = BTreeMap::new();
    for (index, sheet) in report.sheets.iter().enumerate() {
        for run in sheet
            .summary
            .not_passed
            .iter()
            .filter(|run| run.categories.iter().any(|id| id == UNKNOWN))
        {
            let evidence = run.evidence.iter().find(|evidence| evidence.category == UNKNOWN);
            let text = evidence.map_or("nothing on record says why", |evidence| &evidence.text);
            let group = found.entry(shape(&visible(text))).or_default();
            if group.example.is_empty() {
                text.clone_into(&mut group.example);
            }
            group.runs.push((index, run.iteration));
            let named = evidence.and_then(|evidence| evidence.test.as_ref());
            if let Some(test) = named.or(run.failing_tests.first()) {
                *group.tests.entry(test.clone()).or_default() += 1;
            }
        }
    }
    let mut groups: Vec<Group> = found.into_values().collect();
    groups.sort_by(|a, b| b.runs.len().cmp(&a.runs.len()).then_with(|| a.runs.cmp(&b.runs)));
    groups
}

/// A text without what differs from run to run: numbers, ids, addresses.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        let end = word.chars().last().filter(|c| !c.is_alphanumeric());
        if has_digit {
            shape.push('#');
            shape.extend(end);
        } else {
            shape += word;
        }
    }
    shape.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn what_differs_in_numbers_only_has_one_shape() {
        assert_eq!(
            shape("E  Error: port 4222 of 0x7f12 is taken"),
            shape("E  Error: port 53999 of 0x7aa0 is taken")
        );
        assert_ne!(shape("port is taken"), shape("port is free"));
    }
}
