//! The page of a search for a culprit: the sentence, where along the axis the change is, every candidate in figures.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{STYLE, chart, table};
use crate::report::cells::{Cells, Column};
use crate::report::search::{Picture, Row};
use crate::report::shown::shown;
use crate::report::svg;
use crate::stats::percent;

pub fn search_page(picture: &Picture, sentence: &str, tool: &str, made_at: Option<DateTime<Utc>>) -> String {
    let title = format!("reproduce-flaky: what brought {} in", picture.class);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { (shown(&title)) }
                style { (PreEscaped(svg::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header.top { p.brand { "reproduce-flaky" } }
                main id="main" tabindex="-1" {
                    h1 { "What brought " (shown(&picture.class)) " in" }
                    p.lead { (shown(sentence)) }
                    section { h2 { "Where the change is" } (chart(&svg::posterior(picture))) }
                    section { h2 { "Candidates" } (candidates(picture)) }
                }
                footer { p {
                    "Made by reproduce-flaky " (tool)
                    @if let Some(at) = made_at { ", " time datetime=(at.to_rfc3339()) { (at.format("%Y-%m-%d %H:%M UTC")) } }
                    ". Runs that errored, and those that failed for another reason, are no evidence."
                } }
            }
        }
    }
    .into_string()
}

fn candidates(picture: &Picture) -> Markup {
    let columns = [
        Column::names("candidate"),
        Column::text("what it is"),
        Column::figures("failed"),
        Column::figures("failed otherwise"),
        Column::figures("errored"),
        Column::figures("came with it"),
    ];
    let figure = |n: u64| html! { @if n > 0 { (n) } };
    let rows = picture.rows.iter().enumerate().map(|(at, row)| {
        vec![
            html! { (shown(&row.name)) },
            what(row),
            html! { (row.count) },
            figure(row.others),
            figure(row.errored),
            html! { @if at > 0 && row.left_out.is_none() { (percent(row.posterior)) } },
        ]
    });
    let none = vec![
        html! { "none of these" },
        html! {},
        html! { (picture.total()) },
        html! {},
        html! {},
        html! { (percent(picture.none)) },
    ];
    table(
        "candidates",
        "Every candidate with its runs",
        &Cells::new(columns, rows.chain([none])),
    )
}

fn what(row: &Row) -> Markup {
    html! {
        @if let Some(title) = &row.title { (shown(title)) }
        @if let Some(why) = &row.left_out { " left out: " (shown(why)) }
    }
}
