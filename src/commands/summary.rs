//! `summary`: sweeps in figures and words, in any form, from what lies on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::judged::{self, Judged};
use super::{output, reached, report, secrets, signatures};
use crate::cli;
use crate::cli::summary::{Args, Format, Table};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::hinted;
use crate::model::suite::Suite;
use crate::model::summary::Summary;
use crate::render::paint::Paint;
use crate::render::tables::{self, Listed};
use crate::render::{csv, json, junit, markdown, svg, text};
use crate::store;

/// Prints the summaries.
///
/// # Errors
/// A directory that cannot be read, or none that holds a sweep; a file that cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let sweeps = find(args)?
        .iter()
        .map(|dir| judged::sweep(dir, &signatures))
        .collect::<Result<Vec<Judged>, store::StoreError>>()?;
    let listed = if args.all { Listed::All } else { Listed::NotPassed };
    let summaries = || -> Vec<Summary> {
        sweeps
            .iter()
            .map(|sweep| sweep.summary(&signatures, args.confidence))
            .collect()
    };
    let table = |table: Table| tables::cells(table.into(), &summaries(), listed);
    let bytes = match (args.format, args.table) {
        (Format::Json, _) => json::lines(&summaries()),
        (Format::Csv, chosen) => csv::table(&table(chosen.unwrap_or(Table::Statistics))),
        (Format::Junit, _) => junit::xml(&suites(&sweeps, &signatures, args.confidence))?,
        (Format::Html, _) => {
            let is_compared = args.sweeps.len() > 1;
            let specs = sweeps.iter().filter_map(|sweep| sweep.spec.as_ref());
            let redactor = if args.no_redact {
                None
            } else {
                Some(secrets::redactor(specs, &args.redact)?)
            };
            report::page(&sweeps, is_compared, &signatures, args.confidence, redactor.as_ref()).into_bytes()
        }
        (Format::Svg, _) => svg::picture(&summaries()).into_bytes(),
        (Format::Markdown, Some(chosen)) => markdown::table(&table(chosen)).into_bytes(),
        (Format::Markdown, None) => markdown::report(&summaries(), listed).into_bytes(),
        (Format::Text, Some(chosen)) => text::table(&table(chosen)).into_bytes(),
        (Format::Text, None) => {
            // A file gets words only; a stream takes color out where it cannot be shown.
            let paint = if args.output.is_some() {
                Paint::Plain
            } else {
                Paint::Color
            };
            text::report(&summaries(), listed, paint).into_bytes()
        }
    };
    match &args.output {
        Some(path) => fs::write(path, bytes).with_context(|| format!("failed to write `{}`", path.display()))?,
        None if args.format == Format::Text => output::text(&String::from_utf8_lossy(&bytes))?,
        None => output::bytes(&bytes)?,
    }
    Ok(ExitCode::Passed)
}

/// The sweeps that are meant, each once.
fn find(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let default = [args.logs_dir.clone()];
    let paths = if args.sweeps.is_empty() {
        &default[..]
    } else {
        &args.sweeps
    };
    let mut sweeps = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let found = match store::find_sweeps(path) {
            Err(_) if args.sweeps.is_empty() && !path.exists() => Vec::new(),
            found => found?,
        };
        if found.is_empty() {
            let hint = if args.sweeps.is_empty() {
                "reproduce-flaky demo makes some, or name a directory that holds runNNN directories".to_owned()
            } else {
                format!(
                    "name a directory that holds runNNN directories; reproduce-flaky classify {} judges single logs",
                    path.display()
                )
            };
            return Err(hinted(format!("no sweep below `{}`", path.display()), hint));
        }
        let is_new = |sweep: &PathBuf| seen.insert(fs::canonicalize(sweep).unwrap_or_else(|_| sweep.clone()));
        sweeps.extend(found.into_iter().filter(is_new));
    }
    Ok(sweeps)
}

fn suites(sweeps: &[Judged], signatures: &SignatureSet, confidence: f64) -> Vec<Suite> {
    let suite = |sweep: &Judged| {
        let summary = sweep.summary(signatures, confidence);
        let words = text::report(std::slice::from_ref(&summary), Listed::NotPassed, Paint::Plain);
        let rates = reached::tally(sweep).rates(confidence);
        Suite::of(
            &summary.sweep,
            sweep.spec.as_ref(),
            &sweep.records,
            &rates,
            confidence,
            &words,
        )
    };
    sweeps.iter().map(suite).collect()
}

impl From<Table> for tables::Table {
    fn from(table: Table) -> tables::Table {
        match table {
            Table::Statistics => tables::Table::Statistics,
            Table::Failures => tables::Table::Failures,
            Table::Iterations => tables::Table::Iterations,
            Table::Tests => tables::Table::Tests,
        }
    }
}

/// What can be run next on a sweep, with what it is for; only commands that this program has.
#[must_use]
pub fn next(summary: &Summary) -> Vec<(String, String)> {
    let sweep = shell_words::quote(&summary.sweep).into_owned();
    let failing = summary
        .not_passed
        .first()
        .map(|run| shell_words::quote(&run.dir).into_owned());
    let known = cli::command();
    let mut next = Vec::new();
    let mut add = |name: &str, words: &str, purpose: &str| {
        if known.find_subcommand(name).is_some() {
            next.push((format!("reproduce-flaky {name} {words}"), purpose.to_owned()));
        }
    };
    if let Some(run) = &failing {
        add("show", run, "one failure with its evidence in context");
        add("summary", &sweep, "every failure with its message and its log");
        add("replay", run, "the same iteration again");
    }
    if !summary.unknown.is_empty() {
        add(
            "signatures",
            &format!("suggest {sweep}"),
            "a beginning of a signature for what none covers",
        );
    }
    if summary.iterations.failed > 0 {
        add("plan", &sweep, "how many clean runs would show a fix");
        add(
            "compare",
            &format!("{sweep} NEW"),
            "after a change: did it become fewer",
        );
    } else if summary.iterations.passed > 0 {
        add(
            "compare",
            &format!("BASE {sweep}"),
            "against a sweep that failed: did it become fewer",
        );
    }
    next
}
