//! `summary`: sweeps in figures and words, in any form, from what lies on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};

use super::judged_sweep::JudgedSweep;
use super::{output, secrets, signatures, sweep_name};
use crate::cli::values::{LogsDir, confidence};
use crate::exit_code::ExitCode;
use crate::judge::starvation::Window;
use crate::judge::{Record, SignatureSet};
use crate::message::hinted;
use crate::report::paint::Paint;
use crate::report::suite::Suite;
use crate::report::summary::Summary;
use crate::report::tables::{self, Listed, Table};
use crate::report::text::{self, Chart};
use crate::report::trace::Sheet;
use crate::report::{csv, ctrf, json, junit, markdown, svg, trace};
use crate::run;

mod page;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky summary\n  \
    reproduce-flaky summary logs/n4_fix8 --all\n  \
    reproduce-flaky summary logs --format markdown -o summary.md\n  \
    reproduce-flaky summary logs --format csv --table iterations\n  \
    reproduce-flaky summary logs/n4 logs/n4_fix8 --format html -o report.html\n\n\
    Next: reproduce-flaky compare BASE NEW, or reproduce-flaky plan BASE")]
pub struct Args {
    /// Sweeps, or trees of sweeps, those of the old script too; without one, all sweeps below --logs-dir.
    #[arg(value_name = "SWEEP")]
    pub sweeps: Vec<PathBuf>,
    #[command(flatten)]
    pub logs: LogsDir,
    /// List iterations that passed, too.
    #[arg(long)]
    pub all: bool,
    /// What to print; json is one object a line, one for each sweep.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
    /// Draw with ASCII only, as where the locale has no UTF-8.
    #[arg(long)]
    pub ascii: bool,
    /// Print one table only, over all sweeps; csv is always one table.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<Table>,
    /// Write to a file instead.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Confidence of the intervals.
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence)]
    pub confidence: f64,
    /// Something else that no page may show: a regular expression, whose group is the secret if it has one; repeatable.
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// Leave secrets in a page as they are.
    #[arg(long, conflicts_with = "redact")]
    pub no_redact: bool,
    /// File or folder of signatures instead of the built-in ones, for iterations that have no judgement yet.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Words and tables for a terminal.
    Text,
    /// For a page that shows Markdown, such as a job's summary.
    Markdown,
    /// One object a line.
    Json,
    /// One table, with a header.
    Csv,
    /// A suite for each sweep, a case for each test, for Jenkins, GitHub and GitLab.
    Junit,
    /// One test for each test, in the Common Test Report Format (ctrf.io).
    Ctrf,
    /// A page in one file, with everything there is; two or more sweeps named are compared, the first with each other.
    Html,
    /// The strip of outcomes and the rates as a picture.
    Svg,
    /// What ran beside what, and what died when, as a trace for ui.perfetto.dev.
    Perfetto,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let sweeps = find(args)?
        .iter()
        .map(|dir| JudgedSweep::read(dir, &signatures))
        .collect::<Result<Vec<JudgedSweep>, run::StoreError>>()?;
    let listed = if args.all { Listed::All } else { Listed::NotPassed };
    let summaries = || -> Vec<Summary> {
        sweeps
            .iter()
            .map(|sweep| sweep.summary(&signatures, args.confidence))
            .collect()
    };
    let table = |table: Table| tables::cells(table, &summaries(), listed);
    let bytes = match (args.format, args.table) {
        (Format::Json, _) => json::lines(&summaries()),
        (Format::Csv, chosen) => csv::table(&table(chosen.unwrap_or(Table::Statistics))),
        (Format::Junit, _) => junit::xml(&suites(&sweeps, &signatures, args.confidence))?,
        (Format::Ctrf, _) => ctrf::report(&suites(&sweeps, &signatures, args.confidence)),
        (Format::Perfetto, _) => {
            let names: Vec<String> = sweeps.iter().map(|sweep| sweep.answers().name()).collect();
            let windows: Vec<BTreeMap<u32, Vec<Window>>> = sweeps.iter().map(windows).collect();
            let sheets: Vec<Sheet<'_>> = sweeps
                .iter()
                .zip(&names)
                .zip(&windows)
                .map(|((sweep, name), windows)| Sheet {
                    name,
                    records: &sweep.records,
                    windows,
                })
                .collect();
            trace::json(&sheets)
        }
        (Format::Html, _) => {
            let is_compared = args.sweeps.len() > 1;
            let specs = sweeps.iter().filter_map(|sweep| sweep.spec.as_ref());
            let redactor = if args.no_redact {
                None
            } else {
                Some(secrets::redactor(specs, &args.redact)?)
            };
            page::page(&sweeps, is_compared, &signatures, args.confidence, redactor.as_ref()).into_bytes()
        }
        (Format::Svg, _) => svg::picture(&summaries()).into_bytes(),
        (Format::Markdown, Some(chosen)) => markdown::table(&table(chosen)).into_bytes(),
        (Format::Markdown, None) => markdown::report(&summaries(), listed).into_bytes(),
        (Format::Text, Some(chosen)) => table(chosen).text().into_bytes(),
        (Format::Text, None) => {
            // A file gets no color; stdout takes it out where it is no terminal.
            let paint = if args.output.is_some() {
                Paint::Plain
            } else {
                Paint::Color
            };
            let chart = if args.ascii || !output::is_unicode() {
                Chart::Ascii
            } else {
                Chart::Unicode
            };
            text::report(&summaries(), listed, paint, chart).into_bytes()
        }
    };
    match &args.output {
        Some(path) => fs::write(path, bytes).with_context(|| format!("failed to write `{}`", path.display()))?,
        None if args.format == Format::Text => output::text(&String::from_utf8_lossy(&bytes))?,
        None => output::bytes(&bytes)?,
    }
    Ok(ExitCode::Passed)
}

/// What of each iteration was stopped for a while, where anything was.
fn windows(sweep: &JudgedSweep) -> BTreeMap<u32, Vec<Window>> {
    let windows = |record: &Record| {
        let windows = run::run_files(&record.dir)
            .map(|files| files.windows())
            .unwrap_or_default();
        (!windows.is_empty()).then_some((record.iteration, windows))
    };
    sweep.records.iter().filter_map(windows).collect()
}

/// The sweeps that are meant, each once.
fn find(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let default = [args.logs.dir.clone()];
    let paths = if args.sweeps.is_empty() {
        &default[..]
    } else {
        &args.sweeps
    };
    let mut sweeps = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let places = sweep_name::places(path, &args.logs.dir)?;
        let path = places.iter().find(|place| place.exists()).unwrap_or(path);
        let found = match run::find_sweeps(path) {
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

fn suites(sweeps: &[JudgedSweep], signatures: &SignatureSet, confidence: f64) -> Vec<Suite> {
    let suite = |sweep: &JudgedSweep| {
        let summary = sweep.summary(signatures, confidence);
        let words = text::report(
            std::slice::from_ref(&summary),
            Listed::NotPassed,
            Paint::Plain,
            Chart::None,
        );
        Suite::of(sweep.answers(), &sweep.test_rates(confidence), confidence, &words)
    };
    sweeps.iter().map(suite).collect()
}

/// What can be run next on a sweep, with what it is for: at most four lines, and only what fits what came of it.
pub fn next(summary: &Summary) -> Vec<(String, String)> {
    let sweep = shell_words::quote(&summary.sweep);
    let run = summary.not_passed.first().map(|run| shell_words::quote(&run.dir));
    let has_failed = summary.rate.count.failed() > 0;
    let mut next = Vec::new();
    let mut add = |words: String, purpose: &str| next.push((words, purpose.to_owned()));
    if let Some(run) = &run {
        add(format!("reproduce-flaky show {run}"), "one of them, with its evidence");
    }
    if !summary.unknown.is_empty() {
        add(
            format!("reproduce-flaky signatures suggest {sweep}"),
            "a rule for what none covers",
        );
    }
    if let Some(run) = run.filter(|_| has_failed) {
        add(format!("reproduce-flaky replay {run}"), "the same again");
        add(format!("reproduce-flaky compare {sweep} NEW"), "after a change: fewer?");
    } else if summary.iterations.errored > 0 {
        add("the same command with --retry errored".to_owned(), "those again");
    } else if summary.iterations.passed > 0 {
        add(format!("reproduce-flaky compare BASE {sweep}"), "fewer than before?");
    }
    next
}
