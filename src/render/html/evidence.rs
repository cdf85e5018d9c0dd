//! Each iteration that did not pass with what its logs say around the evidence, its stacks, and how to repeat it.

use maud::{Markup, html};

use super::names::Names;
use super::{Report, Sheet, heading, iterations};
use crate::model::excerpt::Excerpt;
use crate::model::summary::Run;
use crate::model::{BackendKind, Evidence, Exit, Mode, Spec, Verdict};
use crate::render::svg;
use crate::render::visible::{short, visible};

/// Most lines of evidence that are listed for one run.
const MOST_LISTED: usize = 12;

/// Whether a run has a place among the evidence.
pub(super) fn is_shown(sheet: &Sheet<'_>, run: &Run) -> bool {
    run.verdict != Verdict::Passed && sheet.excerpts.contains_key(&run.iteration)
}

pub(super) fn evidence(report: &Report<'_>, names: &Names) -> Option<Markup> {
    let shown = |sheet: &Sheet<'_>| {
        sheet
            .summary
            .not_passed
            .iter()
            .filter(|run| is_shown(sheet, run))
            .count()
    };
    let has_any = report.sheets.iter().any(|sheet| shown(sheet) > 0);
    has_any.then(|| {
        html! { @for (index, sheet) in report.sheets.iter().enumerate() {
            @if shown(sheet) > 0 {
                (heading(report, sheet))
                @let n_without = sheet.summary.not_passed.len() - shown(sheet);
                @for run in sheet.summary.not_passed.iter().filter(|run| is_shown(sheet, run)) { (one(run, sheet, index, names)) }
                @if n_without > 0 {
                    p { (n_without) " more iterations did not pass; with their logs this page would be too large. They are in the table above, and in "
                        code { (visible(&sheet.summary.sweep)) } "." }
                }
            }
        } }
    })
}

fn one(run: &Run, sheet: &Sheet<'_>, index: usize, names: &Names) -> Markup {
    let name = names.run(index, run.iteration);
    let record = sheet.records.iter().find(|record| record.iteration == run.iteration);
    let exit = record.and_then(|record| record.exit.as_ref());
    let test = run
        .failing_tests
        .first()
        .map(|test| short(names.short(index, test), 90));
    let excerpts = sheet.excerpts.get(&run.iteration).map_or(&[][..], Vec::as_slice);
    html! {
        article id=(name) data-s=(index) data-o=(run.outcome.as_str()) data-c=(visible(&run.categories.join(" "))) data-t=(names.numbers(run)) {
            details {
                summary {
                    span class={ "swatch s-" (run.outcome.as_str()) } {}
                    b { "run " (run.iteration) } " "
                    span.tag { (run.outcome.as_str().replace('_', " ")) }
                    @for category in &run.categories { " " span.tag { (visible(category)) } }
                    @if let Some(test) = test { " " code { (test) } }
                    @if run.failing_tests.len() > 1 { " and " (run.failing_tests.len() - 1) " more" }
                    " " span.faint { (run.reason().map(|reason| short(reason, 110)).unwrap_or_default()) }
                }
                (facts(run, exit))
                (list(run))
                @for excerpt in excerpts { (shown(excerpt)) }
                (repeat(run, exit, sheet.spec))
            }
        }
    }
}

fn facts(run: &Run, exit: Option<&Exit>) -> Markup {
    html! {
        p {
            "Exit " (iterations::exit_words(run, exit))
            @if let Some(seconds) = run.duration_s { ", after " (svg::time(seconds)) }
            @if let Some(at) = exit.and_then(|exit| exit.started_at) { ", started " (at.format("%Y-%m-%d %H:%M:%S UTC")) }
            @if let Some(node) = exit.and_then(|exit| exit.node.as_deref()) { ", on " (short(node, 80)) }
            ", in " code { (short(&run.dir, 300)) } "."
            @if let Some(error) = exit.and_then(|exit| exit.error.as_deref()) { " " (short(error, 300)) }
        }
        @if run.failing_tests.len() > 1 {
            ul.plain { @for test in run.failing_tests.iter().take(30) { li { code { (short(test, 250)) } } } }
        }
        @if !run.notes.is_empty() {
            ul.notes { @for note in run.notes.iter().take(10) { li { span.tag { "note" } " " (short(note, 400)) } } }
        }
    }
}

/// Every line that spoke for it; those that stand in an excerpt are marked there too.
fn list(run: &Run) -> Markup {
    let place = |evidence: &Evidence| match evidence.line {
        Some(line) => format!("{}:{line}", evidence.file),
        None => evidence.file.clone(),
    };
    html! { @if !run.evidence.is_empty() {
        ul.evidence { @for evidence in run.evidence.iter().take(MOST_LISTED) {
            li {
                b { (visible(&evidence.category)) } " " code { (short(&place(evidence), 160)) }
                @if let Some(worker) = &evidence.worker { " " span.tag { (short(worker, 20)) } }
                " " (short(&evidence.text, 300))
            }
        }
        @if run.evidence.len() > MOST_LISTED { li { "and " (run.evidence.len() - MOST_LISTED) " more lines" } }
        }
    } }
}

/// Lines of a log with their numbers; those that matter are marked, also for those who do not see color.
fn shown(excerpt: &Excerpt) -> Markup {
    html! {
        figure {
            figcaption { code { (short(&excerpt.file, 200)) } ", from line " (excerpt.first) @if excerpt.is_cut { ", cut" } }
            pre tabindex="0" {
                @for (offset, line) in (0_u64..).zip(&excerpt.lines) {
                    @let number = excerpt.first + offset;
                    @let text = format!("{number:>6}  {}", visible(line));
                    @if excerpt.hits.contains(&number) { mark { (text) } } @else { (text) }
                    "\n"
                }
            }
        }
    }
}

/// The commands that repeat an iteration.
fn repeat(run: &Run, exit: Option<&Exit>, spec: Option<&Spec>) -> Markup {
    let sweep = spec.map(again);
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
        ("the same conditions, once more", sweep),
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

/// The command that runs an iteration of a sweep again, under another tag. Values of variables are not shown.
fn again(spec: &Spec) -> String {
    let mut words: Vec<String> = vec!["reproduce-flaky".to_owned()];
    let mut word = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
    match spec.mode {
        Mode::Serial => word("-p", "serial"),
        Mode::Xdist(n) => word("-p", &n.to_string()),
    }
    word("-e", "1");
    word("-t", "again");
    match spec.backend {
        BackendKind::Docker => word("-i", &spec.image),
        BackendKind::Local => word("--backend", "local"),
    }
    if !spec.pytest_args.is_empty() {
        words.push("--".to_owned());
        words.extend(spec.pytest_args.iter().cloned());
    }
    shell_words::join(words)
}
