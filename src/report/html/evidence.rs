//! Each iteration that did not pass with what its logs say around the evidence, its stacks, and how to repeat it.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use super::names::Names;
use super::{Report, Sheet, heading, iterations};
use crate::judge::excerpt::Excerpt;
use crate::judge::{Evidence, Exit};
use crate::report::shown::{short, shown};
use crate::report::summary::Run;
use crate::report::time;
use crate::spec::Spec;

/// Most lines of evidence that are listed for one run.
const MOST_LISTED: usize = 12;

/// Most bytes of all runs together: what a caller hands in beyond it is left out.
const MOST_BYTES: usize = 2_000_000;

/// The articles of the runs whose evidence is on the page, sweep by sweep.
#[derive(Debug, Default)]
pub(super) struct Articles {
    articles: Vec<BTreeMap<u32, String>>,
}

impl Articles {
    pub(super) fn of(report: &Report<'_>, names: &Names) -> Articles {
        let level = if report.sheets.len() > 1 { 4 } else { 3 };
        let mut room = MOST_BYTES;
        let mut articles: Vec<BTreeMap<u32, String>> = vec![BTreeMap::new(); report.sheets.len()];
        for (index, sheet) in report.sheets.iter().enumerate() {
            let is_read = |run: &&Run| sheet.excerpts.contains_key(&run.iteration);
            for run in sheet.summary.not_passed.iter().filter(is_read) {
                let article = one(run, sheet, index, names, level).into_string();
                if article.len() <= room {
                    room -= article.len();
                    articles[index].insert(run.iteration, article);
                }
            }
        }
        Articles { articles }
    }

    /// Whether a run has an article.
    pub(super) fn has(&self, sheet: usize, iteration: u32) -> bool {
        self.articles
            .get(sheet)
            .is_some_and(|articles| articles.contains_key(&iteration))
    }
}

pub(super) fn evidence(report: &Report<'_>, written: &Articles) -> Option<Markup> {
    let has_any = written.articles.iter().any(|articles| !articles.is_empty());
    has_any.then(|| {
        html! { @for (sheet, articles) in report.sheets.iter().zip(&written.articles) {
            @if !articles.is_empty() {
                (heading(report, sheet))
                @for article in articles.values() { (PreEscaped(article)) }
                @let n_without = sheet.summary.not_passed.len() - articles.len();
                @if n_without > 0 {
                    p { (n_without) " more iterations did not pass; with their logs this page would be too large. They are in the table above, and in "
                        code { (shown(&sheet.summary.sweep)) } "." }
                }
            }
        } }
    })
}

fn one(run: &Run, sheet: &Sheet<'_>, index: usize, names: &Names, level: u8) -> Markup {
    let name = names.run(index, run.iteration);
    let record = sheet.records.iter().find(|record| record.iteration == run.iteration);
    let exit = record.and_then(|record| record.exit.as_ref());
    let test = run
        .failing_tests
        .first()
        .map(|test| short(names.short(index, test), 90));
    let excerpts = sheet.excerpts.get(&run.iteration).map_or(&[][..], Vec::as_slice);
    html! {
        article id=(name) data-s=(index) data-o=(run.outcome.as_str()) data-c=(shown(&run.categories.join(" "))) data-t=(names.numbers(run)) {
            details {
                summary {
                    span class={ "swatch s-" (run.outcome.as_str()) } {}
                    b role="heading" aria-level=(level) { "run " (run.iteration) } " "
                    span.tag { (run.outcome.as_str().replace('_', " ")) }
                    @for category in &run.categories { " " span.tag { (shown(category)) } }
                    @if let Some(test) = test { " " code { (test) } }
                    @if run.failing_tests.len() > 1 { " and " (run.failing_tests.len() - 1) " more" }
                    " " span.faint { (run.reason().map(|reason| short(reason, 110)).unwrap_or_default()) }
                }
                (facts(run, exit))
                (list(run))
                @for excerpt in excerpts { (lines(excerpt)) }
                (repeat(run, exit, sheet.spec))
            }
        }
    }
}

fn facts(run: &Run, exit: Option<&Exit>) -> Markup {
    html! {
        p {
            "Exit " (iterations::exit_words(run, exit))
            @if let Some(seconds) = run.duration_s { ", after " (time::rounded(seconds)) }
            @if let Some(at) = exit.and_then(|exit| exit.started_at) { ", started " (at.format("%Y-%m-%d %H:%M:%S UTC")) }
            @if let Some(node) = exit.and_then(|exit| exit.node.as_deref()) { ", on " (short(node, 80)) }
            ", in " code { (short(&run.dir, 300)) } "."
            @if let Some(error) = exit.and_then(|exit| exit.error.as_deref()) { " " (short(error, 300)) }
        }
        @if run.failing_tests.len() > 1 {
            ul.plain { @for test in run.failing_tests.iter().take(30) { li { code { (short(test, 250)) } } } }
        }
        @if !run.notes.is_empty() {
            ul.notes { @for note in run.notes.iter().take(10) { li { span.tag { "note" } " " (super::prose(note, 400)) } } }
        }
    }
}

/// Every line of evidence; excerpts mark the lines that they hold.
fn list(run: &Run) -> Markup {
    let place = |evidence: &Evidence| match evidence.line {
        Some(line) => format!("{}:{line}", evidence.file),
        None => evidence.file.clone(),
    };
    html! { @if !run.evidence.is_empty() {
        ul.evidence { @for evidence in run.evidence.iter().take(MOST_LISTED) {
            li {
                b { (shown(&evidence.category)) } " " code { (short(&place(evidence), 160)) }
                @if let Some(worker) = &evidence.worker { " " span.tag { (short(worker, 20)) } }
                " " (short(&evidence.text, 300))
            }
        }
        @if run.evidence.len() > MOST_LISTED { li { "and " (run.evidence.len() - MOST_LISTED) " more lines" } }
        }
    } }
}

/// Lines of a log with their numbers. An element marks the lines of evidence, so that they are seen without color.
fn lines(excerpt: &Excerpt) -> Markup {
    html! {
        figure {
            figcaption { code { (short(&excerpt.file, 200)) } ", from line " (excerpt.first) @if excerpt.is_cut { ", cut" } }
            pre tabindex="0" {
                @for (offset, line) in (0_u64..).zip(&excerpt.lines) {
                    @let number = excerpt.first + offset;
                    @let text = format!("{number:>6}  {}", shown(line));
                    @if excerpt.hits.contains(&number) { mark { (text) } } @else { (text) }
                    "\n"
                }
            }
        }
    }
}

/// The commands that repeat an iteration.
fn repeat(run: &Run, exit: Option<&Exit>, spec: Option<&Spec>) -> Markup {
    // A replay takes the conditions from the sweep's specification.
    let sweep = spec.map(|_| format!("reproduce-flaky replay {}", shell_words::quote(&run.dir)));
    let session = exit
        .filter(|exit| !exit.argv.is_empty())
        .map(|exit| shell_words::join(&exit.argv));
    let tests = (!run.failing_tests.is_empty()).then(|| {
        format!(
            "python3 -m pytest {}",
            shell_words::join(run.failing_tests.iter().take(20))
        )
    });
    let lines = [
        ("under the same conditions", sweep),
        ("its session, inside the container", session),
        ("only what failed", tests),
    ];
    html! { @if lines.iter().any(|(_, line)| line.is_some()) {
        dl.repeat { @for (what, line) in &lines { @if let Some(line) = line {
            dt { "Repeat: " (what) }
            dd { pre tabindex="0" { (short(line, 3000)) } }
        } } }
    } }
}
