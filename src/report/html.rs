//! The report as one file: a page that needs no network, shows everything from logs as text, and can be read without
//! scripts. Scripts add filters, keys and links to single runs, and a policy in the page allows no other.

mod charts;
mod conditions;
mod evidence;
mod iterations;
mod names;
mod search;
mod sentence;
mod tables;
mod unknown;

use std::collections::BTreeMap;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::cells::{Cells, Column, Kind};
use super::shown::shown;
use super::svg;
use crate::judge::Record;
use crate::judge::excerpt::Excerpt;
use crate::report::summary::Summary;
use crate::spec::Spec;
use crate::stats::comparison::Comparison;
use names::Names;

pub use search::search_page;

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// Bytes of excerpts that a page takes in as they are written; the rest stays on disk.
pub const MOST_EVIDENCE: usize = 1_800_000;

#[derive(Clone, Copy, Debug)]
pub struct Sheet<'a> {
    pub summary: &'a Summary,
    /// What the sweep runs; `None` in trees of the script.
    pub spec: Option<&'a Spec>,
    pub records: &'a [Record],
    /// What the logs say around the evidence, by iteration; none for an iteration whose logs were not read.
    pub excerpts: &'a BTreeMap<u32, Vec<Excerpt>>,
}

#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The sweeps, the one that others are compared with first.
    pub sheets: &'a [Sheet<'a>],
    /// The first sweep against each other one.
    pub comparisons: &'a [Comparison],
    /// What was taken out as secret, in words; `None` where secrets were not looked for.
    pub redacted: Option<String>,
    /// Version of the tool.
    pub tool: &'a str,
    /// When the page was made; `None` leaves it out.
    pub made_at: Option<DateTime<Utc>>,
}

pub fn page(report: &Report<'_>) -> String {
    let names = Names::of(report);
    let script_hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'; img-src data:; \
         base-uri 'none'; form-action 'none'"
    );
    let title: Vec<&str> = report.sheets.iter().map(|sheet| sheet.summary.sweep.as_str()).collect();
    let title = shown(&title.join(", ")).into_owned();
    let sections = sections(report, &names);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { "reproduce-flaky: " (title) }
                style { (PreEscaped(svg::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "skip to the report" }
                header.top {
                    p.brand { "reproduce-flaky" }
                    nav aria-label="sections" {
                        ul { @for section in &sections { li { a href={ "#" (section.id) } { (section.name) } } } }
                    }
                }
                main id="main" tabindex="-1" {
                    (sentence::head(report, &title))
                    @for section in &sections {
                        section id=(section.id) aria-labelledby={ "h-" (section.id) } {
                            h2 id={ "h-" (section.id) } { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer {
                    p {
                        "Made by reproduce-flaky " (report.tool)
                        @if let Some(at) = report.made_at { ", " time datetime=(at.to_rfc3339()) { (at.format("%Y-%m-%d %H:%M UTC")) } }
                        ". Errored iterations are in no rate. No percentage stands without its count."
                    }
                    p { @match &report.redacted {
                        Some(words) => { "Secrets were looked for in logs, arguments and names: " (shown(words)) "." },
                        None => { "Secrets were not looked for: this page may hold some." },
                    } }
                    p.keys hidden { "Keys: " kbd { "j" } " " kbd { "k" } " next and previous failure, " kbd { "o" } " open or close it, " kbd { "/" } " search, " kbd { "Esc" } " no filter." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A part of the page.
struct Section {
    id: &'static str,
    /// In the list of sections.
    name: &'static str,
    title: &'static str,
    body: Markup,
}

/// The parts that have something to show, in order.
fn sections(report: &Report<'_>, names: &Names) -> Vec<Section> {
    let articles = evidence::Articles::of(report, names);
    let parts = [
        (
            "outcomes",
            "outcomes",
            "Outcomes in order",
            charts::outcomes(report, names),
        ),
        (
            "compare",
            "comparison",
            "What the comparison carries",
            tables::comparisons(report),
        ),
        (
            "failures",
            "failures",
            "Failures by cause",
            tables::failures(report, names),
        ),
        ("tests", "tests", "Tests that failed", tables::tests(report, names)),
        ("reruns", "reruns", "Tests that needed a rerun", tables::reran(report)),
        (
            "iterations",
            "iterations",
            "Iterations",
            iterations::iterations(report, names, &articles),
        ),
        (
            "evidence",
            "evidence",
            "Evidence of each failure",
            evidence::evidence(report, &articles),
        ),
        (
            "unknown",
            "unknown",
            "Failures that no signature covers",
            unknown::unknown(report, names),
        ),
        (
            "durations",
            "durations",
            "How long iterations took",
            charts::durations(report),
        ),
        (
            "timeline",
            "timeline",
            "When and where they ran",
            charts::timeline(report, names),
        ),
        ("conditions", "conditions", "Conditions", conditions::conditions(report)),
    ];
    parts
        .into_iter()
        .filter_map(|(id, name, title, body)| {
            Some(Section {
                id,
                name,
                title,
                body: body?,
            })
        })
        .collect()
}

/// A chart in a frame that scrolls where the screen is narrow.
fn chart(drawing: &svg::Drawing) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="chart, scrolls sideways" { (PreEscaped(drawing.inline())) }
    }
}

/// A table in a frame that scrolls where the screen is narrow. The label names the frame, the caption the table, each
/// for those who do not see it.
fn table(label: &str, caption: &str, cells: &Cells<Markup>) -> Markup {
    let rows = html! { @for row in &cells.rows {
        tr { @for (cell, column) in row.iter().zip(&cells.columns) {
            @if column.kind == Kind::Names { th scope="row" { (cell) } } @else { td class=[column.class] { (cell) } }
        } }
    } };
    framed(
        label,
        &html! { table { (head(caption, &cells.columns)) tbody { (rows) } } },
    )
}

/// Caption and names of the columns of a table.
fn head(caption: &str, columns: &[Column]) -> Markup {
    html! {
        caption.hide { (caption) }
        thead { tr { @for column in columns {
            th class=[(column.kind == Kind::Figures).then_some("n")] scope="col" { (column.name) }
        } } }
    }
}

fn framed(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label={ (label) ", scrolls sideways" } { (table) } }
}

/// Links to runs of a sweep, at most so many.
fn links(runs: &[u32], most: usize, sheet: usize, names: &Names) -> Markup {
    html! {
        @for run in runs.iter().take(most) { a href={ "#" (names.run(sheet, *run)) } { (run) } " " }
        @if runs.len() > most { "and " (runs.len() - most) " more" }
    }
}

/// A sentence of this program cut to a width, with code between backticks.
fn prose(text: &str, width: usize) -> Markup {
    let text = super::shown::short(text, width);
    if !text.matches('`').count().is_multiple_of(2) {
        return html! { (text) };
    }
    html! { @for (index, part) in text.split('`').enumerate() {
        @if index % 2 == 1 { code { (part) } } @else { (part) }
    } }
}

/// The name of a sweep above its part, where there are several.
fn heading(report: &Report<'_>, sheet: &Sheet<'_>) -> Markup {
    html! { @if report.sheets.len() > 1 { h3 { (shown(&sheet.summary.sweep)) } } }
}
