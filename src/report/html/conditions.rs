//! What the sweeps ran under, side by side. Of variables only the names: values may be secrets.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{Report, Sheet, table};
use crate::report::cells::{Cells, Column};
use crate::report::shown::{short, shown};
use crate::report::time;
use crate::spec::{Limits, Spec};
use crate::stats::conditions::Conditions;

pub(super) fn conditions(report: &Report<'_>) -> Option<Markup> {
    let columns: Vec<Vec<(String, String)>> = report.sheets.iter().map(of_one).collect();
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in columns.iter().flatten() {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let value = |column: &[(String, String)], key: &str| {
        let found = column.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| short(value, 600)).unwrap_or_default()
    };
    let sweeps = report.sheets.iter();
    let sweeps = sweeps.map(|sheet| Column::text(shown(&sheet.summary.sweep)).class("text"));
    let header: Vec<Column> = std::iter::once(Column::names("what")).chain(sweeps).collect();
    let rows = keys.iter().map(|key| {
        let values = columns.iter().map(|column| html! { (value(column, key)) });
        std::iter::once(html! { (shown(key)) }).chain(values).collect()
    });
    let cells = Cells::new(header, rows);
    (!keys.is_empty()).then(|| table("conditions", "Conditions of each sweep", &cells))
}

fn load(spec: &Spec) -> String {
    let own = Limits {
        cpus: None,
        ..Limits::of(spec)
    };
    own.words().join(", ")
}

fn of_one(sheet: &Sheet<'_>) -> Vec<(String, String)> {
    let known = Conditions::of(&sheet.summary.sweep, sheet.spec, sheet.records.iter());
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |what: &str, value: String| {
        if !value.is_empty() {
            rows.push((what.to_owned(), value));
        }
    };
    let list = |set: &BTreeSet<String>| set.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if let Some(spec) = sheet.spec {
        row("image", spec.image.clone());
        row("mode", spec.mode.to_string());
        row("pytest arguments", shell_words::join(&spec.pytest_args));
        row("iterations asked for", format!("{}-{}", spec.first, spec.last));
        row("in flight in one process", spec.jobs.to_string());
        row("started in", spec.directory.display().to_string());
        row(
            "first started",
            spec.created_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
        row("longest time", time::rounded(spec.deadlines.total_s));
        row(
            "longest silence",
            spec.deadlines
                .silence_s
                .map_or_else(|| "no limit".to_owned(), time::rounded),
        );
        row("trail", (if spec.trail { "on" } else { "off" }).to_owned());
        let names: Vec<&str> = spec
            .env
            .iter()
            .map(|var| var.name.as_str())
            .chain(spec.passed_on.iter().map(String::as_str))
            .collect();
        row("variables", names.join(", "));
        let container = &spec.container;
        row("network", container.network.clone().unwrap_or_default());
        row("cpus", container.cpus.map(|cpus| cpus.to_string()).unwrap_or_default());
        row("memory, CPUs to run on, noise, other conditions", load(spec));
        row("volumes", container.volumes.join(", "));
        let without: Vec<String> = container
            .without
            .iter()
            .map(|part| format!("{part:?}").to_lowercase())
            .collect();
        row("without", without.join(", "));
        for (name, version) in &spec.versions {
            row(name, version.clone());
        }
        row("ended", spec.ended.clone().unwrap_or_default());
        row("written by", format!("reproduce-flaky {}", spec.tool));
    }
    row("image ids", list(&known.image_ids));
    row("nodes", list(&known.nodes));
    row("backends", list(&known.backends));
    let starts = || {
        sheet
            .records
            .iter()
            .filter_map(|record| record.exit.as_ref()?.started_at)
    };
    if let (Some(first), Some(last)) = (starts().min(), starts().max()) {
        row(
            "first iteration started",
            first.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
        row(
            "last iteration started",
            last.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
    }
    rows
}
